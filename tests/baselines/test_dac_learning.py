"""DAC learns on the two-answer toy, with all its parts, and a run that is killed is resumed exactly."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import ClassVar

import pytest
from rich.console import Console

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from toy_methods import crashing  # noqa: E402
from two_answers import PROMPTS, make_model  # noqa: E402

from baselines.args import TrainArgs  # noqa: E402
from baselines.batch import to_samples  # noqa: E402
from baselines.chat import Chat  # noqa: E402
from baselines.engines.transformers import TransformersEngine  # noqa: E402
from baselines.learner import Learner, Settings  # noqa: E402
from baselines.methods.dac import Dac  # noqa: E402
from baselines.policies import Policies, load_tokenizer  # noqa: E402
from baselines.progress import Progress  # noqa: E402
from baselines.rollout import groups, rollout  # noqa: E402
from baselines.runlog import RunLog, read_lines  # noqa: E402
from baselines.train import train  # noqa: E402
from baselines.types import Sampling, Signal  # noqa: E402
from llm_marl_envs import Ask, Claim, Problem, Question, Roster, Score  # noqa: E402
from llm_marl_envs.protocol import UseTool  # noqa: E402
from llm_marl_envs.reading import passages_in  # noqa: E402

pytestmark = pytest.mark.slow
ASKS = {"searcher": PROMPTS["left_0"], "generator": PROMPTS["right_0"]}


@dataclass(frozen=True)
class Shelf:
    """A search for A finds what suffices, and A is the answer."""

    splits: ClassVar = ("train", "test")

    @property
    def tools(self):
        return {"search": lambda query: {"A": "good", "A or B?": "noise"}.get(query, "bad")}

    def problems(self, split):
        return tuple(Problem(Question(f"shelf/{split}/{i}", "A or B?"), "A") for i in range(8))

    def grade(self, problem, text, kind="answer"):
        return Score(float("good" in text if kind == "evidence" else text == "A"), "", text)


@dataclass(frozen=True)
class Look:
    given: tuple[str, ...] = ()
    roster: ClassVar = Roster(searcher=1, generator=1)

    def talk(self, question, rng):
        if not self.given:
            said = yield Ask("searcher_0", ASKS["searcher"])
            found = yield UseTool("searcher_0", "search", {"query": said})
            yield Claim("searcher_0", "\n".join(passages_in(found)), "evidence")
        answer = yield Ask("generator_0", ASKS["generator"])
        yield Claim("generator_0", answer)
        return answer


@dataclass(frozen=True)
class ToyDac(Dac):
    answers: int = 4
    sft: float = 0.05

    def training(self, workflow):
        return workflow


class Flipped(ToyDac):
    def credit(self, episodes, values, seed):
        return {
            place: s._replace(advantage=tuple(-a for a in s.advantage)) if isinstance(s, Signal) else -s
            for place, s in super().credit(episodes, values, seed).items()
        }

    def lessons(self, episodes):
        return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return make_model(tmp_path_factory.mktemp("two") / "model")


def odds(policies, chat) -> dict[str, float]:
    """P(A) of each role."""
    answer, found = chat.tokenizer("A")["input_ids"][0], {}
    for role, prompt in ASKS.items():
        with torch.no_grad():
            ids = torch.tensor([chat.open(({"role": "user", "content": prompt},))])
            found[role] = float(torch.softmax(policies.model(role)(input_ids=ids).logits[0, -1], -1)[answer])
    return found


def learn(folder: Path, method: Dac, steps: int = 12):
    """P(A) per role before and after, and what the critic says at the end."""
    task, flow = Shelf(), Look()
    route = method.route(flow.roster)
    torch.manual_seed(0)
    policies = Policies(str(folder), route.policies, critics=method.critics)
    chat = Chat(load_tokenizer(str(folder)))
    engine = TransformersEngine(policies, chat)
    learner = Learner(policies, Settings(2e-3, steps, schedule="constant"), method.loss, chat.pad_id)
    before = odds(policies, chat)

    def play(starts):
        return rollout(starts, route, engine, task, sampling=Sampling(1.0, 3), rule=method.rule)

    for step in range(steps):
        episodes = method.collect(groups(flow, task.problems("train")[:4], 8, seed=step), play, task)
        credit = method.credit(episodes, learner.values(episodes), step)
        learner.update(to_samples(episodes, credit) + method.lessons(episodes), step)
    return before, odds(policies, chat), [v for said in learner.values(episodes).values() for v in said[:1]]


def test_both_roles_learn_what_is_paid(folder):
    before, after, said = learn(folder, ToyDac())
    assert all(0.3 < p < 0.7 for p in before.values())
    assert all(after[role] > 0.8 and after[role] > before[role] + 0.2 for role in before), (before, after)
    assert all(value > 0.05 for value in said), "the critic expects something by now"


def test_a_flipped_sign_does_not(folder):
    before, after, _ = learn(folder, Flipped())
    assert all(after[role] < before[role] - 0.1 for role in before), (before, after)


def test_a_run_that_is_killed_is_resumed_exactly(folder, tmp_path):
    here = "test_dac_learning"

    def run(out, console=None, **changes):
        args = TrainArgs(
            task=f"{here}:Shelf", workflow=f"{here}:Look", method=f"{here}:ToyDac", model=str(folder), out=out, steps=3, lora_rank=2,
            problems=2, samples=4, max_tokens=3, eval_every=3, eval_problems=4, checkpoint_every=2, threads=1, device="cpu",
            trace_every=3, per=("lr=1e-2",), **changes,
        )  # fmt: skip
        train(args, Progress(console, quiet=console is None))

    said = StringIO()
    straight, out = tmp_path / "straight", tmp_path / "crashed"
    run(straight, Console(file=said, width=400))
    lines = read_lines(straight / "metrics.jsonl")
    assert lines[0]["accuracy"] == 0, "greedily, the toy says B at first"
    assert "warning: danger of collapse into abstention: held-out EM is 0.000" in said.getvalue()
    steps = [line for line in lines if line["kind"] == "train"]
    assert [line["declined"] for line in steps] == [0.0] * 3
    for line in steps:
        assert sum(line[f"stackelberg_{name}"] for name in ("alpha", "beta", "gamma")) == pytest.approx(1)
    with crashing(3):
        run(out)
    run(out, resume=True)
    assert (out / "metrics.jsonl").read_bytes() == (straight / "metrics.jsonl").read_bytes()
    one, two = (RunLog(path).checkpoint_folder(3) for path in (straight, out))
    for part in ("searcher/value_head", "searcher/adapter_model", "generator/adapter_model"):
        assert (one / f"{part}.safetensors").read_bytes() == (two / f"{part}.safetensors").read_bytes()
    assert load_file(one / "searcher" / "value_head.safetensors")["weight"].abs().max() > 0
