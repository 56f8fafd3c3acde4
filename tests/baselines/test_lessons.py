"""What the embedded model is taught: every expert by hand, whose lessons a team gets, and how they become tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cases import every, sizes

pytest.importorskip("torch")

import torch

from baselines.args import TrainArgs
from baselines.chat import Chat
from baselines.progress import Progress
from baselines.team import Team, resolve_model
from baselines.tiny import syllabus
from baselines.tiny.experts.arithmetic import Adders
from baselines.tiny.experts.atlas import Readers
from baselines.tiny.experts.snippets import Programmers, fenced
from baselines.tiny.recipe import Copying, Course, Recipe
from baselines.tiny.sizes import SIZES
from baselines.tiny.syllabus import SYLLABI, lessons, syllabus_of, variants
from baselines.tiny.tokenizer import train_tokenizer
from baselines.tiny.warm_start import build_model, names_of, row_of, tiny_model
from llm_marl_envs import make_task, make_workflow
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.outcome import outcome_of

HONEST = {
    "arithmetic": Adders(forget=0, forget_after_wrong=0, forget_after_right=0, invent=0, stray=0, miss=0, overrule=0),
    "atlas": Readers(noise=0),
    "snippets": Programmers(0, 0, 0, 0, 0, 0, 0),
}
SMALL = {
    "arithmetic": {},
    "atlas": {"size": 100, "worlds": 2, "plain": True, "max_hops": 2, "one_hop": 0.5, "top_k": 1},
    "snippets": {"examples": 1},
}
QUICK = Recipe(hidden=32, layers=1, heads=2, kv_heads=1, mlp=32, steps=2, batch=4, episodes=20)
PAIRS = [(name, workflow) for name, s in zip(HONEST, SYLLABI, strict=True) for workflow in ("solo", *s.workflows)]
PAIRS.remove(("atlas", "solo"))


class Seen:
    """Experts whose sessions can be looked at."""

    def __init__(self, experts):
        self.experts, self.sessions = experts, {}

    def say(self, session, call, task, problem, rng):
        self.sessions[id(session)] = session, problem
        return self.experts.say(session, call, task, problem, rng)


def played(name, workflow, experts, count=12, **knobs):
    """The outcomes of experts' episodes, and their conversations."""
    task, seen = make_task(name, **SMALL[name]), Seen(experts)
    talks = lessons(variants(workflow, knobs), task.problems("train")[:count], task, seen, "test")
    return [outcome_of(session, task, problem) for session, problem in seen.sessions.values()], talks


@sizes("count", 3, 12)
@every(("name", "workflow"), PAIRS)
def test_honest_experts_are_right_and_can_be_read(name, workflow, count):
    right, _ = played(name, workflow, HONEST[name], count)
    assert [o.malformed for o in right] == [0] * len(right)
    if workflow != "rewrite_rerank_answer":  # queries that are written before anything is read find no second hop
        assert sum(o.team.value for o in right) >= len(right) * (
            0.75 if name == "atlas" else 1
        )  # BM25 misses some articles


@pytest.mark.slow
@every(("name", "workflow"), PAIRS)
def test_experts_err_and_can_be_read(name, workflow):
    slipping, _ = played(name, workflow, syllabus_of(make_task(name)).recipe.experts, 40)
    assert sum(o.malformed for o in slipping) == 0
    assert 0.2 < sum(o.team.value for o in slipping) / 40 < 0.98, "there is something to learn"


def test_readers_by_hand():
    task = make_task("atlas", **SMALL["atlas"])
    problem = next(p for p in task.problems("train") if p.gold.hops == 2)
    first, second = (p.title for p in problem.gold.supporting)
    plain, declining = variants("search_answer", {"style": "short"})[-2:]
    for workflow in (plain, declining):
        talks = dict(calls_of(lessons((workflow,), [problem], task, Readers(noise=0), 0)))
        searcher = [said for prompt, said in talks.items() if said.startswith("<s")]
        assert searcher == [f"<search>{first}</search>", f"<search>{second}</search>", "<stop>"]
        answers = [said for said in talks.values() if said.startswith("<a")]
        unknown = ["<answer>unknown</answer>"] if workflow is declining else []
        assert answers == [*unknown, f"<answer>{problem.gold.answers[0]}</answer>"], (
            "it declines while evidence is missing"
        )
    slipping = calls_of(lessons((plain,), [problem], task, Readers(noise=0, slip=1), 0))
    assert slipping[-1][1] == f"<answer>{second}</answer>"


