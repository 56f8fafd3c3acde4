"""Short answers: the official measures by a second implementation, what a reply answers, what must never score."""

from __future__ import annotations

from time import thread_time

import pytest
from cases import every, sizes
from grading.span_cases import GOLDS, hostile, pairs, second_f1, second_normal
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_marl_envs import make_task
from llm_marl_envs.grading.spans import Gold, Paragraph, exact_match, f1, grade_evidence, grade_span
from llm_marl_envs.reading import is_abstention, normalize, plain_form, read_answer

RUSH = Gold(("Rush", "the band Rush"))


def value(text: str | None, *golds: str) -> float:
    return grade_span(Gold(golds) if golds else RUSH, text).value


# The official measures.
@every(
    ("text", "normal"),
    [
        ("The Band, Rush!", "band rush"),
        ("a  an\tthe\nTHE", ""),
        ("U.S.", "us"),
        ("The-The", "thethe"),
        ("theatre an-other", "theatre another"),
        ("1,250.5", "12505"),
        ("“the” é", "“ ” é"),
        ("\u00a0A\u2003b", "b"),
        ("it's a dog's", "its dogs"),
    ],
)
def test_normalisation_by_hand(text, normal):
    assert normalize(text) == normal


@every(
    ("prediction", "gold", "score"),
    [
        ("Neil Peart", "Peart", 2 / 3),
        ("the Peart", "Peart", 1.0),
        ("a b b", "b b b", 0.8),  # "a" goes: two of two, two of three
        ("Lee", "Peart", 0.0),
        ("", "Peart", 0.0),
        ("", "", 0.0),
        ("yes", "yes it is", 0.0),
        ("yes it is", "yes", 0.0),
        ("no", "No.", 1.0),
        ("noanswer", "noanswer at all", 0.0),
        ("Rush Rush", "rush", 2 / 3),
    ],
)
def test_f1_by_hand(prediction, gold, score):
    assert f1(prediction, gold) == pytest.approx(score)


@sizes("count", 5_000, 50_000)
def test_measures_equal_a_second_implementation(count):
    equal = partly = 0
    for prediction, gold in pairs(count, GOLDS, seed=1):
        assert exact_match(prediction, gold) == (second_normal(prediction) == second_normal(gold)), (prediction, gold)
        expected = second_f1(prediction, gold)
        assert f1(prediction, gold) == pytest.approx(float(expected), abs=1e-12), (prediction, gold)
        equal += expected == 1
        partly += 0 < expected < 1
    assert equal > 0.15 * count, "the pairs must not all be unequal"
    assert partly > 0.15 * count


# What a reply answers.
@every(
    ("reply", "answer"),
    [
        ("Rush", "Rush"),
        ("  Rush.\n", "Rush."),
        ("It is a band.\n<answer> Rush </answer>", "Rush"),
        ("<ANSWER>Rush</Answer>", "Rush"),
        ("<answer>Rush</answer> Indeed: <answer>the RUSH!</answer>", "the RUSH!"),
        ("<think>Queen? <answer>Queen</answer></think><answer>Rush</answer>", "Rush"),
        ("<think>\n\n</think>\n\nRush", "Rush"),
        ("\\boxed{Rush}", "Rush"),
        ("So it is \\boxed{\\text{Rush}}.", "{Rush}"),
        ("<answer>\\boxed{Rush}</answer>", "Rush"),
        ("\\boxed{\\boxed{Rush}}", "Rush"),
        ("\\boxed{R\\{u\\}sh}", "R\\{u\\}sh"),
        ("Thinking.\nAnswer: Rush", "Rush"),
        ("Thinking.\n**Final answer:** Rush", "** Rush"),
        ("So the final answer is: Rush", "Rush"),
        ("Answer: Rush\nTherefore, the answer is: rush", "rush"),
        ("Answer: Canada\nThat is the country.\n<answer>Rush</answer>", "Rush"),  # earlier lines are working
        ("Why not? <answer>Rush</answer>", "Rush"),
        (
            "one two three four five six seven eight nine ten " * 2,
            "one two three four five six seven eight nine ten " * 2,
        ),
    ],
)
def test_what_a_reply_answers(reply, answer):
    assert read_answer(reply).answer == answer.strip()


