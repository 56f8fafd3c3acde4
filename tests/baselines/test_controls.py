"""The controls, and the two budgets at which they are compared."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cases import every
from test_credit import made
from test_report import evaluation, make_run

from baselines.budgets import TokenBudget
from baselines.credit.group import group_relative
from baselines.evaluate import Evaluation, majority
from baselines.methods import make_method
from baselines.study import results_table
from baselines.team import with_validation
from llm_marl_envs import Problem, Question, Score
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.session import Status
from llm_marl_envs.stats.compare import paired
from llm_marl_envs.stats.intervals import accuracy_of


def test_random_credit_gives_each_reply_the_advantage_of_another_of_its_role():
    """Rewards differ by role, so that advantages that went to the other role would show."""
    batch = [made(i // 4, {"generator_0": float(i * i), "evaluator_0": 1000.0 * i}, "ge") for i in range(12)]
    batch.append(made(9, 5.0, "geg", origin=(batch[0], 2)))
    method = make_method("random_credit")
    credit, real = method.credit(batch, {}, seed=3), group_relative(batch)
    assert credit.keys() == real.keys()
    for turn in (0, 1):
        mine = sorted(credit[i, turn] for i in range(12))
        if turn:
            assert mine == sorted(real[i, 1] for i in range(12))
        assert sum(credit[i, turn] != real[i, turn] for i in range(12)) > 6
    assert sorted(v for (_, t), v in credit.items() if t != 1) == sorted(v for (_, t), v in real.items() if t != 1)
    assert credit == method.credit(batch, {}, seed=3) != method.credit(batch, {}, seed=4)


def tries(**answers: str) -> Evaluation:
    """Problems with sampled answers, one letter each: capitals are right, "-" cannot be read, "!" failed. Each costs 10 tokens."""
    episodes = []
    for group, (problem, said) in enumerate(answers.items()):
        for letter in said:
            status = Status.FAILED if letter == "!" else Status.FINISHED
            team = Score(float(letter.isupper()), "", None if letter in "-!" else letter)
            outcome = SimpleNamespace(team=team, status=status)
            about = SimpleNamespace(question=SimpleNamespace(id=problem))
            episodes.append(SimpleNamespace(problem=about, outcome=outcome, group=group))
    return Evaluation(accuracy_of([("q", 0.0)]), {"calls": 1.0, "tokens": 10.0, "malformed": 0.25}, episodes)  # type: ignore[arg-type]


def test_the_majority_decides():
    """The right one of three; the wrong one; of equals the first; what cannot be read or failed has no vote; nothing to read."""
    found = majority(tries(a="xAA", b="Axx", c="yBBy", d="--Cz", e="!!D!", f="----", g="!!!!"))
    assert found.scores == {"a": 1, "b": 0, "c": 0, "d": 1, "e": 1, "f": 0}
    assert found.accuracy.mean == pytest.approx(3 / 6)
    assert found.figures["votes"] == pytest.approx(26 / 7)
    assert found.figures["tokens"] == pytest.approx(260 / 7)
    assert found.figures["malformed"] == 0.25


@every(
    ("tokens", "one", "votes"), [(100.0, 32.0, 3), (100.0, 10.0, 10), (10.0, 32.0, 1), (0.0, 32.0, 5), (1e9, 1.0, 256)]
)
def test_self_consistency_has_as_many_votes_as_the_tokens_allow(tokens, one, votes):
    asked = []

    def play(*, samples=1, temperature=0.0):
        asked.append((samples, temperature))
        found = tries(a="A" * samples)
        return Evaluation(found.accuracy, {"calls": 1.0, "tokens": one}, found.episodes)

    method = make_method("self_consistency", tokens=tokens)
    assert method.evaluate(play).figures["tokens"] == one * votes
    assert asked == [(1, 0.7)] * bool(tokens) + [(votes, 0.7)]
    assert (method.learns, method.plays) == (False, "solo")


def step(n: int, tokens: float, samples: int) -> dict[str, Any]:
    return {"step": n, "kind": "train", "sampled_tokens": tokens, "samples": samples}


def test_episodes_of_the_next_step_by_hand():
    budget = TokenBudget(8, (100, 200, 300, 400))
    assert budget.episodes([]) == 8
    assert budget.episodes([step(1, 40, 8)]) == 32  # (200 - 40) / (40 / 8)
    assert budget.episodes([step(1, 40, 8), step(2, 180, 32)]) == 15  # (300 - 220) / (220 / 40) = 14.5
    assert budget.episodes([step(1, 900, 8)]) == 2, "never fewer than can be compared"
    assert budget.episodes([step(1, 0, 8)]) == 128, "empty replies must not make it endless"
    assert TokenBudget(8).episodes([step(1, 40, 8)]) == 8


@every("cost", [0.3, 0.9, 1.0, 1.7, 3.0])
def test_two_runs_of_different_replies_generate_as_many_tokens(cost):
    """Replies `cost` times as long, a tenth longer after each step, on 16 problems: within 2 % at the end, on the same steps."""
    target = tuple(1000.0 * (i + 1) for i in range(30))
    lines: list[dict[str, Any]] = []
    while len(lines) < 30:
        samples = TokenBudget(8, target).episodes(lines)
        length = cost * 1000 / (8 * 16) * (1 + 0.1 * (len(lines) % 5))
        lines.append(step(len(lines) + 1, 16 * samples * length, samples))
    assert sum(line["sampled_tokens"] for line in lines) == pytest.approx(target[-1], rel=0.02)


def test_a_run_to_match_must_be_long_enough(tmp_path):
    run = make_run(tmp_path / "first", [evaluation(0, 0.5, 0.4, 0.6), step(1, 100, 8), step(2, 50, 8)])
    assert TokenBudget.of(8, 2, run) == TokenBudget(8, (100, 150))
    assert TokenBudget.of(8, 5, None) == TokenBudget(8)
    for folder, has in ((run, 2), (tmp_path / "none", 0)):
        with pytest.raises(ConfigError, match=f"has {has} training steps, this run is to have 3"):
            TokenBudget.of(8, 3, folder)


def test_paired_intervals():
    """Of three problems one became right: 1/3. Two that failed are left out. Where all are alike, w = 3.84 / (n + 3.84)."""
    found = paired([0, 0, 1, None, 0], [1, 0, 1, 1, None])
    assert found.mean == pytest.approx(1 / 3)
    assert (found.low, found.high) == (0, 1)
    w = 3.8415 / (100 + 3.8415)
    same, all_better = paired([1] * 100, [1] * 100), paired([0] * 100, [1] * 100)
    assert (same.mean, same.low, same.high) == pytest.approx((0, -w, w), abs=1e-4)
    assert (all_better.mean, all_better.low, all_better.high) == pytest.approx((1, 1 - 2 * w, 1), abs=1e-4)
    assert paired([0] * 90 + [1] * 10, [1] * 20 + [0] * 70 + [1] * 10).low > 0.1
    assert paired([0.5] * 60 + [1] * 40, [1] * 60 + [0.5] * 40).low < 0.1, "half of what was gained was lost"
    nothing = paired([None], [1.0])
    assert nothing.mean != nothing.mean


def test_pairs_tell_more_than_two_intervals():
    """50 % to 58 % of 400, no problem lost: 32 problems gained, so +8 [5.5, 10.75]; two intervals of [45, 55] and [53, 63] touch."""
    found = paired([0] * 200 + [1] * 200, [1] * 32 + [0] * 168 + [1] * 200)
    assert (found.low, found.high) == pytest.approx((0.055, 0.108), abs=0.006)


def shelf(**sizes: int) -> Any:
    """A task with splits of these sizes; an id tells the split and the place."""

    def problems(split):
        return tuple(Problem(Question(f"{split}/{i}", ""), "") for i in range(sizes[split]))

    return SimpleNamespace(splits=tuple(sizes), problems=problems)


@every(
    ("sizes", "split", "count", "first", "left"),
    [
        ({"train": 50, "validation": 9, "test": 9}, "test", 4, "validation/0", 50),
        ({"train": 50, "validation": 9}, "validation", 4, "train/46", 46),  # it is what is reported
        ({"train": 50, "test": 9}, "test", 4, "train/46", 46),
        ({"train": 50, "test": 9}, "test", 40, "train/45", 45),  # a tenth at most
        ({"train": 50}, "train", 4, "train/46", 46),
        ({"train": 9, "test": 9}, "test", 4, None, 9),
        ({"train": 50, "test": 9}, "test", 0, None, 50),
    ],
)
def test_validation_is_never_what_is_reported_or_trained_on(sizes, split, count, first, left):
    task = shelf(**sizes)
    held_out = task.problems(split)[:20]
    train, chosen = with_validation(task, held_out, count, split)
    names = [{p.question.id for p in some} for some in (held_out, train, chosen)]
    assert (chosen[0].question.id if chosen else None, len(train)) == (first, left)
    assert not names[2] & (names[0] | names[1])


def test_when_all_of_train_is_reported_nothing_is_left_for_validation():
    task = shelf(train=10)
    assert with_validation(task, task.problems("train"), 4, "train") == (task.problems("train"), ())


def test_the_table_has_both_budgets_and_the_paired_interval(tmp_path):
    def scored(n: int, scores: list[float], **more: float) -> dict[str, Any]:
        return evaluation(n, sum(scores) / 8, 0.1, 0.9, **more) | {"scores": scores}

    before, after = [0.0] * 4 + [1.0] * 4, [1.0] * 3 + [0.0] + [1.0] * 4
    first = [
        scored(0, before, validation=0.5),
        step(1, 3000, 8),
        scored(1, after, validation=0.75, tokens=150.0),
        step(2, 1000, 8),
        scored(2, before, validation=0.25, tokens=200.0),
    ]
    solo = [scored(0, before, validation=0.5), step(1, 4120, 24), step(2, 0, 2), scored(2, after, validation=1.0)]
    much = [scored(0, before), step(1, 4400, 8), scored(1, [0.0] * 8)]
    runs = [
        make_run(tmp_path / "a", first, problems=4),
        make_run(tmp_path / "b", solo, workflow="solo"),
        make_run(tmp_path / "c", much, method="shuffled"),
        make_run(tmp_path / "d", [scored(0, before, tokens=198.0)], method="prompted"),
        make_run(
            tmp_path / "e", [scored(0, before, tokens=280.0, votes=2)], method="self_consistency", workflow="solo"
        ),
        make_run(
            tmp_path / "f", [scored(0, before, tokens=220.0, votes=2)], method="self_consistency", workflow="solo"
        ),
    ]
    table = results_table(runs)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "| 0 |" in line]
    ours, solo_row, shuffled, prompted, consistent, _ = rows
    assert ours[3] == "87.5% [10.0, 90.0] (1)", "the peak is the one that validation chose"
    assert ours[5] == "+0.0 [-32.4, +32.4]"  # w = 3.84 / 11.84
    assert ours[7:] == ["8", "0.004M (100%)", "200 (100%)"]
    assert solo_row[5].startswith("+37.5 [")
    assert solo_row[8:] == ["0.004M (103%)", "100 (50%)"]
    assert shuffled[3].endswith("(0)")
    assert prompted[5:] == ["–", "2.00 -> 2.00", "0", "not trained", "198 (99%)"]
    assert consistent[9] == "280 (140%)"
    said = [line for line in table.splitlines() if "not at equal cost" in line]
    assert said == [
        "shuffled eval_opt, seed 0, is not at equal cost: 110% of the first arm's generated tokens in training.",
        "self_consistency solo, seed 0, is not at equal cost: 140% of the first arm's tokens per problem when tested.",
        "self_consistency solo, seed 0, is not at equal cost: 110% of the first arm's tokens per problem when tested "
        "(as near as whole votes come).",
    ]
    assert "on validation problems where there are any" in table


@pytest.mark.slow
def test_a_study_compares_at_equal_cost(micro_folder, tmp_path: Path):
    from baselines.args import TrainArgs
    from baselines.progress import Progress
    from baselines.study import run_study

    args = TrainArgs(
        model=str(micro_folder), out=tmp_path, set=("rounds=2",), steps=10, problems=4, samples=4, max_tokens=4, eval_every=5,
        eval_problems=12, lr=1e-3, checkpoint_every=5, trace_every=0, threads=1, device="cpu", reward="two_answers:variety",
    )  # fmt: skip
    arms = ("shared", "shared:solo", "random_credit", "prompted", "self_consistency")
    with pytest.raises(UnknownName, match="no knob of arithmetic or eval_opt 'round'"):
        run_study(dataclasses.replace(args, set=("round=2",)), arms, (0,), Progress(quiet=True))
    run_study(args, arms, (0,), Progress(quiet=True))
    read = {
        run.parent.name: [json.loads(x) for x in run.read_text().splitlines()]
        for run in tmp_path.glob("*/metrics.jsonl")
    }
    tokens = {name: sum(x.get("sampled_tokens", 0) for x in lines) for name, lines in read.items()}
    for name in ("shared-solo-seed0", "random_credit-seed0"):
        assert tokens[name] == pytest.approx(tokens["shared-seed0"], rel=0.05)
    solo = [x["samples"] for x in read["shared-solo-seed0"] if x["kind"] == "train"]
    assert solo[0] == 4 < min(solo[1:])
    assert {x["samples"] for x in read["shared-seed0"] if x["kind"] == "train"} == {4}
    (voted,) = read["self_consistency-seed0"]
    team = read["shared-seed0"][-1]["tokens"]
    assert abs(voted["tokens"] - team) <= voted["tokens"] / voted["votes"] / 2 + 1e-9, "as near as whole votes allow"
    assert (tmp_path / "results.md").read_text().count("eval_opt | 0 |") == 3
    before = {run: run.read_bytes() for run in tmp_path.glob("*/metrics.jsonl")}
    run_study(args, arms, (0,), Progress(quiet=True))
    assert {run: run.read_bytes() for run in before} == before, "finished runs are kept"
