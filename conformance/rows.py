"""The rows of docs/conformance.md: which example is run with which libraries, what it must show, and how its results read."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

CHANCE = {"return": 0.2, "held-out accuracy": 0.0}  # of a policy that acts at random
MINUTES = 5  # of CPU time, for a seed


@dataclass(frozen=True)
class Place:
    """An environment. installs: beside this project with its extras. pinned: by all of
    constraints.txt; else by its torch alone, for libraries with pins of their own."""

    installs: tuple[str, ...]
    extras: str = "train,data"
    pinned: bool = True


@dataclass(frozen=True)
class Row:
    """An example in examples/. shows: the distributions whose versions are in the table. figure: what it prints before and after training (empty: it trains nothing, and says what it checked).
    tests: a file of conformance/tests that is run before it."""

    name: str
    example: str
    place: str
    does: str
    shows: tuple[str, ...]
    figure: str = ""
    tests: str = ""

    def learns(self, runs: list[list[float]]) -> bool:
        """The mean gain over the seeds is above twice its standard error, and the worst end above chance."""
        gains = [after - before for before, after, _ in runs]
        error = stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
        return fmean(gains) > 2 * error and min(after for _, after, _ in runs) > CHANCE[self.figure]

    def as_expected(self, results: dict) -> bool:
        if "failed" in results:
            return False
        return not self.figure or self.learns(results["runs"])


PLACES = {
    "classic": Place(("stable-baselines3>=2.9,<3", "sb3-contrib>=2.9,<3", "torchrl>=0.14,<0.15", "supersuit>=3.11,<4")),
    "tianshou": Place(("tianshou>=2,<3",), "", pinned=False),
    "rllib": Place(("ray[rllib]>=2.60,<2.61", "torch"), "", pinned=False),
    "agilerl": Place(("agilerl>=2.58,<2.59",), "train", pinned=False),  # its IPPO needs peft, which it does not declare
    "benchmarl": Place(("benchmarl>=1.5,<1.6",), "", pinned=False),
    "trl": Place(("trl>=1.16,<2",), "train,data,search"),
    "serve": Place(("transformers[serving]>=5.10,<6",), "train,data,openai"),
    "textarena": Place(("textarena>=0.7.4,<0.8",), ""),
    "harnesses": Place(("inspect-ai>=0.3.285,<0.4", "openenv>=0.10,<0.11"), "", pinned=False),
    "verifiers": Place(("verifiers>=0.4,<0.5",), "", pinned=False),
    "trainers": Place(("skyrl-gym>=0.4,<0.5", "openpipe-art>=0.5,<0.6"), "train", pinned=False),
    "verl": Place(("verl>=0.9.1,<0.10", "cachetools", "fastapi", "uvicorn"), "train", pinned=False),
}
ROWS = (
    Row("sb3", "sb3_ppo.py", "classic", "its `check_env`; PPO on one role, the other played by a partner", ("stable-baselines3", "gymnasium"), "return"),
    Row("sb3-contrib", "sb3_maskable.py", "classic", "MaskablePPO on the whole team, ask by ask, with a menu masked for each role", ("sb3-contrib", "stable-baselines3"), "return"),
    Row("torchrl-forms", "torchrl_forms.py", "classic", "`check_env_specs` and rollouts on every view: AEC, waves, role, menus, token ids, token by token, texts", ("torchrl", "tensordict")),
    Row("torchrl", "torchrl_mappo.py", "classic", "its `check_env_specs`; clipped PPO on both roles of a team, waves", ("torchrl", "tensordict", "pettingzoo"), "return"),
    Row("supersuit", "supersuit_ppo.py", "classic", "waves through its wrappers into Stable-Baselines3; one policy is both roles", ("supersuit", "stable-baselines3"), "return", "test_supersuit.py"),
    Row("cleanrl", "cleanrl_ppo.py", "classic", "PPO in one file, in CleanRL's manner, through `gymnasium.make_vec`", ("torch", "gymnasium"), "return"),
    Row("tianshou", "tianshou_ppo.py", "tianshou", "PPO on one role", ("tianshou", "gymnasium"), "return"),
    Row("tianshou-dqn", "tianshou_dqn.py", "tianshou", "a DQN for each of two roles that learn together, with masks", ("tianshou", "pettingzoo"), "return", "test_tianshou.py"),
    Row("rllib", "rllib_ppo.py", "rllib", "PPO on both roles of a team, waves, a policy each with its `ActionMaskingTorchRLModule`", ("ray", "gymnasium", "pettingzoo"), "return"),
    Row("agilerl", "agilerl_ippo.py", "agilerl", "IPPO on both roles of a team, waves, a policy each (flat arrays)", ("agilerl", "pettingzoo"), "return"),
    Row("benchmarl", "benchmarl_mappo.py", "benchmarl", "MAPPO on both roles of a team, waves, masked actors, critics that see `state()`", ("benchmarl", "torchrl", "pettingzoo"), "return"),
    Row("trl", "trl_grpo.py", "trl", "GRPOTrainer on a team through `rollout_func`, the tiny model", ("trl", "transformers"), "held-out accuracy"),
    Row("trl-tools", "trl_tools.py", "trl", "a model that calls the task's `search`, through `environment_factory`", ("trl", "transformers")),
    Row("verifiers", "verifiers_team.py", "verifiers", "a team as a multi-agent environment against a local endpoint", ("verifiers",), tests="test_verifiers.py"),
    Row("skyrl", "skyrl_conversation.py", "trainers", "one learner's conversation against partners", ("skyrl-gym",), tests="test_skyrl.py"),
    Row("art", "art_trajectories.py", "trainers", "an episode as a trajectory of each agent, fresh asks as histories", ("openpipe-art",)),
    Row("verl", "verl_agent_loop.py", "verl", "our agent loop on stub servers: ids, masks and rewards are those of our own rollout", ("verl", "transformers"), tests="test_verl.py"),
    Row("endpoint", "endpoint.py", "serve", "an endpoint (`transformers serve`), a checkpoint and a person in one team", ("transformers", "fastapi")),
    Row("textarena", "textarena_both.py", "textarena", "a team as a `ta.Env`; a TextArena game as an environment of ours", ("textarena",)),
    Row("inspect", "inspect_team.py", "harnesses", "a team as a task with a model for each role (`model_roles`)", ("inspect-ai",), tests="test_inspect_team.py"),
    Row("openenv", "openenv_server.py", "harnesses", "a server whose sessions are apart, and its client", ("openenv", "fastapi"), tests="test_openenv.py"),
)  # fmt: skip
BY_DESIGN = (
    ("Stable-Baselines3, SuperSuit, RLlib: texts as observations or actions", "their policies and wrappers know arrays only: use `numeric`"),
    ("SuperSuit's observation wrappers on observations with masks", "they want a Box, and `Dict` has none: use `numeric(..., flat=True)`"),
    ("SuperSuit's `frame_skip` and `black_death`", "the first would give an answer to the next ask too, the second does not see episodes end that are only terminated; agents of numeric views stay to the end"),
    ("texts through TorchRL's `PettingZooWrapper`", "it makes a tensor of every info: use its `GymWrapper` on `make_role`, as in torchrl_forms.py"),
    ("Tianshou's on-policy algorithms with several agents", "who does not act last gets the next episode's reward as its return (tested): DQN with whole returns, or PPO on one role"),
    ("`aec_to_parallel` on the AEC view", "agents of one wave act one after the other there: use `make_parallel`"),
    ("AgileRL's `train_multi_agent_on_policy`", "it forgets the ends of episodes, so that advantages run across them: the example has a loop of its own"),
    ("OpenEnv's plain HTTP `/step`", "it makes an environment for each request; only WebSocket sessions can play"),
    ("TextArena games that do not replay", "clocks, sets in an order that differs, downloads at import, rewards that are messages: refused, unless `unchecked=True` says so in the record"),
    ("Inspect's `model_roles` that a team does not have", "an error: Inspect alone would take its default model for the missing one"),
    ("one row of TRL, SkyRL or verl for a whole episode", "asks with `fresh=True` are new conversations; a row is one of them, and an adapter whose learner would have several refuses"),
    ("verl's own workers and trainer", "not tried: they want Ray and a GPU; the loop is run on verl's real base class, as its workers build it"),
    ("EPyMARL, MARLlib, rllm, prime-rl, NeMo Gym", "not tried: they cannot be installed beside current versions of their own dependencies from an index alone"),
)  # fmt: skip


def verdict(row: Row, results: dict) -> str:
    """What is said of a row's results, in the table and on the terminal."""
    if "failed" in results:
        return f"failed: {results['failed']}"
    if not row.figure:
        return results["checked"]
    runs = "; ".join(f"{before:.2f} -> {after:.2f}" for before, after, _ in results["runs"])
    learns = "learns" if row.learns(results["runs"]) else "does not learn: the gain is within chance"
    longest = max(cpu for *_, cpu in results["runs"]) / 60
    time = f"under {MINUTES} CPU minutes" if longest < MINUTES else f"{longest:.0f} CPU minutes"
    return f"{row.figure} {runs}: {learns}, {time}"