def calls_of(talks):
    return [call for calls in talks for call in calls]


def test_programmers_by_hand():
    task = make_task("snippets", examples=1)
    problem = next(p for p in task.problems("train") if len(p.gold.code) == 2 and p.gold.takes == "string")
    a, b = problem.gold.code
    always = replace(HONEST["snippets"], careless=1)
    (draft, verdict, better, accepted) = (
        said for _, said in calls_of(lessons((make_workflow("eval_opt"),), [problem], task, always, 0))
    )
    assert draft == f"```python\ndef solve(v):\n    v = {a}\n    return v\n```"
    assert verdict == "Steps 2, lines 1. \\boxed{Incorrect}"
    assert better == f"```python\ndef solve(v):\n    v = {a}\n    v = {b}\n    return v\n```" == fenced((a, b))
    assert accepted == "Steps 2, lines 2. \\boxed{Correct}"
    swapped = calls_of(lessons((make_workflow("solo"),), [problem], task, replace(HONEST["snippets"], swap=1), 0))
    assert swapped[0][1] == fenced((b, a))
    careful = next(p for p in task.problems("train") if len(p.gold.code) == 2 and p.gold.takes == "list")
    said = calls_of(lessons((make_workflow("solo"),), [careful], task, always, 0))[0][1]
    assert said == fenced(careful.gold.code), "lists are taken care of"


# Whose lessons.


def test_a_task_without_lessons_is_refused_and_a_workflow_without_gets_others():
    with pytest.raises(ConfigError, match="has lessons for arithmetic, atlas, snippets, none for SVAMP"):
        resolve_model("tiny", "eval_opt", make_task("svamp"), 0, Progress(quiet=True))
    assert (
        resolve_model("Qwen/Qwen3-0.6B", "eval_opt", make_task("svamp"), 0, Progress(quiet=True)) == "Qwen/Qwen3-0.6B"
    )


ATLAS = replace(
    QUICK,
    experts=Readers(),
    apart=True,
    copying=Copying(names=3, steps=2),
    then=Course(2, 3, 1, 1e-3, 8, Readers(slip=1)),
)


def test_one_start_for_all_that_is_to_be_compared(tmp_path, monkeypatch):
    untrained(monkeypatch)
    task = make_task("atlas", **SMALL["atlas"], train_size=40)

    def made(workflow, **knobs):
        return tiny_model(workflow, task, ATLAS, tmp_path, knobs=knobs)

    team = made("search_answer", style="short", turns=2)
    assert made("search_answer", style="short", turns=2, abstain=True, every_turn=True, unparseable="retry") == team
    other = made("search_answer")
    assert other != team, "it is asked in other words"
    with pytest.warns(
        UserWarning, match="no lessons for route_search on atlas: it starts from those for search_answer"
    ):
        assert made("route_search") == other
    assert made("solo") == other, "the single-agent control starts from the team's weights, and without a warning"
    with pytest.raises(ConfigError, match="none for SVAMP"):
        tiny_model("solo", make_task("svamp"), ATLAS, tmp_path)


def test_copying_lessons_and_mistakes_are_taught_one_after_the_other(tmp_path):
    """Two steps of each; copying may end earlier, when its loss is low enough."""
    task, steps = make_task("atlas", **SMALL["atlas"], train_size=40), []
    for until in (0.0, 100.0):
        recipe = replace(ATLAS, copying=replace(ATLAS.copying, until=until))
        tiny_model("search_answer", task, recipe, tmp_path, lambda step, of, loss: steps.append((step, of)))
    assert steps == [(1, 2), (2, 2), (1, 2), (2, 2), (1, 2), (2, 2), (1, 2), (1, 2), (2, 2), (1, 2), (2, 2)]


# Lessons as tokens.


def test_a_conversation_is_the_tokens_that_it_is_at_run_time():
    talks = played("atlas", "search_answer", HONEST["atlas"], style="short")[1]
    tokenizer = train_tokenizer(calls_of(talks), 600, apart=True)
    chat = Chat(tokenizer)
    long = next(calls for calls in talks if len(calls) == 3)
    ids, replies = row_of(long, chat, tokenizer)
    said, context, messages = [], (), ()
    for prompt, reply in long:
        messages += ({"role": "user", "content": prompt},)
        context = chat.resume(context, 1, messages)
        start = len(context)
        context += (*tokenizer(reply)["input_ids"], tokenizer.eos_token_id)
        messages += ({"role": "assistant", "content": reply},)
        said.append((start, len(context)))
    assert (ids, replies) == (list(context), said)
    assert [chat.decode(ids[a : b - 1]) for a, b in replies] == [reply for _, reply in long]


