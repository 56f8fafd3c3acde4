"""The contract that authors inherit: planted faults are each caught, with a message that says which rule was broken."""

from __future__ import annotations

import gc

import bad_workflows as bad
import pytest
from toys import Capitals, Crew, Interviews, Lookup

from llm_marl_envs import make_workflow
from llm_marl_envs.protocol import Ask
from llm_marl_envs.reading import accepts
from llm_marl_envs.session import Status
from llm_marl_envs.testing import (
    GARBAGE,
    WELL_FORMED,
    check_playthrough,
    check_task,
    check_workflow,
    play_randomly,
    playthrough,
)

HERE = "differs from the first time"
THERE = "differs in another process"
FAULTS = {
    bad.GlobalRandom: "global random generator",
    bad.GlobalNumpy: "global random generator",
    bad.ReseedsGlobally: "global random generator",
    bad.FreshEntropy: HERE,
    bad.FreshIdentifier: HERE,
    bad.Clock: HERE,
    bad.CoarseClock: THERE,
    bad.Stopwatch: HERE,
    bad.Now: HERE,
    bad.Today: THERE,
    bad.Calendar: THERE,
    bad.LocalTime: THERE,
    bad.SetOrder: THERE,
    bad.SmallSetOrder: THERE,
    bad.StringHash: THERE,
    bad.DrawnAnswer: HERE,
    bad.AnswerBySetOrder: THERE,
    bad.MutableDefault: HERE,
    bad.GlobalCount: HERE,
    bad.GlobalCache: THERE,
    bad.SharedCache: HERE,
    bad.OwnState: HERE,
    bad.Environment: THERE,
    bad.UnsetEnvironment: THERE,
    bad.EnvironmentWhenImported: THERE,
    bad.ProcessId: THERE,
    bad.Folder: THERE,
    bad.ReadsFile: THERE,
    bad.RespawnedName: "cannot spawn 'helper_0' again: names are never reused",
    bad.SpeaksAfterStop: "'helper_0' was stopped and cannot act again",
    bad.ClaimsAfterStop: "'helper_0' was stopped and cannot act again",
    bad.AskedTwice: "asks one agent twice in a wave",
    bad.Stranger: r"'solver_2' is not in the roster \(solver_0, solver_1, helper_0, helper_1\)",
    bad.NeverSpawned: "'helper_0' acts before it was spawned",
    bad.AnswersNumber: "returned int",
    bad.RaisesOnGarbage: "raises ValueError .*text from a model never raises",
}


@pytest.mark.parametrize("workflow", FAULTS, ids=lambda cls: cls.__name__)
def test_planted_faults_are_caught(workflow):
    with pytest.raises(AssertionError, match=rf"(?s){workflow.__name__}.*{FAULTS[workflow]}"):
        check_workflow(workflow(), episodes=6)


@pytest.mark.filterwarnings("ignore:Exception ignored in. <generator:pytest.PytestUnraisableExceptionWarning")
def test_a_talk_that_goes_on_when_its_budget_runs_out_is_caught():
    with pytest.raises(AssertionError, match=r"OutlivesBudget.*goes on when its budget runs out"):
        check_workflow(bad.OutlivesBudget())
    gc.collect()  # the generator complains once more when it goes


def test_what_breaks_no_rule_passes():
    check_workflow(bad.Base(), bad.Good(), Lookup(), Crew(), Interviews())


def test_of_several_the_one_that_breaks_a_rule_is_named():
    with pytest.raises(AssertionError, match=rf"(?s)^Year\(.*{THERE}"):
        check_workflow(bad.Good(), bad.Year(), Crew(), episodes=6)


def test_a_workflow_that_cannot_be_pickled_is_told_where_to_live():
    class Local(bad.Base):
        pass

    with pytest.raises(AssertionError, match=r"cannot be pickled .*define it at the top level of a module"):
        check_workflow(Local())


# Random play.


def test_random_play_is_decided_by_its_seed():
    workflow = make_workflow("eval_opt", rounds=5)
    assert play_randomly(workflow, 3).events == play_randomly(workflow, 3).events
    assert len({play_randomly(workflow, seed).replies for seed in range(30)}) > 25
    assert all(play_randomly(workflow, seed).status is Status.FINISHED for seed in range(30))


def test_random_play_reaches_both_verdicts_and_garbage():
    verdicts = [
        accepts(reply.text)
        for seed in range(400)
        for call, reply, _ in play_randomly(make_workflow("eval_opt"), seed).events
        if isinstance(call, Ask) and call.agent == "evaluator_0"
    ]
    assert min(verdicts.count(verdict) for verdict in (True, False, None)) >= 5


def test_random_play_uses_menus():
    picks = [play_randomly(Crew(), seed).replies[-1].text for seed in range(40)]
    assert set("0123") <= set(picks)
    assert set(picks) & set(GARBAGE)
    assert set(picks) & set(WELL_FORMED)


# Tasks.

TASK_FAULTS = {
    bad.OffersMore: r"it offers \('search',\) and has none",
    bad.DuplicateIds: "id 'sums/0' is in 'train' and in 'train'",
    bad.SharedIds: "id 'sums/0' is in 'train' and in 'test'",
    bad.NoProblems: "split 'test' is empty",
    bad.Shuffles: "the order changes",
    bad.RaisesOnText: r"grader raises UnicodeEncodeError .*on sums/train/0",
    bad.RaisesOnNone: "grader raises AttributeError .*None on sums/train/0",
    bad.PaysEmpty: "(None|'') scores 1.0 on sums/train/0",
    bad.PaysEcho: r"'1 \+ 1\?' scores 1.0 on sums/train/1",
    bad.PaysNothing: "None scores 1.0 on sums/train/0",
    bad.PaysTooMuch: r"is not in \[0, 1\]",
    bad.GradesBare: "0.0 is not a Score",
}


@pytest.mark.parametrize("task", TASK_FAULTS, ids=lambda cls: cls.__name__)
def test_planted_faults_of_tasks_are_caught(task):
    with pytest.raises(AssertionError, match=f"(?s){TASK_FAULTS[task]}"):
        check_task(task())


@pytest.mark.parametrize("task", [bad.GoodTask(), Capitals()], ids=str)
def test_tasks_that_break_no_rule_pass(task):
    check_task(task)


# Golden files.


def test_golden_files(tmp_path):
    path = tmp_path / "golden" / "crew.txt"
    workflow, question = Crew(), Capitals().problems("train")[0].question
    text = playthrough(workflow, question, ["hire", "a", "b", "c", "d", "1"])
    with pytest.raises(AssertionError, match="differs from this playthrough"):
        check_playthrough(path, text)
    assert not path.exists()
    check_playthrough(path, text, update=True)
    check_playthrough(path, text)
    assert path.read_text(encoding="utf-8") == text
    assert "helper_0 says:\n    | a\n" in text
    assert "boss_0 stops helper_0" in text
    assert text.endswith("answer: b\n")
    with pytest.raises(AssertionError, match="update the golden file"):
        check_playthrough(path, playthrough(workflow, question, ["hire", "a", "b", "c", "d", "2"]))