@every(
    ("reply", "why"),
    [
        (None, "empty"),
        ("", "empty"),
        (" \n\u2003", "empty"),
        ("<answer>Rush</answer></think>", "empty"),
        ("<answer></answer>", "an empty answer"),
        ("\\boxed{}", "an empty answer"),
        ("<answer>Rush", "not closed"),
        ("Rush</answer>", "not closed"),
        ("</answer>Rush<answer>", "not closed"),
        ("<answer>Rush<answer>Rush</answer></answer>", "not closed"),
        ("\\boxed{Rush", "not closed"),
        ("\\boxed{" * 10_000, "not closed"),
        ("\\boxed{Rush} or \\boxed{Queen", "not closed"),
        ("<answer>Rush</answer> or <answer>Queen</answer>", "two different"),
        ("<answer>Rush</answer> or <answer></answer>", "two different"),
        ("\\boxed{Rush} or \\boxed{Queen}", "two different"),
        ("\\boxed{Queen}, so <answer>Rush</answer>", "two different"),
        ("<answer>\\boxed{Rush} \\boxed{Queen}</answer>", "two different"),
        ("<answer>Rush</answer>\nAnswer: Queen", "two different"),
        ("Answer: Queen\nAnswer: Rush", "two different"),
        ("It is not <answer>Rush</answer>", "negated"),
        ("It isn't \\boxed{Rush}", "negated"),
        ("never **\\boxed{Rush}**", "negated"),
        ("Answer: Rush\nor perhaps some other band.", "too long"),  # not the last line
        ("word " * 21, "too long"),
        ("Rush\nQueen", "too long"),
        (f"<answer>{'x' * 1001}</answer>", "too long"),
        ("x" * 200_001, "too long"),
    ],
)
def test_replies_without_an_answer(reply, why):
    found = read_answer(reply)
    assert found.answer is None
    assert why in found.why
    assert grade_span(Gold(("Rush", "Queen", "x" * 1001)), reply) == (0.0, found.why, None)


def test_grades_by_hand():
    assert grade_span(RUSH, "the rush!") == (1.0, "exact match (the whole reply)", "rush")
    assert grade_span(RUSH, "So\n<answer>THE BAND: Rush</answer>") == (1.0, "exact match (marked)", "band rush")
    assert grade_span(RUSH, "Rush Hour") == (
        0.0,
        "'Rush Hour' is no gold answer, F1 0.67 (the whole reply)",
        "rush hour",
    )
    assert grade_span(RUSH, "Rush", "verdict").value == 0.0


def test_a_gold_answer_as_it_stands_is_right():
    long = "First " + "word " * 30 + "last"
    assert value(long, long) == 1.0
    assert value("Rush\nand Queen", "Rush\nand Queen") == 1.0
    assert value("not " + long, long) == 0.0


def test_f1_as_the_metric():
    assert grade_span(RUSH, "Rush Hour", metric="f1").value == pytest.approx(2 / 3)
    assert grade_span(RUSH, "Rush", metric="f1").value == 1.0
    assert grade_span(Gold(("yes",)), "yes and no", metric="f1").value == 0.0
    assert grade_span(RUSH, "<answer>Rush</answer><answer>Queen</answer>", metric="f1").value == 0.0
    assert grade_span(RUSH, "unknown", metric="f1").value == 0.0
    for empty in ("", "a", "the", "!"):
        assert grade_span(RUSH, empty, metric="f1").value == 0.0


def test_abstentions():
    for text in ("unknown", "Unknown.", "<answer>unknown</answer>", "\\boxed{Unknown}", "Hm.\nAnswer: the unknown"):
        assert is_abstention(text)
        assert grade_span(RUSH, text) == (0.0, "abstained", "unknown")
    for text in (
        None,
        "",
        "Rush",
        "unknown to me",
        "<answer>unknown",
        "unknown\nRush",
        "<answer>Rush</answer> unknown",
    ):
        assert not is_abstention(text)
    assert grade_span(Gold(("The Unknown",)), "unknown").value == 1.0, "where it is the gold answer it is one"


