"""Retrieval question answering: every layout the data comes in, what makes no sense in it, modes, tools and claims."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import pytest

from llm_marl_envs import EnvSpec, Outcome, Play, Question, Session, WorkflowEnv, make_task, make_workflow
from llm_marl_envs.catalog import find_class
from llm_marl_envs.errors import ConfigError, DataError
from llm_marl_envs.grading.spans import Gold, Paragraph
from llm_marl_envs.outcome import outcome_of
from llm_marl_envs.protocol import Ask, Claim, Roster, Talk, UseTool
from llm_marl_envs.testing import check_task

NAMES = ("hotpotqa", "2wikimultihopqa", "musique", "bamboogle", "nq", "triviaqa", "popqa")
WITH_CONTEXT = NAMES[:3]
CARDS = {name: find_class("llm_marl_envs.tasks", name).card for name in NAMES}


def read(name: str, row: dict[str, Any], **knobs: Any):
    return find_class("llm_marl_envs.tasks", name)(**knobs).read(row, f"{name}/train/7")


def example(name: str, **changes: Any) -> dict[str, Any]:
    """The card's example row in the task's own layout, with some fields changed."""
    return {**CARDS[name].examples[0].row, **changes}


def write(folder, name: str, rows: list[dict[str, Any]], split: str) -> str:
    (folder / name).mkdir()
    (folder / name / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(folder)


VARN = Paragraph("Ilse Varn", "Ilse Varn was a painter from Tolbeck. She painted bridges.")
TOLBECK = Paragraph("Tolbeck", "Tolbeck is a small town. The Orrin flows through it.")


# Layouts.
def test_own_layouts_by_hand():
    found = read("hotpotqa", example("hotpotqa"))
    assert found.question == Question(
        "hotpotqa/train/7",
        "Which river flows through the town where the painter Ilse Varn was born?",
        "qa",
        found.question.answer_format,
    )
    assert "<answer>" in found.question.answer_format
    assert found.gold == Gold(("the Orrin",), (VARN, TOLBECK))
    assert read("2wikimultihopqa", example("2wikimultihopqa")).gold.answers == ("March 4, 1931",)
    assert read("musique", example("musique")).gold == Gold(
        ("Saint Olm", "St. Olm"),
        (
            Paragraph("Brann Castle", "Brann Castle is a castle in Estmark."),
            Paragraph("Estmark", "The capital of Estmark is Saint Olm."),
        ),
    )
    assert read("bamboogle", example("bamboogle")).gold == Gold(("Anna Ruud",))
    assert read("nq", example("nq")).gold == Gold(("Nina Holt", "The Holt Sisters"))
    assert read("triviaqa", example("triviaqa")).gold.answers == (
        "Grey Heron", "Gray heron", "Ardea cinerea", "grey heron", "gray heron", "ardea cinerea"
    )  # fmt: skip
    assert read("popqa", example("popqa")).gold == Gold(("politician", "political leader"))
    assert read("popqa", example("popqa", possible_answers=["politician"])).gold == Gold(("politician",))


@pytest.mark.parametrize("name", NAMES)
def test_flashrag_layout(name):
    row = {"id": "test_3", "question": "Who?", "golden_answers": ["Anna Ruud", "A. Ruud", "Anna Ruud", " "]}
    for metadata in ({}, {"metadata": {}}, {"metadata": None}, {"metadata": {"type": "bridge"}}):
        found = read(name, row | metadata)
        assert (found.question.text, found.gold) == ("Who?", Gold(("Anna Ruud", "A. Ruud")))


@pytest.mark.parametrize("name", WITH_CONTEXT)
def test_flashrag_metadata_with_the_original_fields(name):
    own = example(name)
    given = {field: own[field] for field in ("context", "supporting_facts", "paragraphs") if field in own}
    found = read(name, {"question": own["question"], "golden_answers": [own["answer"]], "metadata": given})
    assert found.gold.supporting == read(name, own).gold.supporting != ()


def as_lists_of_structs(row: dict[str, Any]) -> dict[str, Any]:
    context, facts = row["context"], row["supporting_facts"]
    return row | {
        "context": [{"title": t, "sentences": s} for t, s in zip(context["title"], context["sentences"], strict=True)],
        "supporting_facts": [{"title": t, "sent_id": i} for t, i in zip(facts["title"], facts["sent_id"], strict=True)],
    }


@pytest.mark.parametrize("name", ["hotpotqa", "2wikimultihopqa"])
def test_structs_of_lists_and_lists_of_structs_are_the_same(name):
    own = example(name)
    structs = as_lists_of_structs(own)
    pairs = structs | {f: [list(item.values()) for item in structs[f]] for f in ("context", "supporting_facts")}
    content = own | {"context": {"title": own["context"]["title"], "content": own["context"]["sentences"]}}
    for other in (structs, pairs, content):
        assert read(name, other, context=True) == read(name, own, context=True)


def test_musique_paragraphs_as_a_struct_of_lists():
    own = example("musique")
    columns = {field: [paragraph[field] for paragraph in own["paragraphs"]] for field in own["paragraphs"][0]}
    assert read("musique", own | {"paragraphs": columns}, context=True) == read("musique", own, context=True)


@pytest.mark.parametrize("name", NAMES)
def test_rows_as_the_installed_datasets_gives_them(name):
    datasets = pytest.importorskip("datasets")
    own = example(name)
    knobs = {"context": True} if name in WITH_CONTEXT else {}
    assert read(name, datasets.Dataset.from_list([own])[0], **knobs) == read(name, own, **knobs)


def test_flashrag_names_of_splits(tmp_path):
    row = {"id": "dev_0", "question": "Who?", "golden_answers": ["Anna Ruud"]}
    for name, theirs in (
        ("hotpotqa", "dev"),
        ("2wikimultihopqa", "dev"),
        ("musique", "dev"),
        ("nq", "test"),
        ("triviaqa", "test"),
    ):
        folder = write(tmp_path, name, [row], theirs)
        (problem,) = make_task(name, folder).problems("validation")
        assert problem.question.id == f"{name}/validation/0"


def test_paragraphs_that_share_a_title_and_titles_without_paragraph():
    row = example("hotpotqa")
    row["context"] = {"title": ["Tolbeck", "Tolbeck"], "sentences": [["One."], ["Two."]]}
    found = read("hotpotqa", row, context=True)
    assert found.gold.supporting == (
        Paragraph("Tolbeck", "One."),
        Paragraph("Tolbeck", "Two."),
        Paragraph("Ilse Varn", ""),
    )
    assert found.question.materials == ("Tolbeck: One.", "Tolbeck: Two.")


def test_unanswerable_rows_are_left_out(tmp_path):
    rows = [example("musique"), example("musique", answerable=False), example("musique", question="And now?")]
    problems = make_task("musique", write(tmp_path, "musique", rows, "train")).problems("train")
    assert [(p.question.id, p.question.text) for p in problems][1:] == [("musique/train/2", "And now?")]
    assert len(problems) == 2


# Rows that make no sense.
NOT_A_TEXT = (None, 7, "", " ", ["x"], {}, True)
NOT_TEXTS = (None, 7, "Rush", [], [None], [7], ["Rush", None], ["Rush", 7], [["Rush"]], {}, [""], [" ", ""], True)


@pytest.mark.parametrize("name", NAMES)
def test_hostile_rows(name):
    text = "Question" if name == "bamboogle" else "question"
    answer = {"nq": NOT_TEXTS, "bamboogle": NOT_A_TEXT}.get(name, NOT_A_TEXT)
    hostile = [example(name, **{text: bad}) for bad in NOT_A_TEXT]
    hostile += [{"question": "Who?", "golden_answers": bad} for bad in NOT_TEXTS]
    hostile += [{"question": bad, "golden_answers": ["Rush"]} for bad in NOT_A_TEXT]
    if name == "popqa":
        hostile += [
            example(name, possible_answers=bad) for bad in (*NOT_TEXTS, "[1]", "[]", "{}", '"x"', "null", "[" * 10_000)
        ]
    elif name == "triviaqa":
        hostile += [example(name, answer=bad) for bad in NOT_A_TEXT]
        hostile += [example(name, answer={"value": bad, "aliases": ["Rush"]}) for bad in NOT_A_TEXT]
        hostile += [example(name, answer={"value": "Rush", "aliases": bad}) for bad in (None, 7, "Rush", [None], [7])]
    else:
        hostile += [example(name, **{"Answer" if name == "bamboogle" else "answer": bad}) for bad in answer]
    if name == "musique":
        hostile += [example(name, answer_aliases=bad) for bad in (None, 7, "Rush", [None], [7])]
        hostile += [example(name, answerable=bad) for bad in (None, "no", 0)]
        one = {"idx": 0, "title": "T", "paragraph_text": "x", "is_supporting": True}
        less = [{k: v for k, v in one.items() if k != gone} for gone in one if gone != "idx"]
        worse = [one | {k: bad} for k in one if k != "idx" for bad in (None, 7)]
        hostile += [
            example(name, paragraphs=bad) for bad in (None, 7, "x", [None], [7], {}, *([bad] for bad in less + worse))
        ]
    elif name in WITH_CONTEXT:
        hostile += [
            example(name, context=bad)
            for bad in (
                None, 7, "x", {}, [7], {"title": ["T"]}, {"title": ["T"], "sentences": []}, {"title": [7], "sentences": [["x"]]},
                {"title": ["T"], "sentences": ["x"]}, {"title": ["T"], "sentences": [[7]]}, {"title": ["T"], "sentences": [None]},
                {"title": None, "sentences": None}, [{"title": "T"}], [["T"]],
            )
        ]  # fmt: skip
        hostile += [
            example(name, supporting_facts=bad)
            for bad in (
                None,
                7,
                "x",
                {},
                {"title": ["T"]},
                {"title": [7], "sent_id": [0]},
                {"title": [["T"]], "sent_id": [0]},
                [7],
            )
        ]
    for row in hostile:
        with pytest.raises(DataError, match=rf"^{name}/train/7: expected .*, got ") as caught:
            read(name, row)
        assert len(str(caught.value)) < 400
    assert len(hostile) >= 20


def test_a_hostile_row_is_named_when_a_split_is_loaded(tmp_path):
    rows = [example("nq"), example("nq", answer=None)]
    with pytest.raises(DataError, match="nq/train/1: expected a list of texts as answer, got None"):
        make_task("nq", write(tmp_path, "nq", rows, "train")).problems("train")
    with pytest.raises(DataError, match="lacks answer"):
        make_task("nq", write(tmp_path / "nq", "nq", [{"question": "Who?"}], "train")).problems("train")


# Modes.
def test_context_mode_gives_the_paragraphs_in_their_order(example_dir):
    row = example("hotpotqa")
    assert read("hotpotqa", row).question.materials == ()
    assert read("hotpotqa", row, context=True).question.materials == (
        "Mill Lane: Mill Lane is a street in Harrowgate.", str(VARN), str(TOLBECK)
    )  # fmt: skip
    with pytest.raises(DataError, match="hotpotqa/train/1: context=True needs rows with paragraphs"):
        make_task("hotpotqa", example_dir, context=True).problems("train")


@pytest.mark.parametrize("name", NAMES)
def test_knobs(name):
    if name not in WITH_CONTEXT:
        with pytest.raises(ConfigError, match=f"{name}'s questions come without paragraphs"):
            make_task(name, context=True)
    impossible: tuple[dict[str, Any], ...] = ({"metric": "judge"}, {"top_k": 0}, {"top_k": "three"})
    for knobs in impossible:
        with pytest.raises(ConfigError):
            make_task(name, **knobs)
    task = make_task(name, corpus="/somewhere/corpus.jsonl", retriever="http://127.0.0.1:1", top_k=5)
    assert EnvSpec.of(task, make_workflow("solo")).task_knobs == {"top_k": 5}, (
        "where things are is no part of what it is"
    )
    assert make_task(name).tools == {}


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_with_f1(name, example_dir):
    task = make_task(name, example_dir, metric="f1")
    problem = task.problems(task.splits[0])[0]
    answer = problem.gold.answers[0]
    assert 0.0 < task.grade(problem, f"{answer} and more").value < 1.0
    assert task.grade(problem, answer).value == 1.0
    check_task(make_task(name, example_dir))


@pytest.mark.parametrize("name", NAMES)
def test_no_question_knows_its_answer(name, example_dir):
    knobs = [{}, {"context": True}] if name in WITH_CONTEXT else [{}]
    for knob in knobs:
        shown = json.dumps(dataclasses.asdict(read(name, example(name), **knob).question))
        for answer in read(name, example(name)).gold.answers:
            given = knob and any(answer in p for p in read(name, example(name), **knob).question.materials)
            assert (answer in shown) == bool(given)
        assert "support" not in shown


# Tools and claims.
@dataclass(frozen=True)
class Searching:
    """A searcher asks once; the passages are its evidence; a generator answers from them and a judge judges that."""

    roster: ClassVar[Roster] = Roster(searcher=1, generator=1, judge=1)

    def talk(self, question: Question, rng: Random) -> Talk:
        query = yield Ask("searcher_0", question.text)
        found = yield UseTool("searcher_0", "search", {"query": query})
        yield Claim("searcher_0", found, "evidence")
        answer = yield Ask("generator_0", f"{question.text}\n{found}\n{question.answer_format}")
        yield Claim("generator_0", answer)
        verdict = yield Ask("judge_0", answer)
        yield Claim("judge_0", verdict, "verdict", answer)
        return answer


def searched(name: str, *replies: str, **knobs: Any) -> Outcome:
    task, problem = make_task(name, **knobs), read(name, example(name))
    session = Session(Play(Searching(), problem.question, 0), replies)
    return outcome_of(session, task, problem)


ENOUGH = 'Doc 1(Title: "Tolbeck") The Orrin flows through it.'
LITTLE = 'Doc 1(Title: "Tolbeck") The Orrington flows through it.'


@pytest.mark.parametrize(
    ("passages", "answer", "verdict", "grades"),
    [
        (ENOUGH, "<answer>Orrin</answer>", "right", (1.0, 1.0, 1.0)),
        (ENOUGH, "<answer>Orrin</answer>", "wrong", (1.0, 1.0, 0.0)),
        (ENOUGH, "<answer>unknown</answer>", "wrong", (1.0, 0.0, 1.0)),
        (LITTLE, "<answer>Orrington</answer>", "right", (0.0, 0.0, 0.0)),
        (LITTLE, "<answer>Orrin</answer>", "wrong", (0.0, 1.0, 0.0)),
        (LITTLE, "not Orrin", "wrong", (0.0, 0.0, 1.0)),
        (LITTLE, "not Orrin", "perhaps", (0.0, 0.0, 0.0)),
    ],
)
def test_all_three_claims(passages, answer, verdict, grades):
    found = searched("hotpotqa", "Tolbeck river", passages, answer, verdict)
    assert [(claim.kind, score.value) for claim, score in found.claims] == list(
        zip(("evidence", "answer", "verdict"), grades, strict=True)
    )
    assert found.team.value == grades[1]
    assert found.own("searcher_0") == grades[0]
    assert found.own("judge_0") == grades[2]
    assert found.malformed == (verdict == "perhaps")


def test_claims_of_abstentions_and_of_nothing():
    abstained = searched("hotpotqa", "q", LITTLE, "unknown", "wrong")
    assert (abstained.team.why, abstained.team.read, abstained.malformed) == ("abstained", "unknown", 0)
    nothing = searched("hotpotqa", "q", "", "", "wrong")
    assert [score.value for _, score in nothing.claims] == [0.0, 0.0, 1.0]
    assert nothing.malformed == 2, "neither passages nor an answer"
    soft = searched("hotpotqa", "q", ENOUGH, "Orrin river", "right", metric="f1")
    assert soft.team.value == pytest.approx(2 / 3)
    assert soft.own("judge_0") == 0.0, "nearly right is not right"


def test_the_search_tool_in_an_environment(tmp_path, monkeypatch):
    pytest.importorskip("bm25s")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    corpus = tmp_path / "corpus.jsonl"
    texts = [VARN, TOLBECK, Paragraph("Mill Lane", "Mill Lane is a street in Harrowgate.")]
    rows = [{"id": f"p{i}", "title": p.title, "text": p.text} for i, p in enumerate(texts)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    folder = write(tmp_path, "hotpotqa", [example("hotpotqa")], "train")
    task = make_task("hotpotqa", folder, corpus=str(corpus), top_k=1)
    assert list(task.tools) == ["search"]
    env = WorkflowEnv(task, Searching(), reward="own", split="train")
    env.reset(seed=0)
    for reply in ("small town Tolbeck", "<answer>the Orrin</answer>", "right"):
        env.step(reply)
    assert env.rewards == {"searcher_0": 1.0, "generator_0": 1.0, "judge_0": 1.0}
