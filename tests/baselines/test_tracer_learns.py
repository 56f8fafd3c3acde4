"""TRACER with language models: a run that is killed, and the two-answer toy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest

torch = pytest.importorskip("torch")

from toy_methods import crashing  # noqa: E402
from two_answers import PROMPTS, TwoAnswers, make_model  # noqa: E402

from baselines.args import TrainArgs  # noqa: E402
from baselines.batch import to_samples  # noqa: E402
from baselines.chat import Chat  # noqa: E402
from baselines.engines.transformers import TransformersEngine  # noqa: E402
from baselines.learner import Learner, Settings  # noqa: E402
from baselines.methods import make_method  # noqa: E402
from baselines.policies import Policies, load_tokenizer  # noqa: E402
from baselines.progress import Progress  # noqa: E402
from baselines.rollout import groups, rollout  # noqa: E402
from baselines.runlog import RunLog, read_lines  # noqa: E402
from baselines.train import train  # noqa: E402
from baselines.types import Sampling  # noqa: E402
from llm_marl_envs import Ask, Claim, Problem, Question, Roster  # noqa: E402

pytestmark = pytest.mark.slow


def test_a_run_that_is_killed_goes_on_with_the_same_tables(micro_folder, tmp_path):
    def args(out, **more):
        return TrainArgs(
            method="tracer", workflow="propose_review", model=str(micro_folder), out=out, steps=3, problems=2, samples=1,
            max_tokens=4, eval_every=3, eval_problems=2, checkpoint_every=2, trace_every=3, threads=1, device="cpu", lora_rank=2,
            **more,
        )  # fmt: skip

    straight, crashed = tmp_path / "straight", tmp_path / "crashed"
    train(args(straight), Progress(quiet=True))
    with crashing(3):
        train(args(crashed), Progress(quiet=True))
    train(args(crashed, resume=True), Progress(quiet=True))
    assert (crashed / "metrics.jsonl").read_bytes() == (straight / "metrics.jsonl").read_bytes()
    tables = [RunLog(out).checkpoint_folder(3) / "players.json" for out in (straight, crashed)]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    assert json.loads(tables[0].read_text())["gates"], "they have met a decision"
    last = [line for line in read_lines(straight / "metrics.jsonl") if line["kind"] == "train"][-1]
    assert last["decisions/gates"] > 0 == last["not_valued/gates"]


@dataclass(frozen=True)
class OneLetter(TwoAnswers):
    def problems(self, split):
        return tuple(Problem(Question(f"one/{split}/{i}", "A or B?"), "A") for i in range(4))


@dataclass(frozen=True)
class OneRound:
    """A proposal, right if it is A, and a review of a right one, true if it is A; the gates are never asked."""

    roster: ClassVar = Roster(proposer=1, reviewer=1, proposercontroller=1, reviewercontroller=1)

    def talk(self, question, rng):
        text = yield Ask("proposer_0", PROMPTS["left_0"])
        yield Claim("proposer_0", text)
        review = yield Ask("reviewer_0", PROMPTS["right_0"])
        yield Claim("reviewer_0", "right" if review == "A" else "wrong", "verdict", "A")
        return text


def learn(folder, sign: float, text: str = "both", steps: int = 15) -> tuple[list[float], list[float]]:
    """P(A) of proposer and reviewer before and after."""
    method, workflow, task = make_method("tracer", text=text), OneRound(), OneLetter()
    route = method.route(workflow.roster)
    torch.manual_seed(0)
    policies = Policies(str(folder), ("proposer", "reviewer"))
    chat = Chat(load_tokenizer(str(folder)))
    engine = TransformersEngine(policies, chat)
    settings = Settings(2e-3, steps, schedule="constant", normaliser=method.normaliser)
    learner = Learner(policies, settings, method.loss, chat.pad_id)
    answer = chat.tokenizer("A")["input_ids"][0]

    def odds():
        found = []
        for role, prompt in (("proposer", PROMPTS["left_0"]), ("reviewer", PROMPTS["right_0"])):
            ids = torch.tensor([chat.open(({"role": "user", "content": prompt},))])
            with torch.no_grad():
                found.append(float(torch.softmax(policies.model(role)(input_ids=ids).logits[0, -1], -1)[answer]))
        return found

    def play(starts):
        return rollout(starts, route, engine, task, sampling=Sampling(1.0, 3), rule=method.rule)

    before = odds()
    for step in range(steps):
        episodes = method.collect(groups(workflow, task.problems("train"), 1, seed=step), play, task)
        credit = {place: sign * advantage for place, advantage in method.credit(episodes, {}, step).items()}
        learner.update(to_samples(episodes, credit), step)
    return before, odds()


def test_the_rewarded_reply_becomes_likelier(tmp_path):
    torch.set_num_threads(1)
    folder = make_model(tmp_path / "model")
    before, after = learn(folder, 1.0)
    assert all(0.3 < p < 0.7 for p in before), "the toy must begin near even odds"
    assert all(b > 0.8 and b > a + 0.2 for a, b in zip(before, after, strict=True)), (before, after)
    flipped = learn(folder, -1.0)[1]
    assert all(b < a - 0.2 for a, b in zip(before, flipped, strict=True)), (before, flipped)
    alone = learn(folder, 1.0, "reviewer")[1]
    assert alone[0] == before[0], "whose replies are not trained stays as it is"
    assert alone[1] > 0.8
