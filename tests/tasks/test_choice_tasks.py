"""Tasks of multiple choice: rows in the hub's layouts, the order of options, the grade, and teams that vote. All rows are invented."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from cases import every

from llm_marl_envs import Play, Session, make_task, make_workflow
from llm_marl_envs.errors import ConfigError, DataError
from llm_marl_envs.grading.choices import Options, grade_choice
from llm_marl_envs.reading import options_in
from llm_marl_envs.task import Problem
from llm_marl_envs.tasks.families.choice import shuffled
from llm_marl_envs.tasks.gpqa import GPQA, RIGHT, WRONG
from llm_marl_envs.tasks.mmlu_pro import MMLUPro


def gpqa_row(*options: str, question: str = "Which?") -> dict[str, str]:
    return {"Record ID": "r", "Question": question} | dict(zip((RIGHT, *WRONG), options, strict=True))


def mmlu_row(options: list[str], right: int, letter: str | None = None) -> dict[str, object]:
    return {"question": "Which?", "options": options, "answer": letter or "ABCDEFGHIJ"[right], "answer_index": right}


def read(task: GPQA | MMLUPro, row: dict, id: str = "x/train/0") -> Problem:
    problem = task.read(row, id)
    assert isinstance(problem, Problem)
    return problem


FOUR = ("one", "two", "three", "four")


# The order of options.


def test_gpqa_is_shuffled_by_the_id_and_nothing_else():
    task, row = GPQA(), gpqa_row(*FOUR)
    random.seed(1)
    state = random.getstate()
    orders = [read(task, row, f"gpqa/train/{i}").gold.texts for i in range(30)]
    assert random.getstate() == state
    random.seed(2)
    assert [read(GPQA(), dict(row), f"gpqa/train/{i}").gold.texts for i in range(30)] == orders
    assert len(set(orders)) > 12
    assert all(sorted(order) == sorted(FOUR) for order in orders)
    others = [read(GPQA(shuffle=1), row, f"gpqa/train/{i}").gold.texts for i in range(30)]
    assert 1 <= sum(a == b for a, b in zip(orders, others, strict=True)) + 1 <= 8


def test_the_right_option_is_at_every_letter_equally_often():
    problems = [read(GPQA(), gpqa_row(*FOUR), f"gpqa/train/{i}") for i in range(800)]
    found = Counter(p.gold.letter for p in problems)
    assert set(found) == set("ABCD")
    assert all(150 < number < 250 for number in found.values()), found
    assert all(p.gold.texts[p.gold.right] == "one" for p in problems)


def test_mmlu_pro_keeps_its_order_unless_asked():
    options = [f"colour {n}" for n in range(10)]
    assert read(MMLUPro(), mmlu_row(options, 7)).gold == Options(tuple(options), 7)
    gold = read(MMLUPro(shuffle=3), mmlu_row(options, 7)).gold
    assert sorted(gold.texts) == sorted(options)
    assert gold.texts != tuple(options)
    assert gold.texts[gold.right] == "colour 7"


def test_gpqa_cannot_be_left_in_its_order():
    with pytest.raises(ConfigError, match=r"lists the right option first.*shuffle=0"):
        GPQA(shuffle=None)
    with pytest.raises(ConfigError, match="gpqa_main"):
        GPQA(config="gpqa_experts")
    with pytest.raises(ConfigError, match="at most 1000"):
        make_task("mmlu_pro", shuffle=10**9)


KEPT = [
    "Both A and B", "A and B both", "A and B", "A, B and C", "Neither A nor B", "A and C only", "Only B", "(A) and (C)", "A or B", "Options A and B",
    "Either A or C", "A & B", "B only", "option B", "C alone", "A and B are correct", "both (a) and (b)".upper().replace("BOTH", "both").replace("AND", "and"),
]  # fmt: skip
LAST = [
    "All of the above", "None of the above", "all of above", "None of these", "All of these.", "Any of the above", "All the above", "None of the other options",
    "None of the options", "All the answers are right", "Two of the above", "None of the other answers", "Both of these", "Neither of the above", "None of the above options is right",
]  # fmt: skip
FREE = [
    "A",
    "vitamin A and B12",
    "Aa and aa",
    "the area above",
    "All mammals",
    "None",
    "A and Bb",
    "water",
    "Both parents",
    "I and II",
    "a and b",
]


@every("option", KEPT)
def test_options_that_name_letters_keep_the_order(option):
    options = ("x", "y", "z", option)
    assert all(shuffled(options, (i,), ordered=True) == [0, 1, 2, 3] for i in range(20))
    assert len({tuple(shuffled(options, (i,), ordered=False)) for i in range(200)}) == 24


@every("option", LAST)
def test_options_about_all_others_stay_last(option):
    options = ("x", "y", "z", option)
    for ordered in (True, False):
        orders = {tuple(shuffled(options, (i,), ordered)) for i in range(100)}
        assert len(orders) == 6
        assert {order[3] for order in orders} == {3}
    middle = ("x", option, "y", "z")
    assert {tuple(shuffled(middle, (i,), ordered=True)) for i in range(50)} == {(0, 1, 2, 3)}, "above is only x"
    assert {tuple(shuffled(middle, (i,), ordered=False))[3] for i in range(50)} == {1}, "columns stand above nothing"


@every("option", FREE)
def test_other_options_are_shuffled(option):
    orders = {tuple(shuffled(("x", "y", "z", option), (i,), ordered=True)) for i in range(200)}
    assert len(orders) == 24


# Rows.


def test_a_question_shows_the_options_and_not_which_is_right():
    rows = [gpqa_row("right", "x", "y", "z"), gpqa_row("x", "right", "y", "z")]
    one, other = (read(GPQA(), row, "gpqa/train/7") for row in rows)
    shown = [options_in(p.question.text) for p in (one, other)]
    assert shown[0] == one.gold.texts
    assert set(shown[0]) == set(shown[1])
    swapped = tuple({"right": "x", "x": "right"}.get(option, option) for option in shown[1])
    assert swapped == shown[0], "the same order, whichever is right"
    question = one.question
    assert question.text.startswith("Which?\n\nA. ")
    assert (question.domain, question.materials) == ("choice", ())
    assert question.answer_format == "Exactly one option is right. Give its letter in \\boxed{}."


@every(
    ("options", "kept"),
    [
        (("one", "two", "three", "four"), True),
        (("one", "one", "three", "four"), False),
        (("one", " one\n", "three", "four"), False),
        (("one  two", "one two", "three", "four"), False),
        (("one", "two", "two", "four"), True),  # both wrong
        (("Aa", "aA", "AA", "aa"), True),  # not the same
        (("one", "One", "x", "y"), True),
    ],
)
def test_a_right_option_that_is_there_twice(options, kept):
    assert isinstance(GPQA().read(gpqa_row(*options), "x/train/0"), Problem) is kept
    assert isinstance(MMLUPro().read(mmlu_row(list(options), 0), "x/test/0"), Problem) is kept


def test_wrong_options_that_are_the_same_are_told_apart_by_letter_only():
    gold = read(MMLUPro(), mmlu_row(["one", "two", "two"], 0)).gold
    assert grade_choice(gold, "A").value == grade_choice(gold, "one").value == 1.0
    assert grade_choice(gold, "two").read is None
    assert grade_choice(gold, "C").read == "C"


@every(
    ("row", "gold"),
    [
        (mmlu_row(["x", "y", "z"], 1), Options(("x", "y", "z"), 1)),
        (mmlu_row(["x", "y", "N/A", "N/A"], 1), Options(("x", "y"), 1)),
        (mmlu_row(["x", "N/A", "z"], 2), Options(("x", "z"), 1)),  # the letter that is shown
        (mmlu_row(["x", "N/A"], 1), None),
        (mmlu_row(["x", "y"], 1, "A"), None),
        (mmlu_row(["x", "y"], 1, "K"), None),
        (mmlu_row([f"{n}" for n in range(10)], 9), Options(tuple("0123456789"), 9)),
    ],
)
def test_rows_of_mmlu_pro(row, gold):
    problem = MMLUPro().read(row, "mmlu_pro/test/0")
    assert (problem.gold if isinstance(problem, Problem) else None) == gold


@every(
    ("task", "row"),
    [
        (GPQA(), gpqa_row("one", "", "x", "y")),
        (GPQA(), gpqa_row("one", "two", "x", "y", question=" ")),
        (GPQA(), {**gpqa_row(*FOUR), RIGHT: None}),
        (MMLUPro(), mmlu_row(["x"], 0)),
        (MMLUPro(), mmlu_row([f"{n}" for n in range(11)], 0)),
        (MMLUPro(), {**mmlu_row(["x", "y"], 0), "answer_index": 2}),
        (MMLUPro(), {**mmlu_row(["x", "y"], 0), "answer_index": "0"}),
        (MMLUPro(), {**mmlu_row(["x", "y"], 0), "answer": None}),
        (MMLUPro(), {**mmlu_row(["x", "y"], 0), "options": "x y"}),
    ],
)
def test_malformed_rows_are_named(task, row):
    with pytest.raises(DataError, match="x/train/3"):
        task.read(row, "x/train/3")


# Folders in the hub's layout.


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, [*rows[0], "Explanation"])
        writer.writeheader()
        writer.writerows({**row, "Explanation": 'a "quoted" text,\nof two lines'} for row in rows)


def test_gpqa_from_the_files_of_the_hub(tmp_path):
    write_csv(tmp_path / "gpqa" / "gpqa_diamond.csv", [gpqa_row(*FOUR, question="Which, of\ntwo lines?")])
    write_csv(tmp_path / "gpqa" / "gpqa_main.csv", [gpqa_row(*FOUR), gpqa_row(*FOUR, question="What?")])
    (problem,) = make_task("gpqa", tmp_path).problems("train")
    assert problem.question.text.startswith("Which, of\ntwo lines?\n\nA. ")
    assert [p.question.id for p in make_task("gpqa", tmp_path, config="gpqa_main").problems("train")] == [
        "gpqa/train/0",
        "gpqa/train/1",
    ]
    (tmp_path / "gpqa" / "train.jsonl").write_text(json.dumps(gpqa_row(*FOUR, question="Default?")))
    assert make_task("gpqa", tmp_path, shuffle=5).problems("train")[0].question.text.startswith("Default?")
    with pytest.raises(DataError, match="gpqa_extended"):
        make_task("gpqa", tmp_path, config="gpqa_extended").problems("train")


def test_broken_csv_files_are_named(tmp_path):
    path = tmp_path / "gpqa" / "gpqa_diamond.csv"
    write_csv(path, [gpqa_row(*FOUR)])
    whole = path.read_bytes()
    for damage, said in (
        (whole + b"a,b\r\n", "row 2 has not as many"),
        (whole.replace(b"one", b"\xff"), "UTF-8"),
        (whole.replace(b"Question", b"Q"), "lacks Question"),
    ):
        path.write_bytes(damage)
        with pytest.raises(DataError, match=said):
            GPQA(data_dir=str(tmp_path)).rows("train")


def test_mmlu_pro_from_a_folder(tmp_path):
    (tmp_path / "mmlu_pro").mkdir()
    file = tmp_path / "mmlu_pro" / "test.jsonl"
    file.write_text(json.dumps(mmlu_row(["x", "y", "z"], 2)) + "\n" + json.dumps(mmlu_row(["x", "x"], 0)))
    (problem,) = make_task("mmlu_pro", tmp_path).problems("test")
    assert problem.gold.letter == "C"
    file.write_text(json.dumps(mmlu_row(["x", "N/A"], 0)))
    with pytest.raises(DataError, match="2 to 10 options"):
        make_task("mmlu_pro", tmp_path, shuffle=1).problems("test")


# Teams.


def test_other_kinds_are_not_graded():
    gold = Options(("x", "y"), 0)
    assert grade_choice(gold, "A", "evidence").value == 0.0
    assert grade_choice(gold, None).value == 0.0
    assert grade_choice(gold, "\\boxed{B}") == (0.0, "boxed is B", "B")


QUESTION = read(MMLUPro(), mmlu_row(["dark blue", "red", "green"], 1)).question


def played(name: str, *replies: str, **knobs: object) -> Session:
    return Session(Play(make_workflow(name, **knobs), QUESTION), replies)


def test_a_majority_counts_a_letter_in_any_dress_and_the_option_itself():
    said = ("I say \\boxed{A}", "The answer is (B).", "\\boxed{\\text{(B)}}", "Final answer: red", "\\boxed{dark blue}")
    assert played("debate", *said, debaters=5, rounds=1).answer == said[1]
    others = ("A or B", "\\boxed{C}", "**c**", "A good question.")
    assert played("debate", *others, debaters=4, rounds=1).answer == others[1]
    agreed = played("debate", "B", "\\boxed{red}", "Answer: (b)", debaters=3, rounds=2, early=True)
    assert agreed.answer == "B", "it ends after the first round"


def test_workflows_know_when_there_is_no_choice():
    listed = played("propose_review", "\\boxed{A, B}", controllers="none")
    assert "Malformed" in [type(event.call).__name__ for event in listed.events]
    found = played("propose_review", "Final answer: b", controllers="none")
    assert "Malformed" not in [type(event.call).__name__ for event in found.events]