# What must never be paid.
HUGE = 50_000  # characters; such replies are tried with one gold answer


@every(
    "golds",
    [
        ("Rush",),
        ("March 4, 1931", "4 March 1931"),
        ("yes",),
        ("The The",),
        ("A",),
        ("!!!",),
        ("Beyoncé",),
        ("2",),
    ],
)
def test_hostile_replies_are_not_paid(golds):
    replies = hostile(golds)
    assert len(replies) > 40
    wrong = []
    for name, text in replies.items():
        if text == golds[0] or (len(text) > HUGE and golds != ("Rush",)):
            continue
        for _ in range(3):  # a busy machine may hold up one attempt
            start = thread_time()
            paid = grade_span(Gold(golds), text).value
            grade_span(Gold(golds), text, metric="f1")  # may score, but must end soon
            paid += grade_span(Gold(golds), text, "verdict").value
            is_abstention(text)
            grade_evidence(Gold(golds, (Paragraph("Rush (band)", "Rush is a band."),)), text)
            if (seconds := thread_time() - start) <= 1.0:
                break
        if paid or seconds > 1.0:
            wrong.append((name, paid, seconds))
    assert wrong == []


@every(
    ("gold", "right", "wrong"),
    [
        ("A", ("A", "<answer>A</answer>", "\\boxed{A}"), ("a", "the", "An", "", "!", "A!")),
        ("The The", ("The The", "the the", "Answer: The  The"), ("the", "The", "a", "the the the", "")),
        ("!!!", ("!!!", "<answer>!!!</answer>"), ("!", "!!!!", "", "a")),
        ("a", ("A",), ("an", "the", "", "?")),
    ],
)
def test_gold_answers_of_which_nothing_remains(gold, right, wrong):
    assert normalize(gold) == ""
    assert [text for text in right if value(text, gold) != 1.0] == []
    assert [text for text in wrong if value(text, gold) != 0.0] == []
    assert value("Rush", gold, "Rush") == 1.0


TEXTS = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            (
                "<answer>",
                "</answer>",
                "\\boxed{",
                "}",
                "{",
                "\n",
                "Answer:",
                " not ",
                "Rush",
                "Queen",
                "the",
                "unknown",
                "</think>",
                "\\",
            )
        )
    ).map("".join),
)


@settings(max_examples=500, deadline=None)
@given(TEXTS, st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=3))
def test_any_text_is_graded(text, golds):
    gold = Gold(tuple(golds), (Paragraph("Rush", "A band."),))
    for kind in ("answer", "evidence", "verdict"):
        assert grade_span(gold, text, kind).value in (0.0, 1.0)
    exact, soft = grade_span(gold, text), grade_span(gold, text, metric="f1")
    assert exact.value <= soft.value <= 1.0
    if exact.value and plain_form(text) != plain_form(exact.read or ""):
        assert any(mark in text.lower() for mark in ("<answer>", "boxed{", "fbox{", "answer", "</think>"))
    assert is_abstention(text) == (normalize(read_answer(text).answer or "") == "unknown")


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_no_text_but_the_answer_is_paid(text):
    """The same reply cannot be right for two different gold answers."""
    assert value(text, "Rush") + value(text, "Queen") + value(text, "Rush Queen") <= 1.0


# Evidence.
@every(
    ("passages", "sufficient"),
    [
        ("Rush is a band.", True),
        ("A band (Rush) of Toronto", True),
        ('Doc 1(Title: "Moving Pictures") By RUSH, 1981.', True),
        ("Rush's drummer", True),
        ("Rush’s drummer", True),
        ("a Rush-like band", True),
        ("1968–Rush–2015", True),
        ("Mount Rushmore", False),
        ("McRush", False),
        ("R ush", False),
        ("Ru\u200bsh", False),
        ("", False),
        (None, False),
        ("Queen is a band.", False),
        ("Rush " * 50_000, False),  # more than passages may have
    ],
)
def test_evidence_holds_an_answer_as_whole_tokens(passages, sufficient):
    assert grade_evidence(Gold(("Rush",)), passages).value == sufficient
    assert grade_span(Gold(("Rush",)), passages, "evidence").value == sufficient


