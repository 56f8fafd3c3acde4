"""Every benchmark does what its card says: on its own example rows, in a folder in the hub's layout."""

from __future__ import annotations

import pytest

from llm_marl_envs import make_task
from llm_marl_envs.catalog import find_class, names
from llm_marl_envs.tasks.families.dataset import DatasetTask
from llm_marl_envs.testing import check_task

TASKS = {name: find_class("llm_marl_envs.tasks", name) for name in names("llm_marl_envs.tasks")}
BENCHMARKS = [name for name, cls in TASKS.items() if issubclass(cls, DatasetTask)]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_contract(name, example_dir):
    check_task(make_task(name, example_dir))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_examples_score_as_the_card_says(name, example_dir):
    task = make_task(name, example_dir)
    card = task.card
    assert card.source.name == name
    assert card.splits
    for split in task.splits:
        problems = task.problems(split)
        assert len(problems) == len(card.examples)
        for problem, example in zip(problems, card.examples, strict=True):
            assert example.right
            assert example.wrong
            for reply in example.right:
                score = task.grade(problem, reply)
                assert score.value == 1.0, f"{reply!r}: {score}"
            for reply in example.wrong:
                score = task.grade(problem, reply)
                assert score.value == 0.0, f"{reply!r}: {score}"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_layout_has_an_example(name):
    source, examples = TASKS[name].card.source, TASKS[name].card.examples
    for layout in source.layouts:
        assert any(all(field in example.row for field in layout) for example in examples), layout
