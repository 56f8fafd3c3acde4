"""The trainers' subcommands. Modules that need torch are imported when a command runs, so that --help is quick."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from baselines.args import TrainArgs, named
from llm_marl_envs.errors import MissingExtra

if TYPE_CHECKING:
    from baselines.progress import Progress


def train(args: Annotated[TrainArgs, tyro.conf.arg(name="")]) -> None:
    """Train a team; writes a run folder with metrics, traces, checkpoints, curves and a report.

    Ctrl-C finishes the current step, writes a checkpoint and says how to continue; --resume continues, also after a crash or kill.

    Examples: `llm-marl train`, `llm-marl train --method isolated --out runs/isolated`,
    `llm-marl train --workflow voting --set votes=5`, `llm-marl train --resume --out runs/latest`
    """
    _need_torch("training")
    from baselines.report import write_report
    from baselines.train import train as run

    progress = _progress()
    folder = run(args, progress)
    if all(importlib.util.find_spec(module) for module in ("matplotlib", "jinja2")):  # the report extra
        progress.console.print(f"report: {write_report([folder], folder)}")
    progress.console.print(f"traces: {folder / 'traces'}; score them with: llm-marl score {folder}")


def evaluate(
    policy: Annotated[str, tyro.conf.Positional],
    task: str | None = None,
    workflow: str | None = None,
    set: tuple[str, ...] | None = None,
    team: tuple[str, ...] | None = None,
    split: str = "test",
    problems: int = 0,
    samples: int = 1,
    temperature: float = 0.0,
    max_tokens: int | None = None,
    step: int | Literal["best"] | None = None,
    judge: str | None = None,
    suite: str | None = None,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int = 2,
    out: Path | None = None,
) -> None:
    """Play a split with a policy and write the traces.

    Examples: `llm-marl evaluate runs/latest`, `llm-marl evaluate runs/latest --workflow voting --temperature 1 --samples 4`,
    `llm-marl evaluate Qwen/Qwen3-0.6B --task gsm8k --workflow eval_opt --max-tokens 1024`, `llm-marl evaluate runs/latest --suite smoke-v1`

    Args:
        policy: A run folder (its last checkpoint), or a model: a hub name, a local folder, or `tiny`.
        task: Task name; by default the run's, or arithmetic.
        workflow: Workflow name; by default the run's, or eval_opt.
        set: Knobs as name=value; by default the run's.
        team: Roles that others play, as role=partner: `evaluator=openai:http://127.0.0.1:8000/v1`, `run:<folder>`, `model:<name>`,
            `script:<file>`, `random`; by default the run's.
        split: The split to play.
        problems: Play only the first N problems; 0 plays all.
        samples: Episodes per problem.
        temperature: 0 is greedy.
        max_tokens: Maximum number of new tokens per reply; by default the run's, or 40 for tiny and 1024 otherwise.
        step: Which of the run's checkpoints; by default the last. `best` is the one that validation chose.
        judge: A partner (see `team`) that says of short answers whether they are right, as a second figure, which nobody can verify and
            nothing is ranked by: `openai:http://127.0.0.1:8000/v1#gpt-oss-120b`.
        suite: Play all parts of a suite (`llm-marl suites list`) in place of a task's split; what was interrupted goes on. `workflow` is then the
            one that every part is played with, `set` says where corpora are (corpus=wiki.jsonl.gz).
        seed: Decides the sampling.
        device: auto takes CUDA if there is one.
        threads: CPU threads.
        out: Trace file; by default eval-<split>.jsonl.gz in the run's traces folder, or in the current folder. Of a suite: a folder.
    """
    _need_torch("evaluation")
    from baselines.evaluate import evaluate as run
    from baselines.evaluate import traces_of
    from baselines.judge import judged, verdicts
    from baselines.playing import playing_of
    from baselines.suite import play_suite
    from llm_marl_envs.errors import ConfigError, UnknownName
    from llm_marl_envs.partners import make_partner
    from llm_marl_envs.suites import load_suite
    from llm_marl_envs.traces.files import write_traces

    progress = _progress()
    chosen = load_suite(suite) if suite is not None else None
    if chosen is not None:
        fixed = {
            "task": task,
            "judge": judge,
            "problems": problems or None,
            "samples": samples if samples != 1 else None,
        }
        if given := [name for name, value in fixed.items() if value is not None]:
            raise ConfigError(f"a suite says what is played; leave out --{', --'.join(given)}")
    team_args = {
        "task": task,
        "workflow": workflow if suite is None else None,
        "set": set if suite is None else None,
        "team": team,
    }
    playing = playing_of(
        policy,
        progress,
        **team_args,
        temperature=temperature,
        max_tokens=max_tokens,
        step=step,
        device=device,
        threads=threads,
    )
    meta = {"model": playing.model, "step": playing.step, "seed": seed, "temperature": temperature}
    hot = f" T={temperature:g}" if temperature else ""
    if chosen is not None:
        places = dict(named(set or ()))
        where = out or (playing.folder or Path()) / "suites" / chosen.name
        files = play_suite(
            playing.team, chosen, where, progress,
            sampling=playing.sampling, workflow=workflow, places=places, meta={"entry": f"{playing.name} {chosen.name}{hot}", **meta},
        )  # fmt: skip
        progress.say(f"{len(files)} files in {where}; score them with: llm-marl score {where}")
        return
    opinion = make_partner(judge) if judge else None
    played = playing.team
    if split not in played.task.splits:
        raise UnknownName(f"split of {played.args.task}", split, played.task.splits)
    done = run(
        played.task, played.workflow, played.task.problems(split)[: problems or None], played.route, played.engine,
        sampling=playing.sampling, samples=samples, limits=played.limits, seed=seed,
    )  # fmt: skip
    progress.evaluated(playing.step, done)
    found: list[bool | None] = []
    if opinion is not None:
        found = verdicts(done.episodes, opinion)
        silent = sum(v is None for v in found)
        progress.say(
            f"judged by {judge} (unverified): {judged(done.episodes, found)}"
            + (f", without a verdict: {silent} of {len(found)}" if silent else "")
        )
        meta["judge"] = judge
    path = out or (playing.folder / "traces" if playing.folder else Path()) / f"eval-{split}.jsonl.gz"
    meta["entry"] = f"{playing.name} {played.args.workflow} {split}{hot}"
    write_traces(path, traces_of(done.episodes, played.spec, split, meta, found))
    progress.say(f"{len(done.episodes)} traces in {path}; score them with: llm-marl score {path}")


def study(
    args: Annotated[TrainArgs, tyro.conf.arg(name="")],
    arms: tuple[str, ...] = ("shared", "shuffled"),
    seeds: tuple[int, ...] = (0,),
    equal: bool = True,
) -> None:
    """Train several arms over several seeds, and compare them in one report and one table.

    An arm is a method, or method:workflow, as in shared:solo (the single-agent control). Finished runs are kept, interrupted
    ones are continued. `make demo` runs this. All are compared with the first arm at equal cost: in training they see the same
    problems and generate as many tokens, with more or fewer episodes per problem; `self_consistency`, which is not trained, has
    as many votes as the first arm's tokens per problem allow.

    Example: `llm-marl study --arms shared shared:solo shuffled random_credit prompted self_consistency --out runs/study`

    Args:
        args: As for `llm-marl train`; --out holds one run folder per arm and seed.
        arms: What to compare; the report shows details of the first.
        seeds: Each arm is trained with each seed.
        equal: Equal budgets. Without it every arm plays --samples episodes per problem.
    """
    _need_torch("training")
    from baselines.study import run_study

    run_study(args, arms, seeds, _progress(), equal)


def _need_torch(what: str) -> None:
    """Raises MissingExtra if the train extra is not there. Also quiets spinning threads before torch is first imported."""
    for module in ("torch", "transformers", "peft"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(what, "train")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else a busy neighbour makes two threads 20 times slower
    import transformers

    transformers.utils.logging.disable_progress_bar()


def _progress() -> Progress:
    from baselines.progress import Progress

    return Progress()
