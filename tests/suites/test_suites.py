"""Suites: files that never change, the problems they name, and what happens where a data set is another."""

from __future__ import annotations

import dataclasses
import os

import pytest

from llm_marl_envs import make_task
from llm_marl_envs.errors import ConfigError, DataError, UnknownName
from llm_marl_envs.spec import env_ids
from llm_marl_envs.suites import Suite, load_suite, question_digest, suite_names
from llm_marl_envs.suites.freeze import MADE
from llm_marl_envs.task import Question

PUBLISHED = {  # a suite that changes is another version: never edit one of these
    "all-v1": "ef6fd504b0cdd664", "code-v1": "65266836f952e14e", "math-v1": "6fc2dd06092792fb", "qa-v1": "3d8cb110968ee1c8", "smoke-v1": "c08969627ba67bfe",
}  # fmt: skip
NEEDS_DATA = pytest.mark.skipif("LLM_MARL_DATA" not in os.environ, reason="LLM_MARL_DATA names no folder of data sets")


def test_published_suites_have_not_changed():
    assert {name: load_suite(name).digest for name in suite_names()} == PUBLISHED
    assert set(MADE) == set(PUBLISHED)


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_can_be_played(name):
    suite = load_suite(name)
    assert suite.name == name
    assert Suite.from_json(suite.to_json()) == suite
    assert len({part.name for part in suite.parts}) == len(suite.parts)
    for part in suite.parts:
        assert set(part.env_ids) <= set(env_ids())
        assert len(set(part.problems)) == len(part.problems) > 0
        assert part.split in part.make_task().splits


@pytest.mark.parametrize(
    "name", ["smoke-v1", *(pytest.param(n, marks=NEEDS_DATA) for n in PUBLISHED if n != "smoke-v1")]
)
def test_a_suite_is_what_its_recipe_draws_and_its_problems_are_found(name):
    assert MADE[name]().to_json() == load_suite(name).to_json()
    for part in load_suite(name).parts:
        task = part.make_task()
        chosen = part.chosen(task)
        assert [question_digest(p.question, part.task) for p in chosen] == list(part.problems)


def test_a_changed_or_missing_question_is_found_out():
    part = load_suite("smoke-v1").parts[0]
    task = part.make_task()
    with pytest.raises(DataError, match="1 of 200 problems are not in arithmetic/test"):
        dataclasses.replace(part, problems=(*part.problems[:-1], "0" * 12)).chosen(task)
    with pytest.raises(DataError, match=r"200 of 200|1[0-9]{2} of 200"):
        part.chosen(make_task("arithmetic", digits=3))


def test_digests_of_questions():
    question = Question("gsm8k/test/0", "How many?", "math", "boxed")
    moved = dataclasses.replace(question, id="gsm8k/test/7")
    assert question_digest(question, "gsm8k") == question_digest(moved, "gsm8k"), "a copy may number its rows otherwise"
    assert question_digest(question, "atlas") != question_digest(moved, "atlas"), "another world"
    for changed in ({"text": "How  many?"}, {"domain": "qa"}, {"answer_format": ""}, {"materials": ("hint",)}):
        assert question_digest(dataclasses.replace(question, **changed), "gsm8k") != question_digest(question, "gsm8k")


def test_what_is_no_suite(tmp_path):
    with pytest.raises(UnknownName, match=r"no suite 'smoke'.*smoke-v1"):
        load_suite("smoke")
    for text in ("", "[]", '{"name": "x"}', '{"name": "x", "about": "", "parts": [{"task": "gsm8k"}]}'):
        (tmp_path / "mine.json").write_text(text)
        with pytest.raises(ConfigError, match="expected a suite's JSON"):
            load_suite(str(tmp_path / "mine.json"))


def test_the_command(run):
    code, text = run("suites")
    assert code == 0
    assert all(name in text for name in PUBLISHED)
    assert "400 episodes" in text
    code, text = run("suites", "show", "smoke-v1")
    assert code == 0
    assert "search_answer as a rule" in text
    assert run("suites", "show", "nothing")[0] == 2
