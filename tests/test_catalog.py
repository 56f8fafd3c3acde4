"""Names to objects: every environment by its id, near misses named, other people's workflows by module and class."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import dataclass

import pytest
from fitting import KNOBS, PAIRS, made
from toys import Capitals, Crew

import llm_marl_envs
from llm_marl_envs import EnvSpec, Limits, WorkflowEnv, env_ids, make, make_task, make_workflow
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.spec import knobs_of, share_knobs, split_id
from llm_marl_envs.tasks.arithmetic import Arithmetic
from llm_marl_envs.tasks.gsm8k import GSM8K
from llm_marl_envs.tools.corpora.atlas import atlas_index
from llm_marl_envs.workflows.eval_opt import EvalOpt


def test_ids_are_all_pairs_that_can_be_made():
    assert len(env_ids()) == len(set(env_ids())) < len(PAIRS)
    assert set(env_ids()) == set(KNOBS)
    assert "hotpotqa/search_answer-v1" in env_ids(), "with a corpus"
    assert "arithmetic/search_answer-v1" not in env_ids(), "there is nothing to search"
    assert {
        f"{t}/{w}-v1" for t in ("arithmetic", "gsm8k") for w in ("solo", "eval_opt", "voting", "orch_workers")
    } <= set(env_ids())
    assert not any("base" in id or "prompts" in id for id in env_ids())


@pytest.mark.parametrize("task", sorted({split_id(env_id)[0] for env_id in KNOBS}))
def test_every_id_of_a_task_makes_its_environment(task, example_dir):
    for env_id in (env_id for env_id in KNOBS if split_id(env_id)[0] == task):
        env = made(env_id, data_dir=example_dir)
        assert env.env_spec.env_id == env.metadata["name"] == env_id
        env.reset(seed=0)
        assert env.problem.question.id.startswith(f"{task}/{env.split}/"), env_id
        assert env.split == ("train" if "train" in env.task.splits else env.task.splits[0]), env_id


def test_knobs_go_where_they_belong():
    env = make("arithmetic/eval_opt-v1", digits=3, rounds=2, limits=Limits(calls=7))
    assert env.task == Arithmetic(digits=3)
    assert env.workflow == EvalOpt(rounds=2)
    assert env.limits == Limits(calls=7)
    assert share_knobs("arithmetic", "voting", {"votes": 5, "seed": 1}) == ({"seed": 1}, {"votes": 5})


def test_data_dir_is_for_tasks_that_read_data(gsm8k_dir):
    assert make_task("gsm8k", gsm8k_dir) == GSM8K(str(gsm8k_dir))
    assert make_task("arithmetic", gsm8k_dir) == Arithmetic()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make("arithmetic/eval_op-v1"),
            r"no workflow 'eval_op'\. Did you mean 'eval_opt'\? Known: .*eval_opt",
        ),
        (
            lambda: make("arithmetik/solo-v1"),
            r"no task 'arithmetik'\. Did you mean 'arithmetic'.* Known: .*arithmetic, .*gsm8k",
        ),
        (
            lambda: make("arithmetic/solo-v9"),
            r"no environment 'arithmetic/solo-v9'\. Did you mean 'arithmetic/solo-v1'",
        ),
        (lambda: make("arithmetic/solo"), r"no environment 'arithmetic/solo'\. Did you mean .*'arithmetic/solo-v1'"),
        (lambda: make("solo-v1"), r"no environment 'solo-v1'\. Did you mean"),
        (lambda: make(""), "no environment ''"),
        (
            lambda: make("arithmetic/eval_opt-v1", round=2),
            r"no knob of arithmetic or eval_opt 'round'\. Did you mean 'rounds'",
        ),
        (lambda: make("arithmetic/solo-v1", rounds=2), "no knob of arithmetic or solo 'rounds'"),
        (lambda: make_task("gsm8"), r"no task 'gsm8'\. Did you mean 'gsm8k'"),
        (lambda: make_task("base"), "no task 'base'"),
        (lambda: make_workflow("delgate"), "no workflow 'delgate'"),
        (lambda: make_workflow("prompts"), "no workflow 'prompts'"),
        (lambda: make_workflow("voting", vote=3), r"no knob of voting 'vote'\. Did you mean 'votes'"),
        (lambda: make_workflow("toys:Crews"), "no workflow 'toys:Crews'"),
        (lambda: make_workflow("no_such_module:Crew"), "no workflow 'no_such_module:Crew'"),
    ],
)
def test_a_typo_gets_the_nearest_names(call, message):
    with pytest.raises(UnknownName, match=message) as bad:
        call()
    assert str(pickle.loads(pickle.dumps(bad.value))) == str(bad.value)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"digits": 0}, "arithmetic does not accept {'digits': 0}: digits and sizes start at 1"),
        ({"terms": 1}, "terms at 2"),
        ({"operators": "+/"}, r"operators are any of \+ - \*; got '\+/'"),
        ({"operators": ""}, "operators are any of"),
        ({"train_size": 0}, "sizes start at 1"),
    ],
)
def test_impossible_values(knobs, message):
    with pytest.raises(ConfigError, match=message):
        make_task("arithmetic", **knobs)


def test_a_knob_of_both_is_refused(monkeypatch):
    @dataclass(frozen=True)
    class Digital(EvalOpt):
        digits: int = 4

    monkeypatch.setattr("toys.Digital", Digital, raising=False)
    with pytest.raises(ConfigError, match="both arithmetic and toys:Digital have a knob 'digits'"):
        share_knobs("arithmetic", "toys:Digital", {"digits": 3})


# Specs.


def test_a_spec_holds_what_differs_from_the_defaults_and_survives_json():
    spec = make("arithmetic/eval_opt-v1", digits=3, rounds=2, refine="feedback").env_spec
    assert spec == EnvSpec("arithmetic", "eval_opt", {"digits": 3}, {"rounds": 2})
    data = json.loads(json.dumps([spec.task, spec.workflow, spec.task_knobs, spec.workflow_knobs]))
    again = EnvSpec(*data)
    assert again.make_task() == Arithmetic(digits=3)
    assert again.make_workflow() == EvalOpt(rounds=2)


def test_where_the_data_lie_is_no_knob(gsm8k_dir):
    assert knobs_of(make_task("gsm8k", gsm8k_dir)) == {}


def test_other_peoples_tasks_and_workflows():
    env = WorkflowEnv(Capitals(down=True), Crew())
    assert env.env_spec == EnvSpec("toys:Capitals", "toys:Crew", {"down": True}, {})
    assert env.env_spec.env_id == "toys:Capitals/toys:Crew-v1"
    assert env.env_spec.make_task() == Capitals(down=True)
    assert make("toys:Capitals/toys:Crew-v1", down=True).task == Capitals(down=True)
    assert make_workflow("toys:Crew") == Crew()


def test_looking_up_one_name_imports_no_other():
    code = (
        "import sys, llm_marl_envs as e; e.make('arithmetic/solo-v1'); "
        "print(sorted(m for m in sys.modules if m.startswith('llm_marl_envs.workflows.')), 'llm_marl_envs.tasks.gsm8k' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['llm_marl_envs.workflows.prompts', 'llm_marl_envs.workflows.solo'] False"


def test_listing_ids_makes_no_tool_and_reads_no_data(monkeypatch, tmp_path):
    """The pairs are told by what tasks say they offer; an index or a data set would take seconds or a network."""

    def made(*args, **kwargs):
        raise AssertionError("an index was made")

    monkeypatch.setattr("llm_marl_envs.tools.index._build", made)
    monkeypatch.setattr("llm_marl_envs.data.read_jsonl", made)
    monkeypatch.setenv("LLM_MARL_DATA", str(tmp_path / "nowhere"))
    atlas_index.cache_clear()
    env_ids.cache_clear()
    assert set(env_ids()) == set(KNOBS)
    with pytest.raises(AssertionError, match="an index was made"):
        assert make_task("atlas").tools
    assert set(make_task("atlas").offers) == {"search"}


def test_an_id_that_cannot_be_made_is_explained():
    with pytest.raises(ConfigError, match=r"search_answer uses the tool 'search'; arithmetic has no tools"):
        make("arithmetic/search_answer-v1")
    assert split_id("arithmetic/search_answer-v1") == ("arithmetic", "search_answer")


def test_importing_registers_nothing_and_registering_twice_is_fine():
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "import pettingzoo, llm_marl_envs as e\n"
        "ours = lambda: [id for id in pettingzoo.aec_registry if id in e.env_ids()]\n"
        "assert ours() == []\n"
        "e.register(); e.register()\n"
        "assert set(ours()) == set(e.env_ids())\n"
        "print(pettingzoo.make('aec', 'arithmetic/solo-v1').unwrapped.metadata['name'])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "arithmetic/solo-v1"


def test_a_pettingzoo_without_a_registry_is_said(monkeypatch):
    import pettingzoo

    monkeypatch.delattr(pettingzoo, "register")
    with pytest.raises(ConfigError, match=r"has no registry; .*pip install --upgrade pettingzoo.*llm_marl_envs\.make"):
        llm_marl_envs.register()


def test_everything_public_is_there():
    assert [name for name in llm_marl_envs.__all__ if not hasattr(llm_marl_envs, name)] == []
