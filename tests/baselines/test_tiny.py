"""The embedded model: its experts by hand, and its cache."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("torch")

from separate_runs import SERVER, begin_tiny, make_tiny

from baselines.tiny import warm_start
from baselines.tiny.experts.arithmetic import Adders, column_sum
from baselines.tiny.syllabus import SYLLABI
from baselines.tiny.warm_start import Recipe, play_experts, tiny_model
from llm_marl_envs import make_task, make_workflow

PERFECT = Adders(forget=0, forget_after_wrong=0, forget_after_right=0, invent=0, stray=0, miss=0, overrule=0)
QUICK = Recipe(hidden=32, layers=1, heads=2, kv_heads=1, mlp=32, steps=2, batch=4, episodes=20)


@pytest.mark.parametrize(
    ("numbers", "knobs", "text"),
    [
        ([47, 58], {}, "Units 7+8=15, tens 4+5+1=10. \\boxed{105}"),
        ([47, 58], {"carry": False}, "Units 7+8=15, tens 4+5=9. \\boxed{95}"),
        ([42, 85], {}, "Units 2+5=7, tens 4+8=12. \\boxed{127}"),
        ([42, 85], {"carry": False}, "Units 2+5=7, tens 4+8=12. \\boxed{127}"),
        ([42, 85], {"invent": True}, "Units 2+5=7, tens 4+8+1=13. \\boxed{137}"),
        ([199, 1, 30], {}, "Units 9+1+0=10, tens 9+3+1=13, hundreds 1+1=2. \\boxed{230}"),
    ],
)
def test_column_sums(numbers, knobs, text):
    assert column_sum(numbers, **knobs) == text


def test_honest_column_sums_are_right():
    rng = Random(0)
    task = make_task("arithmetic")
    for _ in range(500):
        numbers = [rng.randint(1, 9999) for _ in range(rng.randint(2, 5))]
        problem = replace(task.problems("test")[0], gold=sum(numbers))
        assert task.grade(problem, column_sum(numbers)).value == 1.0


@pytest.mark.parametrize("workflow", ["solo", *SYLLABI[0].workflows])
def test_perfect_experts_solve_everything(workflow):
    task = make_task("arithmetic")
    recipe = replace(QUICK, experts=PERFECT)
    team = make_workflow(workflow)
    for operators in ("+", "+-*"):
        task = make_task("arithmetic", operators=operators)
        problem = task.problems("train")[0]
        calls = play_experts(team, [problem], task, recipe)
        assert any(task.grade(problem, reply).value == 1.0 for _, reply in calls)
        if workflow == "eval_opt":
            assert calls[-1][1] == "\\boxed{Correct}"


def test_drafts_slip_where_there_is_a_carry():
    task = make_task("arithmetic")
    problems = list(task.problems("train")[:1500])
    first = [reply for prompt, reply in play_experts(make_workflow("solo"), problems, task, QUICK)]
    right = [task.grade(p, reply).value for p, reply in zip(problems, first, strict=True)]
    carry = [sum(int(n) % 10 for n in p.question.text[8:-1].split("+")) > 9 for p in problems]
    with_carry = [r for r, c in zip(right, carry, strict=True) if c]
    without = [r for r, c in zip(right, carry, strict=True) if not c]
    assert sum(with_carry) / len(with_carry) < 0.3
    assert sum(without) / len(without) > 0.85


def test_the_model_is_made_once_and_anew_when_its_recipe_changes(tmp_path, monkeypatch):
    steps = []
    first = tiny_model("eval_opt", recipe=QUICK, cache=tmp_path, progress=lambda *a: steps.append(a))
    assert len(steps) == 2
    assert tiny_model("solo", recipe=QUICK, cache=tmp_path) == first, (
        "the single-agent control starts from the same model"
    )
    monkeypatch.setattr(warm_start, "_train", lambda *a: pytest.fail("trained again although cached"))
    assert tiny_model("eval_opt", recipe=QUICK, cache=tmp_path) == first
    monkeypatch.undo()
    others = {
        tiny_model("voting", recipe=QUICK, cache=tmp_path),
        tiny_model("eval_opt", recipe=replace(QUICK, lr=1e-4), cache=tmp_path),
    }
    assert len(others | {first}) == 3
    assert not [p for p in tmp_path.iterdir() if not p.name.startswith("tiny-")], "nothing half-made is left"


# The cache, with others at it.


def test_four_processes_make_one_model(tmp_path):
    """At first there is nothing, the second time a damaged model; both times they end with the same one."""
    spoil(tiny_model("eval_opt", recipe=QUICK, cache=tmp_path / "damaged"))
    sums = set()
    for cache in (tmp_path / "empty", tmp_path / "damaged"):
        at_once, queue = SERVER.Barrier(4), SERVER.SimpleQueue()
        runs = [SERVER.Process(target=make_tiny, args=(QUICK, cache, at_once, queue)) for _ in range(4)]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
        assert [run.exitcode for run in runs] == [0, 0, 0, 0]
        found = {queue.get() for _ in runs}
        assert len(found) == 1, found
        folder, weights = found.pop()
        sums.add(weights)
        assert list(cache.iterdir()) == [folder]
    assert len(sums) == 1, "the damaged one was not used"


def spoil(folder: Path) -> None:
    """Change one bit of the weights, as a bad disk does: the file can still be read."""
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-2] ^= 64
    weights.write_bytes(data)


def test_damaged_weights_are_noticed(tmp_path):
    first = tiny_model("eval_opt", recipe=QUICK, cache=tmp_path)
    good = (first / "model.safetensors").read_bytes()
    for harm in (
        spoil,
        lambda f: (f / "model.safetensors").write_bytes(good[:500]),
        lambda f: (f / "tokenizer.json").unlink(),
    ):
        harm(first)
        first = tiny_model("eval_opt", recipe=QUICK, cache=tmp_path)
        assert (first / "model.safetensors").read_bytes() == good, "the same recipe gives the same weights"
        assert [p.name for p in tmp_path.iterdir()] == [first.name]


def test_what_a_killed_build_left_is_swept(tmp_path):
    run = SERVER.Process(target=begin_tiny, args=(QUICK, tmp_path))
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    made = tiny_model("eval_opt", recipe=QUICK, cache=tmp_path)
    assert not left.exists()
    assert [p.name for p in tmp_path.iterdir()] == [made.name]


def test_without_a_cache_it_is_made_for_this_process_only(tmp_path, monkeypatch):
    monkeypatch.setattr(warm_start, "cache_folder", lambda: None)
    monkeypatch.setattr(warm_start.tempfile, "tempdir", str(tmp_path))
    with pytest.warns(UserWarning, match=r"cannot be cached \(no home folder\): it is made anew in each process"):
        made = tiny_model("eval_opt", recipe=QUICK)
    assert (made / "config.json").is_file()
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match=r"cannot be cached \(.*(Not a directory|exists)"):
        assert tiny_model("eval_opt", recipe=QUICK, cache=tmp_path / "file") == made
    warm_start._passing.cache_clear()
