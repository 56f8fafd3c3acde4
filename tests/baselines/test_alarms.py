"""Each alarm: a run that gives cause for it, and runs that look alike and do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cases import every

from baselines.alarms import Alarm, new_alarms
from baselines.held_out import cliff, gain, peak

SHARED = {"generator": "shared", "evaluator": "shared"}
ISOLATED = {"generator": "generator", "evaluator": "evaluator"}
QUIET = {  # of a run that goes well
    "accuracy": 0.6, "zero_variance": 0.4, "zero_variance/generator": 0.4, "zero_variance/evaluator": 0.4,
    "grad_share/generator": 0.95, "grad_share/evaluator": 0.05, "grad_norm/shared": 0.5,
    "reply_tokens/generator": 32.0, "reply_tokens/evaluator": 3.0, "malformed/generator": 0.1, "malformed/evaluator": 0.0,
    "logprob_gap/shared": 2e-6,
}  # fmt: skip
Value = float | Callable[[int], float] | None


def run(**changed: Value) -> list[dict[str, Any]]:
    """Lines of training steps; a figure may depend on the step, None leaves it out. `a__b` stands for `a/b`."""
    figures = QUIET | {key.replace("__", "/"): value for key, value in changed.items()}
    lines = []
    for i in range(40):
        line = {key: value(i) if callable(value) else value for key, value in figures.items() if value is not None}
        lines.append({"step": i + 1, "kind": "train", **line})
    return lines


def all_of(lines: list[dict[str, Any]], by_role: dict[str, str] = SHARED) -> list[Alarm]:
    """What is said in the course of a run."""
    said: list[Alarm] = []
    for i in range(len(lines)):
        said += new_alarms(lines[: i + 1], by_role, [alarm._asdict() for alarm in said])
    return said


def grown(low: float, high: float, start: int = 10, end: int = 30) -> Callable[[int], float]:
    """From one value to another between two steps."""
    return lambda i: low + (high - low) * min(1.0, max(0.0, (i - start) / (end - start)))


OWN_NORMS = {"grad_norm__shared": None, "grad_norm__generator": 0.5, "grad_norm__evaluator": 0.5}
RUINED: dict[str, Value] = {
    "grad_share__generator": lambda i: 0.98 if i == 0 else 0.0,
    "grad_share__evaluator": lambda i: 0.02 if i == 0 else 0.0,
    "reply_tokens__evaluator": lambda i: 3.0 if i == 0 else 31.0,
}
CAPTURE, GRADIENT, SIGNAL, STALE = "capture", "gradient", "no signal", "stale"


@every(
    ("changed", "by_role", "expected"),
    [
        ({}, SHARED, []),
        # a short verdict becomes as long as a solution
        ({"reply_tokens__evaluator": grown(3, 30)}, SHARED, [(CAPTURE, "evaluator")]),
        # the same while the gradient is shared evenly; in a policy of its own; away from the strong role; only a little longer
        ({"reply_tokens__evaluator": grown(3, 30), "grad_share__evaluator": 0.5}, SHARED, []),
        ({"reply_tokens__evaluator": grown(3, 30), **OWN_NORMS}, ISOLATED, []),
        ({"reply_tokens__evaluator": grown(40, 90)}, SHARED, []),
        ({"reply_tokens__evaluator": grown(3, 5)}, SHARED, []),
        # what it says cannot be read any more
        ({"malformed__evaluator": grown(0.0, 0.6)}, SHARED, [(CAPTURE, "evaluator")]),
        ({"malformed__generator": grown(0.0, 0.6)}, SHARED, []),
        ({"malformed__evaluator": grown(0.6, 0.0)}, SHARED, []),
        # the weak role is the one with long replies: it becomes short
        ({"reply_tokens__evaluator": grown(300, 30)}, SHARED, [(CAPTURE, "evaluator")]),
        # one step ruins the policy, and no later one has a gradient; a small gradient of the weak role afterwards is no excuse
        ({**RUINED, "grad_norm__shared": lambda i: 0.5 if i == 0 else 0.0}, SHARED, [(CAPTURE, "evaluator")]),
        (
            {**RUINED, "grad_norm__shared": lambda i: 0.5 if i == 0 else 0.05, "grad_share__evaluator": lambda i: 0.02 if i == 0 else 1.0},
            SHARED,
            [(CAPTURE, "evaluator")],
        ),
        # a role's gradient, whose policy is its own or shared
        ({**OWN_NORMS, "grad_norm__evaluator": grown(0.1, 0.6)}, ISOLATED, [(GRADIENT, "evaluator")]),
        ({**OWN_NORMS, "grad_norm__evaluator": grown(0.1, 0.3)}, ISOLATED, []),
        ({**OWN_NORMS, "grad_norm__evaluator": grown(0.6, 0.1)}, ISOLATED, []),
        ({**OWN_NORMS, "grad_norm__evaluator": lambda i: 5.0 if i % 7 == 0 else 0.1}, ISOLATED, []),  # single spikes
        ({"grad_share__evaluator": grown(0.01, 0.4), "grad_share__generator": grown(0.99, 0.6)}, SHARED, [(GRADIENT, "evaluator")]),
        ({"grad_norm__shared": grown(0.1, 1.0)}, SHARED, [(GRADIENT, "generator"), (GRADIENT, "evaluator")]),
        # groups
        ({"zero_variance": grown(0.5, 1.0)}, SHARED, [(SIGNAL, "")]),
        ({"zero_variance__evaluator": grown(0.5, 1.0)}, SHARED, [(SIGNAL, "evaluator")]),
        ({"zero_variance": lambda i: float(i % 2)}, SHARED, []),
        ({"zero_variance": 1.0, "zero_variance__evaluator": 1.0}, SHARED, [(SIGNAL, "")]),
        # the rollout's policy: other weights after the first step; the base model from the first; rounding of two kinds
        ({"logprob_gap__shared": lambda i: 2e-6 if i == 0 else 0.01}, SHARED, [(STALE, "shared")]),
        ({"logprob_gap__shared": 0.4}, SHARED, [(STALE, "shared")]),
        ({"logprob_gap__shared": lambda i: 0.008 if i == 0 else 0.02}, SHARED, []),  # bfloat16
        ({"logprob_gap__shared": lambda i: 0.008 if i == 0 else 0.06}, SHARED, [(STALE, "shared")]),
        ({"logprob_gap__shared": lambda i: 1e-7 if i == 0 else 3e-5}, SHARED, []),
        ({"logprob_gap__shared": lambda i: 0.01 if i == 20 else 2e-6}, SHARED, []),
        # abstention: more than there is reason for; where evidence is mostly insufficient; a single step
        ({"declined": grown(0.1, 0.8), "stackelberg_alpha": 0.35}, SHARED, [("abstention", "generator")]),
        ({"declined": 0.7, "stackelberg_alpha": 0.65}, SHARED, []),
        ({"declined": lambda i: 0.9 if i == 20 else 0.1, "stackelberg_alpha": 0.1}, SHARED, []),
    ],
)  # fmt: skip
def test_what_is_said_of_a_run(changed, by_role, expected):
    said = all_of(run(**changed), by_role)
    assert sorted((alarm.kind, alarm.about) for alarm in said) == sorted(expected)


def test_where_figures_are_absent_nothing_is_said():
    assert all_of(run(**dict.fromkeys((key.replace("/", "__") for key in QUIET), None))) == []
    nulls = [line | dict.fromkeys(QUIET, None) for line in run(grad_norm__shared=grown(0.1, 9.0))]
    assert all_of([line | {"zero_variance": 0.1, "accuracy": None} for line in run(logprob_gap__shared=None)]) == []
    assert all_of([{k: v for k, v in line.items() if v is not None} for line in nulls]) == []


def test_it_is_said_when_it_begins_once_and_in_plain_words():
    (capture,) = all_of(run(reply_tokens__evaluator=grown(3, 30)))
    assert 20 < capture.step < 40
    assert capture.text.startswith(
        "generator is capturing the policy 'shared': it has 95% of the squared gradient norm"
    )
    assert "the replies of evaluator went from 3 to" in capture.text
    (stale,) = all_of(run(logprob_gap__shared=lambda i: 2e-6 if i == 0 else 0.01))
    assert stale.step == 4, "three steps after the first"
    assert "another policy than the one that is trained" in stale.text
    assert all_of(run(logprob_gap__shared=0.4))[0].step == 1
    solved, stuck = (all_of(run(zero_variance=1.0, accuracy=share))[0] for share in (0.97, 0.02))
    assert (solved.step, stuck.step) == (10, 10)
    assert "the problems are solved" in solved.text
    assert "try problems that it solves sometimes" in stuck.text
    (growth,) = all_of(run(**OWN_NORMS | {"grad_norm__evaluator": grown(0.1, 0.6)}), ISOLATED)
    assert "the gradient of evaluator has grown" in growth.text


def test_dropout_is_not_taken_for_another_policy():
    lines = run(logprob_gap__shared=0.4, zero_variance=1.0)
    assert [alarm.kind for alarm in new_alarms(lines, SHARED, (), ["shared"])] == ["no signal"]
    assert [alarm.kind for alarm in new_alarms(lines, SHARED)] == ["no signal", "stale"]


def evals(*steps: tuple[float, Sequence[float | None]]) -> list[dict[str, Any]]:
    """Evaluations with their validation accuracies and their scores."""
    return [{"step": 10 * i, "kind": "eval", "validation": v, "scores": s} for i, (v, s) in enumerate(steps)]


def scores(right: int, of: int = 100) -> Sequence[float | None]:
    return [1.0] * right + [0.0] * (of - right)


@every(
    ("lines", "expected"),
    [
        (evals((0.3, scores(30)), (0.8, scores(80)), (0.5, scores(60))), 20),
        (evals((0.3, scores(30)), (0.8, scores(80)), (0.7, scores(76))), None),  # 4 points: no cliff, however certain
        # 20 problems lost, 12 others gained: 8 points, but the interval has 0
        (evals((0.8, scores(80)), (0.7, [0.0] * 20 + [1.0] * 60 + [1.0] * 12 + [0.0] * 8)), None),
        # validation chose the last: what was higher before was luck
        (evals((0.3, scores(30)), (0.6, scores(90)), (0.7, scores(80))), None),
        # of equals the first
        (evals((0.8, scores(80)), (0.8, scores(60))), 10),
        (evals((0.8, [None, *scores(80, 99)]), (0.2, [None, *scores(60, 99)])), 10),
        ([line | {"validation": None} for line in evals((0.8, scores(80)), (0.1, scores(10)))], None),
        (evals((0.8, scores(80))), None),
    ],
)
def test_the_terminal_cliff(lines, expected):
    said = all_of(lines)
    assert [(alarm.kind, alarm.step) for alarm in said] == ([("cliff", expected)] if expected else [])


def test_the_figures_of_a_cliff_by_hand():
    lines = evals((0.3, scores(30)), (0.8, scores(80)), (0.5, scores(60)))
    best, fall = peak(lines), cliff(lines)
    assert best is not None
    assert fall is not None
    assert best["step"] == 10
    assert abs(fall.mean - 0.2) < 1e-12
    assert 0.12 < fall.low < 0.2 < fall.high < 0.3
    assert "below that of step 10, the best on validation problems" in all_of(lines)[0].text
    assert gain(lines[0], {"step": 1, "kind": "eval"}) is None


def test_evaluations_and_steps_do_not_hide_one_another():
    """An evaluation stands between the steps in metrics.jsonl."""
    lines = run(zero_variance=1.0)
    mixed = [*lines[:5], *evals((0.5, scores(50))), *lines[5:12], evals((0.5, scores(50)), (0.1, scores(10)))[1]]
    assert [(a.kind, a.step) for a in all_of(mixed)] == [("no signal", 10), ("cliff", 10)]
