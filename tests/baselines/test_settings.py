"""Settings of policies and roles: which one counts, and what is refused."""

from __future__ import annotations

import pytest

from baselines.args import TrainArgs
from baselines.settings import Tuning, parse, plan
from baselines.types import Sampling
from llm_marl_envs.errors import ConfigError, UnknownName

BY_ROLE = {"searcher": "team", "writer": "team", "judge": "judge", "gate": "table"}


def planned(given: str = "", presets=None, adapters: bool = True):
    return plan(
        parse(given.split()), presets or {}, by_role=BY_ROLE, trained=("team", "judge"), tuning=Tuning(1e-4),
        sampling=Sampling(0.7, 40), adapters=adapters,
    )  # fmt: skip


def test_the_most_specific_counts_and_what_a_person_gives_before_what_a_method_does():
    made = planned(
        "top_p=0.9 team.top_p=0.8 writer.top_p=0.7 judge.lr=2e-5 gate.stop=a betas=0.9,0.999",
        {"writer.top_p": 0.1, "judge.lr": 1.0, "team.weight_decay": 0.01, "temperature": 1.0},
    )
    assert {role: s.top_p for role, s in made.sampling.items()} == {
        "searcher": 0.8,
        "writer": 0.7,
        "judge": 0.9,
        "gate": 0.9,
    }
    assert {s.temperature for s in made.sampling.values()} == {1.0}
    assert made.sampling["gate"].stop == ("a",)
    assert made.tuning == {
        "team": Tuning(1e-4, (0.9, 0.999), 0.01),
        "judge": Tuning(2e-5, (0.9, 0.999)),
    }
    # what is given to all overrides what a method presets for one
    assert planned("top_p=0.9", {"writer.top_p": 0.1}).sampling["writer"].top_p == 0.9
    assert planned().sampling["judge"] == Sampling(0.7, 40)


WRONG = {
    "serchr.lr=1": (UnknownName, "policy or role 'serchr'.*Did you mean 'searcher'"),
    "team.lrr=1": (UnknownName, "setting of a policy or role 'lrr'.*Did you mean 'lr'"),
    "writer.lr=1": (ConfigError, "'writer' is not one that has it: give it as team.lr"),
    "table.lr=1": (ConfigError, "'table' is not trained by gradients"),
    "gate.lr=1": (ConfigError, "'table' is not trained by gradients"),
    "team.lr": (ConfigError, "name.setting=value, as in searcher.lr=1e-5; got 'team.lr'"),
    "lr=1 lr=2": (ConfigError, "--per gives lr twice"),
    "lr=0": (ConfigError, "lr takes a learning rate above 0; got 0"),
    "lr=fast": (ConfigError, "got 'fast'"),
    "lr=True": (ConfigError, "got True"),
    "lr=1e999": (ConfigError, "got inf"),
    "betas=0.9": (ConfigError, "two numbers"),
    "betas=0.9,1": (ConfigError, "two numbers"),
    "dropout=1": (ConfigError, "from 0 to below 1"),
    "temperature=0": (ConfigError, "above 0"),
    "top_p=0": (ConfigError, "above 0 and up to 1"),
    "top_p=1.1": (ConfigError, "above 0 and up to 1"),
    "top_k=1.0": (ConfigError, "whole number"),
    "max_tokens=0": (ConfigError, "whole number from 1"),
    "stop=''": (ConfigError, "a word"),
    "stop=('a',1)": (ConfigError, "a word"),
}


def test_what_cannot_be_is_refused():
    for text, (error, message) in WRONG.items():
        with pytest.raises(error, match=message):
            planned(text)
    with pytest.raises(ConfigError, match=r"LoRA adapters.*--lora-rank"):
        planned("alpha=16", adapters=False)
    assert planned("", {"alpha": 16}, adapters=False).tuning["team"].alpha == 16, "a method's preset is merely not used"


def test_flags_that_are_given_come_before_presets():
    presets = {"lr": 1.0, "temperature": 1.0, "max_tokens": 99}
    made = TrainArgs(model="some/model").plan(presets, {"r": "p"}, ("p",))
    assert (made.tuning["p"].lr, made.sampling["r"]) == (1.0, Sampling(1.0, 99))
    made = TrainArgs(lr=0.5, temperature=0.3, max_tokens=7, per=("r.top_k=3",)).plan(presets, {"r": "p"}, ("p",))
    assert (made.tuning["p"].lr, made.sampling["r"]) == (0.5, Sampling(0.3, 7, top_k=3))


def test_the_record_is_json():
    import json

    made = planned("stop=('a','b') lr=1e-5").record()
    assert json.loads(json.dumps(made)) == made
    assert made["roles"]["gate"]["stop"] == ["a", "b"]