def test_names_stand_apart():
    texts = [("Where was Tadix Norb born?", "In Lakoburg."), ("Who is Tadix Norb?", "He is from Lakoburg.")] * 50
    tokenizer = train_tokenizer(texts, 400, apart=True)
    for text in ("Tadix", " Tadix Norb", "(Tadix)", '"Lakoburg"'):
        assert any(tokenizer.decode([id]) in ("Tadix", "Lakoburg") for id in tokenizer(text)["input_ids"]), text
    assert {tokenizer.decode([id]) for id in names_of(tokenizer)} >= {"Tadix", "Norb", "Lakoburg"}
    joined = train_tokenizer(texts, 400)
    assert len(joined("Where was Tadix Norb born?")["input_ids"]) < len(
        tokenizer("Where was Tadix Norb born?")["input_ids"]
    )


@pytest.mark.slow
def test_all_prompts_of_sums_are_short():
    """Those of eval_opt took 59 tokens for a refinement when the tokenizer had 512 entries."""
    task, found = make_task("arithmetic"), SYLLABI[0]
    talks = {
        name: lessons(variants(name, {}), task.problems("train")[:100], task, found.recipe.experts, "experts", 0)
        for name in ("solo", *found.workflows)
    }
    tokenizer = train_tokenizer([call for one in talks.values() for call in calls_of(one)], found.recipe.vocab)
    assert 640 <= len(tokenizer) < found.recipe.vocab, "all there is to join is joined"
    chat = Chat(tokenizer)
    tokens = {
        name: max(len(chat.open(({"role": "user", "content": prompt},))) for prompt, _ in calls_of(one))
        for name, one in talks.items()
    }
    assert tokens["solo"] <= 12
    assert tokens["eval_opt"] <= 32
    assert max(tokens.values()) <= 90, tokens


@every(("name", "least", "most"), [("tiny-0.3m", 0.25e6, 0.35e6), ("tiny", 0.85e6, 1.05e6), ("tiny-3m", 2.7e6, 3.3e6)])
def test_sizes(name, least, most):
    with torch.device("meta"):
        model = build_model(replace(Recipe(), **SIZES[name]), 1_024, 0, 2)
    assert least < sum(p.numel() for p in model.parameters()) < most
    assert TrainArgs(model=name).learning_rate == 1.5e-4


def untrained(monkeypatch):
    """Models are only noted: their folders hold their recipes' width."""

    def note(recipe, words, courses, folder, progress):
        (folder / "config.json").write_text(str(recipe.hidden))

    monkeypatch.setattr("baselines.tiny.warm_start._train", note)


def test_a_size_is_a_model_of_its_own(tmp_path, monkeypatch):
    untrained(monkeypatch)
    monkeypatch.setattr("baselines.tiny.warm_start._played", lambda *_: ([], []))
    task = make_task("arithmetic")
    made = {size: tiny_model("eval_opt", task, cache=tmp_path, size=size) for size in SIZES}
    widths = {size: (path / "config.json").read_text() for size, path in made.items()}
    assert widths == {"tiny-0.3m": "80", "tiny": "128", "tiny-3m": "192"}
    assert tiny_model("eval_opt", task, cache=tmp_path, seed=1) not in made.values()


def test_the_table_is_whole():
    for found in SYLLABI:
        assert syllabus_of(found.task()) is found
        for workflow in found.workflows:
            make_workflow(workflow)
        assert found.recipe.steps <= found.recipe.horizon
    assert set(syllabus.ASKED) <= {w for s in SYLLABI for w in s.workflows}


# What comes of it.

STARTS = [
    ("arithmetic", "eval_opt", (), 40),
    ("atlas", "search_answer", ("max_hops=2", "one_hop=0.4", "worlds=100", "size=100", "plain=True", "top_k=1", "turns=2", "style=short"), 16),
    ("snippets", "solo", ("examples=1", "train_size=5000", "test_size=5000"), 64),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("task", "workflow", "knobs", "tokens"), STARTS, ids=[row[0] for row in STARTS])
def test_teams_start_where_there_is_something_to_learn(task, workflow, knobs, tokens):
    """With the settings of docs/tiny.md; minutes, unless the model is cached."""
    args = TrainArgs(task=task, workflow=workflow, set=knobs, method="prompted", max_tokens=tokens, eval_problems=200)
    assert 0.25 <= Team(args, Progress(quiet=True)).evaluate().record()["accuracy"] <= 0.65
