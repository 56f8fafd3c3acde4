"""A judge of short answers: what it is asked, what its silence means, and that its figure is shown and ranks nothing."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from chat_server import reply, serving  # noqa: E402

from baselines.cli import evaluate as evaluate_command  # noqa: E402
from baselines.engines import openai  # noqa: E402
from baselines.engines.spoken import Spoken  # noqa: E402
from baselines.evaluate import evaluate  # noqa: E402
from baselines.judge import judged, verdicts  # noqa: E402
from baselines.policies import PolicyRouter  # noqa: E402
from leaderboard.score import score  # noqa: E402
from llm_marl_envs import make_task, make_workflow, read_traces  # noqa: E402
from llm_marl_envs.errors import AgentFailed, ConfigError  # noqa: E402
from llm_marl_envs.session import Status  # noqa: E402


def played(task, says):
    """An episode for each text: what the only agent says of that problem."""
    problems = task.problems("test")[: len(says)]
    texts = {p.question.text: text for p, text in zip(problems, says, strict=True)}

    def partner(agent, messages, info):
        text = next(text for asked, text in texts.items() if asked in messages[0]["content"])
        if text is None:
            raise AgentFailed("planted")
        return text

    workflow = make_workflow("solo")
    route = PolicyRouter.shared(workflow.roster)
    return evaluate(task, workflow, problems, route, Spoken({"shared": partner})).episodes


def test_what_a_judge_is_asked_and_what_its_silence_means():
    task = make_task("atlas")
    golds = [p.gold.answers[0] for p in task.problems("test")[:5]]
    says = [
        f"<answer>{golds[0]}</answer>",
        "<answer>somewhere in it</answer>",
        "<answer></answer>",
        None,
        "<answer>mute</answer>",
    ]
    episodes = played(task, says)
    assert [e.outcome.status is Status.FAILED for e in episodes] == [False, False, False, True, False]
    asked = []

    def judge(agent, messages, info):
        asked.append(messages[0]["content"])
        if ": mute\n" in asked[-1]:
            raise AgentFailed("no answer")
        return r"Both name the same. \boxed{Correct}" if ": somewhere in it\n" in asked[-1] else r"\boxed{Incorrect}"

    found = verdicts(episodes, judge)
    assert found == [False, True, False, None, None], "the grader's opinion is not asked for; failures are no verdict"
    assert len(asked) == 3, "what the grader cannot read is wrong unasked"
    assert episodes[1].problem.question.text in asked[1]
    assert golds[1] in asked[1]
    assert judged(episodes, found).mean == pytest.approx(1 / 3)
    again = []
    verdicts([*episodes, *episodes], lambda a, messages, i: again.append(1) or r"\boxed{Correct}")
    assert len(again) == 3, "each answer is judged once"
    assert verdicts(episodes[:1], lambda a, m, i: "I would rather not say") == [None]


def test_sums_have_no_judge():
    with pytest.raises(ConfigError, match="leave the judge out"):
        verdicts(played(make_task("arithmetic"), ["1"]), lambda a, m, i: "")


def test_a_judge_in_an_evaluation_is_told_traced_and_ranks_nothing(micro_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(openai, "sleep", lambda seconds: None)
    out = tmp_path / "eval-test.jsonl.gz"
    with serving(lambda body, n: (400, b"") if n == 0 else reply(r"\boxed{Correct}")) as server:
        script = tmp_path / "lines.txt"
        script.write_text("<answer>Atlantis</answer>\n")
        evaluate_command(
            str(micro_folder), task="atlas", workflow="solo", team=(f"generator=script:{script}",), problems=4, max_tokens=4,
            judge=f"openai:{server.url}", out=out, threads=1, device="cpu",
        )  # fmt: skip
    assert "(unverified): 100.0%" in (said := " ".join(capsys.readouterr().out.split()))
    assert "without a verdict: 1 of 4" in said
    opinions = [trace.meta["judged"] for trace in read_traces(out)]
    assert sorted(map(str, opinions)) == ["None", "True", "True", "True"]
    (row,) = score([out])
    assert (row.accuracy.mean, row.ranked) == (0.0, 0.0), "the grader's figure, whatever the judge says"
    assert any("a judge calls 100.0%" in note and "unverified" in note for note in row.notes)