def test_evidence_needs_contiguous_tokens_of_any_answer():
    gold = Gold(("Saint Olm", "Olm, St."))
    assert grade_evidence(gold, "the capital, Saint-Olm") == (1.0, "a gold answer is in the passages", "sufficient")
    assert grade_evidence(gold, "Olm the St Peter").value == 1.0, "articles are no tokens"
    assert grade_evidence(gold, "Saint Peter of Olm") == (0.0, "no gold answer is in the passages", "insufficient")


def test_evidence_for_yes_and_no_needs_every_supporting_paragraph():
    gold = Gold(
        ("yes",), (Paragraph("Ilse Varn", "Ilse Varn was a painter."), Paragraph("1. FC Karsk", "A club since 1911."))
    )
    both = 'Doc 1(Title: "Ilse Varn") She lived long.\nDoc 2(Title: "1. FC Karsk") A team.'
    assert grade_evidence(gold, both) == (1.0, "every supporting paragraph is there", "sufficient")
    assert grade_evidence(gold, "Ilse Varn: born 1880\n[2] 1. FC Karsk\nA team.").value == 1.0
    assert grade_evidence(gold, "so Ilse Varn, was the painter... A club since 1911").value == 1.0, "by their texts"
    for less in (
        'Doc 1(Title: "Ilse Varn") She lived long.',
        "Yes. yes yes",
        "Are Ilse Varn and 1. FC Karsk both old?",  # named, but not there
        both.replace("Ilse Varn", "Ilse Varnish"),
        both.replace("Ilse", "Else"),
    ):
        assert grade_evidence(gold, less).value == 0.0, less
    unknown = grade_evidence(Gold(("no", "No.")), both)
    assert unknown.value == 0.0
    assert "no supporting paragraph is known" in unknown.why
    assert grade_evidence(Gold(("A",)), "a band").value == 0.0, "articles are everywhere"
    assert grade_evidence(Gold(("no", "Norway")), "in Norway").value == 1.0
    assert grade_evidence(Gold(("no", "Norway")), "there is no such").value == 0.0


# Forms that are the same, and numbers that are not.


@every(
    ("one", "other"),
    [
        ("1939–1945", "1939-1945"), ("Lady’s", "Lady's"), ("Beyonce\u0301", "Beyoncé"), ("1,250", "1250"), ("3,000,000", "3000000"),
        ("Bosnian–Serb", "Bosnian-Serb"), ("“Heroes”", '"Heroes"'), ("the U.S.", "US"), ("$ 1.2 billion", "$1.2 billion"), ("−40", "-40"),
        ("March 4, 1931", "March 4 1931"), ("5.", "5"), ("No. 5", "no 5"), ("rock `n' roll", "rock 'n' roll"), ("1‑2", "1-2"), ("- 40", "-40"),
    ],
)  # fmt: skip
def test_what_looks_alike_is_alike(one, other):
    assert value(one, other) == value(other, one) == 1.0


@every(
    ("one", "other"),
    [
        ("3.5", "35"), ("-40", "40"), ("−40", "40"), ("$1.2 billion", "$12 billion"), ("3-0", "30"), ("1/2", "12"), ("3:45", "345"), ("3,5", "35"),
        ("<5", "5"), ("<5", ">5"), ("1.25", "125"), ("-$5", "$5"), ("10-12", "1012"), ("4.0", "40"), ("-.5", ".5"),
    ],
)  # fmt: skip
def test_numbers_keep_their_meaning(one, other):
    assert value(one, other) == value(other, one) == 0.0
    assert grade_span(Gold((other,)), one, official=True).value == exact_match(one, other)
    assert grade_evidence(Gold((other,)), f"It was {one} then.").value == 0.0


def test_the_official_metric_is_there():
    assert exact_match("3.5", "35") == 1.0
    assert grade_span(Gold(("35",)), "3.5", official=True).value == 1.0
    assert grade_span(Gold(("1939–1945",)), "1939-1945", official=True).value == 0.0
    assert make_task("nq", official=True).official