def page(results: dict[str, dict]) -> str:
    """docs/conformance.md."""
    lines = [
        "# Conformance",
        "",
        "Written by `make conformance`, which builds an environment for each set of libraries that fit together, runs each example in it, those "
        "that train with three seeds, and fills in the table. Learns: the mean gain over the seeds is above twice its standard error, and the "
        "worst end above a random policy's. What the RL examples play: [sums.py](../examples/sums.py).",
        "",
        "| example | with | what is run | what came out | date |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS:
        found = results.get(row.name)
        said = ", ".join(f"{name} {version}" for name, version in (found or {}).get("versions", {}).items())
        out = verdict(row, found).replace("|", "\\|") if found else "not run yet"
        lines.append(
            f"| [{row.example}](../examples/{row.example}) | {said} | {row.does} | {out} | {found['date'] if found else ''} |"
        )
    lines += [
        "",
        "Fails by design:",
        "",
        "| what | why |",
        "|---|---|",
        *(f"| {what} | {why} |" for what, why in BY_DESIGN),
    ]
    return "\n".join(lines) + "\n"


def examples_page(folder: Path) -> str:
    """docs/examples.md: every example, included as it is run."""
    lines = [
        "# Examples",
        "",
        "Each is run against the real library by `make conformance`; what came out is in the [table](conformance.md). `python examples/sb3_ppo.py` "
        "runs one where its library is installed.",
        *included("sums.py", "What the RL examples play", ""),
    ]
    for row in ROWS:
        said = (ast.get_docstring(ast.parse((folder / row.example).read_text())) or "").splitlines()[0]
        title, _, what = said.partition(": ")
        lines += included(row.example, title, what[:1].upper() + what[1:])
    return "\n".join(lines) + "\n"


def included(example: str, title: str, what: str) -> list[str]:
    code = [f'```python title="examples/{example}"', f'--8<-- "examples/{example}"', "```"]
    return ["", f"## {title}", *([what, ""] if what else []), *code]
