"""TRL's GRPOTrainer on a team: rows are what our own rollout records, and the model that it holds is what plays and learns."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl", reason="TRL is a test-only dependency (the dev extra)")

from datasets import Dataset  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402
from two_answers import TwoAnswers  # noqa: E402

from baselines.batch import conversations, to_samples  # noqa: E402
from baselines.interop.trl import TeamRollout  # noqa: E402
from baselines.policies import load_tokenizer  # noqa: E402
from llm_marl_envs import Ask, Claim, Roster, make_task, make_workflow  # noqa: E402
from llm_marl_envs.errors import ConfigError, ToolFailed, UnknownName  # noqa: E402
from llm_marl_envs.protocol import Talk  # noqa: E402
from llm_marl_envs.task import Question  # noqa: E402

TASK = make_task("arithmetic", train_size=40)


@dataclass(frozen=True)
class Interview:
    """A conversation of three asks, and another agent that speaks once."""

    roster: ClassVar[Roster] = Roster(guest=1, host=1)

    def talk(self, question: Question, rng: Random) -> Talk:
        yield Ask("guest_0", question.text)
        yield Ask("host_0", "Go on?")
        yield Ask("guest_0", "More?", fresh=False)
        answer = yield Ask("guest_0", "And now?", fresh=False)
        yield Claim("guest_0", answer)
        return answer


class Flaky(TwoAnswers):
    """Its grader crashes the first times."""

    def __init__(self, failures: int):
        object.__setattr__(self, "left", [None] * failures)

    def grade(self, problem, text, kind="answer"):
        if self.left:
            self.left.pop()
            raise ZeroDivisionError
        return super().grade(problem, text, kind)


def team(folder, workflow=None, **knobs) -> TeamRollout:
    made = TeamRollout(TASK, workflow or make_workflow("eval_opt"), load_tokenizer(str(folder)), max_tokens=6, **knobs)
    made.rows("train")
    return made


def played(rollout: TeamRollout, model, count: int = 6, temperature: float = 1.0):
    return rollout._play(model, list(rollout.problems.values())[:count], temperature)


def test_a_row_is_one_conversation_as_our_own_rollout_records_it(micro_folder, micro_model):
    rollout = team(micro_folder, Interview())
    seen = set()
    for episode in played(rollout, micro_model):
        row = rollout.row(episode)
        credit = {(0, turn.index): 1.0 for turn in episode.turns}
        sample = next(s for s in to_samples([episode], credit) if s.ids[: len(row["prompt_ids"])] == tuple(row["prompt_ids"]) and len(s.ids) == len(row["prompt_ids"]) + len(row["completion_ids"]))  # fmt: skip
        assert tuple(row["prompt_ids"] + row["completion_ids"]) == sample.ids
        start = len(row["prompt_ids"])
        expected = [
            int(any(span.start <= place < span.end for span in sample.spans)) for place in range(start, len(sample.ids))
        ]
        assert row["env_mask"] == expected
        sampled = [p for p, mine in zip(row["logprobs"], row["env_mask"], strict=True) if mine]
        assert sampled == [p for span in sample.spans for p in span.logprobs]
        assert (len(row["logprobs"]), row["episode_reward"]) == (
            len(row["completion_ids"]),
            episode.rewards[f"{sample.role}_0"],
        )
        seen.add((sample.role, len(sample.spans)))
    assert ("guest", 3) in seen, "three replies in one row, and what was asked between them masked"


def test_fresh_asks_are_rows_of_their_own(micro_folder, micro_model):
    rollout = team(micro_folder)
    for episode in played(rollout, micro_model):
        row = rollout.row(episode)
        assert set(row["env_mask"]) == {1}
        asked = [turns for _, turns in conversations([episode])]
        assert tuple(row["prompt_ids"]) in [turns[0].completion.prompt_ids for turns in asked]
        assert len(asked) == len(episode.turns)


def test_only_trained_roles_have_rows(micro_folder, micro_model):
    rollout = team(micro_folder, partners={"evaluator": lambda *_: "\\boxed{Correct}"})
    assert rollout.roles == ("generator",)
    episodes = played(rollout, micro_model)
    assert {e.turns[1].completion.text for e in episodes} == {"\\boxed{Correct}"}
    for episode in episodes:
        assert tuple(rollout.row(episode)["prompt_ids"]) == episode.turns[0].completion.prompt_ids
    assert team(micro_folder, roles=["evaluator"]).roles == ("evaluator",)
    with pytest.raises(UnknownName, match="no role that could be trained 'critic'"):
        team(micro_folder, roles=["critic"])
    with pytest.raises(ConfigError, match="nobody is left to train"):
        team(micro_folder, partners={"evaluator": lambda *_: "", "generator": lambda *_: ""})


def trained(rollout, model, folder, tmp_path, **settings):
    config = GRPOConfig(
        str(tmp_path), **({"max_completion_length": 40} | settings), per_device_train_batch_size=8, num_generations=4, max_steps=2,
        learning_rate=1e-3, beta=0.0, loss_type="dr_grpo", temperature=1.0, report_to=[], save_strategy="no", logging_steps=1,
        use_cpu=True, bf16=False, gradient_checkpointing=False, disable_tqdm=True,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model, rollout.reward, config, Dataset.from_list(rollout.rows("train")), processing_class=load_tokenizer(str(folder)),
        rollout_func=rollout,
    )  # fmt: skip
    trainer.train()
    return trainer


@pytest.mark.filterwarnings("ignore")  # TRL's and transformers' own
def test_the_trainer_plays_and_learns(micro_folder, micro_model, tmp_path, monkeypatch):
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    rollout = team(micro_folder, reward="two_answers:variety")
    before = {name: p.detach().clone() for name, p in micro_model.named_parameters()}
    trainer = trained(rollout, micro_model, micro_folder, tmp_path)
    assert rollout.calls == 2
    assert any(not torch.equal(p, before[name]) for name, p in micro_model.named_parameters())
    log = [line for line in trainer.state.log_history if "reward" in line]
    assert len(log) == 2
    gaps = [
        line["sampling/sampling_logp_difference/max"] for line in log if "sampling/sampling_logp_difference/max" in line
    ]
    assert all(gap < 1e-3 for gap in gaps), "the model that samples is the one that learns"


@pytest.mark.filterwarnings("ignore")  # TRL's and transformers' own
def test_what_does_not_fit_is_said(micro_folder, micro_model, tmp_path, monkeypatch):
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    with pytest.raises(ConfigError, match=r"raise max_completion_length from 3"):
        trained(team(micro_folder), micro_model, micro_folder, tmp_path, max_completion_length=3)


def test_what_failed_is_played_again(micro_folder, micro_model):
    rollout = TeamRollout(Flaky(failures=3), make_workflow("solo"), load_tokenizer(str(micro_folder)), max_tokens=4)
    rollout.rows("train")
    assert len(played(rollout, micro_model, 4)) == 4
    broken = TeamRollout(Flaky(failures=1000), make_workflow("solo"), load_tokenizer(str(micro_folder)), max_tokens=4)
    broken.rows("train")
    with pytest.raises(ToolFailed, match=r"10 episodes in a row could not be played\. The last: the grader failed"):
        played(broken, micro_model, 2)
    with pytest.raises(UnknownName, match=r"no problem \(make the dataset with rows\(split\)\) 'What is 1\?'"):
        rollout._problem([{"role": "user", "content": "What is 1?"}])
