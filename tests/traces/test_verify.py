"""Correct traces are verified, and every trace that claims more than was played is refused with a reason."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace

import pytest

from llm_marl_envs import EnvSpec, Limits, Play, Session, Status, Trace, make, make_workflow
from llm_marl_envs.errors import DataError, TraceError
from llm_marl_envs.outcome import outcome_of
from llm_marl_envs.session import Event
from llm_marl_envs.tasks import arithmetic
from llm_marl_envs.tasks.arithmetic import Arithmetic
from llm_marl_envs.traces.verify import Refused, Verified, Verifier, verified

TASK = Arithmetic(test_size=20)


def played(*replies: str, problem: int = 0, env_id: str = "arithmetic/solo-v1", split: str = "test", **meta) -> Trace:
    """A trace of scripted play; "RIGHT" and "WRONG" in a reply become the gold answer and one more."""
    env = make(env_id, split=split, test_size=20, train_size=20)
    env.reset(seed=0, options={"problem": problem})
    gold = env.problem.gold
    for reply in replies:
        env.step(reply.replace("RIGHT", str(gold)).replace("WRONG", str(gold + 1)))
    return env.trace(**meta)


def forged(trace: Trace, **changes) -> Trace:
    """The trace with some claims changed and all digests recomputed, as read back from its line."""
    return Trace.from_json(replace(trace, **changes, digests=()).to_json())


def complaint(trace: Trace, task=TASK) -> str:
    found = verified(trace, task)
    assert isinstance(found, Refused), "a false claim was believed"
    assert trace.id in str(found)
    assert str(trace.question.id) in str(found)
    return str(found)


RIGHT, WRONG = "\\boxed{RIGHT}", "\\boxed{WRONG}"
DEBATE = (WRONG, "\\boxed{Incorrect}", RIGHT, "\\boxed{Correct}")  # wrong draft, rejected, refined, accepted


@pytest.mark.parametrize(
    ("env_id", "replies", "score", "calls"),
    [
        ("arithmetic/solo-v1", (RIGHT,), 1.0, 1),
        ("arithmetic/solo-v1", (WRONG,), 0.0, 1),
        ("arithmetic/eval_opt-v1", DEBATE, 1.0, 4),
        ("arithmetic/voting-v1", (WRONG, RIGHT, WRONG, "\\boxed{2}"), 1.0, 4),
        ("arithmetic/voting-v1", (WRONG, RIGHT, WRONG, "\\boxed{3}"), 0.0, 4),
    ],
)
def test_an_honest_trace_is_verified_and_graded_here(env_id, replies, score, calls):
    trace = played(*replies, env_id=env_id)
    for same in (trace, Trace.from_json(trace.to_json())):
        found = verified(same, TASK)
        assert isinstance(found, Verified)
        assert found.outcome.status is Status.FINISHED
        assert found.outcome.team.value == score
        assert sum(found.outcome.calls.values()) == calls


def test_a_raised_score_is_refused():
    trace = played(WRONG)
    assert trace.score == 0.0
    assert "claims score 1.0, graded 0" in complaint(forged(trace, score=1.0))
    assert "the ending" in complaint(replace(Trace.from_json(trace.to_json()), score=1.0)), "digests not even made anew"
    assert "claims score nan" in complaint(forged(trace, score=float("nan")))
    assert "claims score None" in complaint(forged(trace, score=None))


def test_a_lowered_score_is_refused_too():
    assert "claims score 0.0, graded 1" in complaint(forged(played(RIGHT), score=0.0))


def test_a_changed_answer_is_refused():
    trace = played(WRONG)
    right = played(RIGHT).answer
    assert "its own replies lead to" in complaint(forged(trace, answer=right, score=1.0))


def test_a_changed_reply_no_longer_fits_the_claims_of_its_workflow():
    trace = played(WRONG)
    (call, reply, wave), *notes = trace.events
    better = reply._replace(text=played(RIGHT).answer)
    assert "event 1" in complaint(forged(trace, events=(Event(call, better, wave), *notes))), (
        "the Claim still says WRONG"
    )


def test_a_reply_made_wrong_in_every_place_keeps_its_score_claim_and_is_refused():
    right, wrong = played(RIGHT), played(WRONG)
    assert "claims score 1.0, graded 0" in complaint(forged(right, events=wrong.events, answer=wrong.answer))


def test_an_event_dropped_or_repeated_is_refused():
    trace = played(*DEBATE, env_id="arithmetic/eval_opt-v1")
    assert isinstance(verified(forged(trace), TASK), Verified)
    complaint(forged(trace, events=trace.events[:-1]))
    complaint(forged(trace, events=(*trace.events, trace.events[-1])))
    complaint(forged(trace, events=trace.events[2:]))


def test_an_easier_question_under_the_same_id_is_refused():
    """Played on 1 + 1 from the start, so replay alone finds nothing wrong with it."""
    problem = TASK.problems("test")[3]
    easy = replace(problem, question=replace(problem.question, text="What is 1 + 1?"))
    workflow = make_workflow("solo")
    session = Session(Play(workflow, easy.question, 0), [f"\\boxed{{{problem.gold}}}"])
    outcome = outcome_of(session, TASK, easy)
    trace = forged(Trace.of(session, EnvSpec.of(TASK, workflow), outcome, split="test"))
    assert trace.score == 1.0
    trace.session()
    assert f"'What is 1 + 1?', in the task it is {problem.question.text!r}" in complaint(trace)


@pytest.mark.parametrize("field", ["answer_format", "domain", "materials"])
def test_every_part_of_the_question_must_be_the_tasks(field):
    trace = played(RIGHT)
    said = ("the answer is 7",) if field == "materials" else "the answer is 7"
    assert f"the question's {field} is" in complaint(forged(trace, question=replace(trace.question, **{field: said})))


def test_a_training_question_is_not_a_test_question():
    trace = played(RIGHT, split="train")
    assert isinstance(verified(trace, TASK), Verified), "as what it is, it holds"
    assert "split 'test' has no question 'arithmetic/train/0/0'" in complaint(forged(trace, split="test"))


def test_an_unknown_split_is_refused():
    assert "no split of arithmetic 'tset'. Did you mean 'test'" in complaint(forged(played(RIGHT), split="tset"))


def test_an_episode_that_is_not_over_is_refused():
    trace = played(WRONG, env_id="arithmetic/eval_opt-v1")
    assert trace.status is None
    assert "not over" in complaint(trace)
    complaint(forged(trace, status=Status.FINISHED, answer=played(RIGHT).answer, score=1.0))


@dataclass(frozen=True)
class Broken(Arithmetic):
    """Its grader crashes."""

    def grade(self, problem, text, kind="answer"):
        raise ZeroDivisionError("planted")


def test_failed_episodes_hold_as_failed_and_as_nothing_else():
    env = make("arithmetic/solo-v1", split="test", test_size=20)
    env.task = Broken(test_size=20)
    env.reset(seed=0, options={"problem": 0})
    env.step("\\boxed{5}")
    trace = env.trace()
    assert trace.status is Status.FAILED
    found = verified(trace, env.task)
    assert isinstance(found, Verified)
    assert found.outcome.status is Status.FAILED
    relabelled = complaint(forged(trace, status=Status.FINISHED, score=1.0), env.task)
    assert "claims status finished, replay gives failed" in relabelled
    assert "planted" in relabelled
    assert "claims status failed, replay gives finished" in complaint(trace), "where the grader works, it did not fail"


def test_a_wrong_episode_cannot_be_left_out_as_failed():
    finished = played(WRONG)
    assert "claims status failed, replay gives finished" in complaint(forged(finished, status=Status.FAILED, score=0.0))
    env = make("arithmetic/eval_opt-v1", split="test", test_size=20)
    env.reset(seed=0, options={"problem": 0})
    env.step("\\boxed{0}")
    env.session.fail("the lights went out")
    cut = replace(env.trace(), score=0.0)
    assert cut.status is Status.FAILED
    assert "no tool was at work: evaluator_0 was asked" in complaint(cut)


def test_a_truncated_episode_is_verified_as_wrong():
    env = make("arithmetic/eval_opt-v1", split="test", test_size=20, limits=Limits(calls=2))
    env.reset(seed=0, options={"problem": 0})
    env.step(f"\\boxed{{{env.problem.gold}}}")
    env.step("\\boxed{Incorrect}")
    found = verified(env.trace(), TASK)
    assert isinstance(found, Verified)
    assert (found.outcome.status, found.outcome.team.value) == (Status.TRUNCATED, 0.0)
    complaint(forged(env.trace(), status=Status.FINISHED, answer=env.session.events[0].reply.text, score=1.0))


def test_foreign_nonsense_is_a_complaint_and_not_a_crash():
    line = json.loads(played(RIGHT).to_json())
    check = Verifier()
    unreadable = [
        {"question": line["question"] | {"id": ["a", "list"]}},
        {"question": line["question"] | {"text": 7}},
        {"split": {"a": "mapping"}},
        {"split": None},
        {"limits": line["limits"] | {"calls": "many"}},
        {"meta": [1, 2]},
        {"digest": 5},
    ]
    spoilt = [
        {"task_knobs": {"digits": "two"}},
        {"task_knobs": {"data_dir": "/"}},
        {"task_knobs": {"colour": "red"}},
        {"workflow_knobs": {"rounds": 2}},
        {"env": "arithmetic/solitaire-v1"},
        {"env": "nonsense-v1"},
        {"status": "failed"},
    ]
    assert isinstance(check(Trace.from_json(json.dumps(line))), Verified)
    for changes in unreadable:
        with pytest.raises(TraceError, match="must be"):
            Trace.from_json(json.dumps(line | changes))
    for changes in spoilt:
        found = check(Trace.from_json(json.dumps(line | changes)))
        assert isinstance(found, Refused), f"{changes} was believed"
        assert str(found)


def test_the_nearest_name_is_offered_for_an_unknown_environment():
    line = json.loads(played(RIGHT).to_json()) | {"env": "arithmatic/solo-v1"}
    assert "Did you mean 'arithmetic'" in str(Verifier()(Trace.from_json(json.dumps(line))))


def test_another_version_of_an_environment_is_not_this_one():
    line = json.loads(played(RIGHT).to_json()) | {"env": "arithmetic/solo-v7"}
    with pytest.raises(TraceError, match="'arithmetic/solo-v7'; this release plays environments of version v1"):
        Trace.from_json(json.dumps(line))


def test_modules_that_a_trace_names_are_not_imported_unasked(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(
        "import pathlib\n"
        f"pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
        "from llm_marl_envs.workflows.solo import Solo\n"
        "class Theirs(Solo): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    trace = forged(played(RIGHT), spec=replace(played(RIGHT).spec, workflow="theirs:Theirs"))
    refused = Verifier()(trace)
    assert isinstance(refused, Refused)
    assert "name its module in plugins" in str(refused)
    assert not (tmp_path / "ran").exists()
    assert isinstance(Verifier(plugins=("theirs",))(trace), Verified)
    assert (tmp_path / "ran").exists()


def test_problems_are_looked_up_once_per_task_and_split(monkeypatch):
    asked = []
    real = Arithmetic.problems
    monkeypatch.setattr(
        arithmetic.Arithmetic, "problems", lambda task, split: (asked.append(split), real(task, split))[1]
    )
    check = Verifier()
    traces = [Trace.from_json(played(RIGHT, problem=i, split=s).to_json()) for s in ("test", "train") for i in range(5)]
    asked.clear()
    assert all(isinstance(check(trace), Verified) for trace in traces)
    assert asked == ["test", "train"]
    assert check.split_size(traces[0]) == 20


def test_missing_data_is_not_the_traces_fault(tmp_path):
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    with gzip.open(folder / "test.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps({"question": "What is 20 + 22?", "answer": "20 + 22 = 42\n#### 42"}) + "\n")
    env = make("gsm8k/solo-v1", split="test", data_dir=tmp_path / "data")
    env.reset(seed=0)
    env.step("\\boxed{42}")
    trace = Trace.from_json(env.trace().to_json())
    assert isinstance(Verifier(tmp_path / "data")(trace), Verified)
    with pytest.raises(DataError, match=r"cannot score gsm8k/solo-v1: no data for 'gsm8k' split 'test'"):
        Verifier(tmp_path / "elsewhere")(trace)
