"""Atlas: questions of one to four hops over a generated encyclopaedia. Nothing to download, its knobs set the size."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import ClassVar

from llm_marl_envs.errors import ToolFailed, UnknownName
from llm_marl_envs.grading.spans import Gold, Paragraph, grade_span
from llm_marl_envs.reading import normalize
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.task import ANY, LENGTH, MANY, WHERE, Problem, Question, Score, Tool, ToolResult
from llm_marl_envs.tasks.families.procedural import SPLITS, split_by
from llm_marl_envs.tasks.families.retrieval_qa import ANSWER_FORMAT
from llm_marl_envs.tools.corpora.atlas import SEED, SIZE, atlas_index, indexes_of
from llm_marl_envs.tools.corpora.encyclopaedia import SMALLEST, Version, World, world_of
from llm_marl_envs.tools.corpora.encyclopaedia_facts import OF, RELATIONS, Relation
from llm_marl_envs.tools.index import Passage
from llm_marl_envs.tools.search import search_tool, search_tools

MOST_HOPS = 4
FRUITLESS_DRAWS = 2_000  # draws without a new question after which a split is taken to be used up
DRAWN = 60  # second sides of a comparison among which one is chosen
FIRST = {  # kind -> questions for the one of the lesser and of the greater year
    "person": ("Who was born first, {a} or {b}?", "Who was born later, {a} or {b}?"),
    "city": ("Which city is older, {a} or {b}?", "Which city is younger, {a} or {b}?"),
    "company": ("Which company was founded first, {a} or {b}?", "Which company was founded later, {a} or {b}?"),
    **dict.fromkeys(
        ("book", "film", "song"), ("Which came out first, {a} or {b}?", "Which came out later, {a} or {b}?")
    ),
}


@dataclass(frozen=True, slots=True)
class AtlasGold(Gold):
    """Its `supporting` are the articles that must be read, `hops` of them, one fact from each.

    form: bridge (each article names the next), compare (which of two) or same (do two agree: yes or no).
    """

    hops: int = 1
    form: str = "bridge"


@dataclass(frozen=True)
class Atlas:
    """Questions over an encyclopaedia of about `size` articles on a world that does not exist, with its own `search`.

    A question takes `min_hops` to `max_hops` facts from as many articles. No article but the last of a bridge holds the
    answer, and none holds both the answer and what the question starts from. A question's own content decides its split.
    seed: of the world and the questions. retriever: a server that searches in place of the built-in one. context: the
    articles needed are materials, among `distractors` others. Answers are graded by exact match.

    worlds: above 1, each split has so many worlds of its own, with the same names and facts drawn anew, which questions take
    in turn; each question is searched in its own world. What is learned in training is then how to look up, not what is where.
    one_hop: the share of questions of one hop, as long as there are some of each kind (None: every number of hops is drawn as
    often). plain: one wording for each kind of fact, no years, nothing beside the point, and bridges alone: for small models.
    """

    seed: int = field(default=SEED, metadata=ANY)
    size: int = field(default=SIZE, metadata=MANY)
    min_hops: int = 1
    max_hops: int = MOST_HOPS
    train_size: int = field(default=6_000, metadata=MANY)
    test_size: int = field(default=500, metadata=MANY)
    top_k: int = 3
    context: bool = False
    distractors: int = field(default=8, metadata=LENGTH)
    retriever: str | None = field(default=None, metadata=WHERE)
    worlds: int = field(default=1, metadata=LENGTH)
    one_hop: float | None = None
    plain: bool = False

    offers: ClassVar[tuple[str, ...]] = ("search",)  # known without the index

    def __post_init__(self):
        if not 1 <= self.min_hops <= self.max_hops <= MOST_HOPS:
            raise ValueError(f"hops go from 1 to {MOST_HOPS}; got {self.min_hops} to {self.max_hops}")
        if self.size < SMALLEST or min(self.train_size, self.test_size, self.top_k) < 1 or self.distractors < 0:
            raise ValueError(f"size starts at {SMALLEST}, the splits' sizes and top_k at 1, distractors at 0")
        if self.worlds < 1 or ((self.worlds > 1 or self.plain) and self.retriever):
            raise ValueError(
                f"worlds starts at 1; a retriever serves one world, in the usual wording; got worlds={self.worlds}, "
                f"plain={self.plain}, retriever={self.retriever!r}"
            )
        if self.one_hop is not None and not (0 <= self.one_hop <= 1 and self.min_hops == 1 < self.max_hops):
            raise ValueError(
                f"one_hop is a share of questions from 0 to 1, among others of more hops (min_hops=1, max_hops at least 2); "
                f"got {self.one_hop} with {self.min_hops} to {self.max_hops} hops"
            )

    @property
    def tools(self) -> Mapping[str, Tool]:
        if self.retriever is not None:
            return search_tools(corpus=None, retriever=self.retriever, top_k=self.top_k)
        if self.worlds == 1:
            return {"search": search_tool(atlas_index(self.seed, self.size, self.plain), self.top_k)}
        indexes = indexes_of(self.seed, self.size, self.plain)

        def search(query: str, *, question: Question) -> ToolResult | str:
            """Passages for a query, from the question's own world."""
            return search_tool(indexes(self._version(question)), self.top_k)(query)

        return {"search": search}

    def _version(self, question: Question) -> Version:
        """The world that a question is about. Raises ToolFailed for a question that is not of this task."""
        match question.id.split("/"):
            case ["atlas", split, seed, world, _] if split in SPLITS and seed == str(self.seed):
                if world.isdecimal() and int(world) < self.worlds:
                    return split, int(world)
        raise ToolFailed(
            f"no question {question.id!r} in this task, so it is not known in which of its worlds to search"
        )

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(SPLITS)

    def corpus(self) -> tuple[Passage, ...]:
        """Every article of the encyclopaedia, or of all its worlds."""
        splits = SPLITS if self.worlds > 1 else ("train",)
        return tuple(article for split in splits for world in self.worlds_of(split) for article in world.articles)

    def worlds_of(self, split: str) -> list[World]:
        """The worlds that a split's questions are about."""
        versions: list[Version | None] = [(split, k) for k in range(self.worlds)] if self.worlds > 1 else [None]
        return [world_of(self.seed, self.size, version, self.plain) for version in versions]

    def problems(self, split: str) -> Sequence[Problem]:
        if split not in SPLITS:
            raise UnknownName("split of atlas", split, SPLITS)
        return _problems(self, split)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_span(problem.gold, text, kind)


@dataclass(frozen=True, slots=True)
class Riddle:
    """A question that has one answer in its world. `key` is its content, whatever its wording: it decides the split."""

    key: tuple[str, ...]
    text: str
    answers: tuple[str, ...]
    places: tuple[int, ...]  # of the articles that it rests on
    form: str


@functools.lru_cache(maxsize=16)
def _problems(task: Atlas, split: str) -> tuple[Problem, ...]:
    size = task.train_size if split == "train" else task.test_size
    problems = []
    for i, (k, world, riddle) in enumerate(islice(_in_turn(task, split), size)):
        id = "/".join(("atlas", split, str(task.seed), *([str(k)] if task.worlds > 1 else []), str(i)))
        supporting = tuple(_paragraph(world, place) for place in riddle.places)
        given = _materials(world, riddle, task.distractors, Random(seed_of("materials", id))) if task.context else ()
        gold = AtlasGold(riddle.answers, supporting, len(supporting), riddle.form)
        problems.append(Problem(Question(id, riddle.text, "qa", ANSWER_FORMAT, given), gold))
    return tuple(problems)


def _in_turn(task: Atlas, split: str) -> Iterator[tuple[int, World, Riddle]]:
    """A riddle of each world in turn, as long as there are new ones."""
    live = [(k, world, _riddles(task, split, k, world)) for k, world in enumerate(task.worlds_of(split))]
    while live:
        still = []
        for k, world, riddles in live:
            if (riddle := next(riddles, None)) is not None:
                still.append((k, world, riddles))
                yield k, world, riddle
        live = still


def _materials(world: World, riddle: Riddle, distractors: int, rng: Random) -> tuple[str, ...]:
    """The articles needed among others, of the same kinds as far as there are such."""
    kinds = [world.entities[place].kind for place in riddle.places]
    others = [p for kind in dict.fromkeys(kinds) for p in world.of_kind(kind) if p not in riddle.places]
    if len(others) < distractors:
        others = [p for p in range(len(world.entities)) if p not in riddle.places]
    chosen = [*riddle.places, *rng.sample(others, min(distractors, len(others)))]
    rng.shuffle(chosen)
    return tuple(str(_paragraph(world, place)) for place in chosen)


def _paragraph(world: World, place: int) -> Paragraph:
    return Paragraph(world.articles[place].title, world.articles[place].text)


def _riddles(task: Atlas, split: str, number: int, world: World) -> Iterator[Riddle]:
    """Distinct riddles of a split about one of its worlds, in the seed's order, as long as drawing finds new ones."""
    named = ("atlas", split, task.seed, task.size, task.min_hops, task.max_hops)
    mixed = (task.worlds > 1, task.plain, task.one_hop) != (False, False, None)
    rng = Random(seed_of(*named, *((number, task.plain, task.one_hop) if mixed else ())))
    seen: set[tuple[str, ...]] = set()
    draw = _Draw(world, rng, lambda key: key not in seen and split_of(key) == split, task.plain)
    hops = in_vain = 0
    while in_vain < FRUITLESS_DRAWS:
        if task.one_hop is None:
            hops = rng.randint(task.min_hops, task.max_hops)
        elif in_vain == 0:  # drawn for a riddle, not for an attempt: attempts at one hop succeed more often
            hops = 1 if rng.random() < task.one_hop else rng.randint(2, task.max_hops)
        in_vain += 1
        if riddle := draw.riddle(hops):
            seen.add(riddle.key)
            in_vain = 0
            yield riddle


def split_of(key: tuple[str, ...]) -> str:
    """The split that a riddle belongs to."""
    return split_by("split", key)


@dataclass(frozen=True, slots=True)
class _Chain:
    """Facts that follow one another from an entity: `relations` lead from `places[0]` over the others to `end`."""

    relations: tuple[Relation, ...]
    places: tuple[int, ...]
    end: int | str


@functools.cache
def _paths(plain: bool) -> dict[int, tuple[tuple[Relation, ...], ...]]:
    """All sequences of relations that fit one another, by their length."""
    told = (relation for relation in RELATIONS if not (plain and relation.of_year))
    paths: dict[int, tuple[tuple[Relation, ...], ...]] = {1: tuple((relation,) for relation in told)}
    for hops in range(2, MOST_HOPS + 1):
        paths[hops] = tuple(
            (*path, r)
            for path in paths[hops - 1]
            if path[-1].noun
            for r in OF[path[-1].object]
            if not (plain and r.of_year)
        )
    return paths


class _Draw:
    """Draws riddles about a world; `wanted` says of which keys. plain: bridges alone, each in one wording."""

    def __init__(self, world: World, rng: Random, wanted: Callable[[tuple[str, ...]], bool], plain: bool):
        self._world, self._rng, self._wanted, self._plain = world, rng, wanted, plain
        self._paths = _paths(plain)
        self._of_kind = {kind: world.of_kind(kind) for kind in OF}
        self._texts = [f" {normalize(f'{article.title}: {article.text}')} " for article in world.articles]
        self._places: dict[str, set[int]] = defaultdict(set)  # word -> articles that have it
        for place, text in enumerate(self._texts):
            for word in text.split():
                self._places[word].add(place)

    def riddle(self, hops: int) -> Riddle | None:
        """A riddle that rests on `hops` articles; None if what was drawn makes no good one."""
        some = hops > 1 and not self._plain
        form = self._rng.choice(("bridge", "bridge", "compare", "same")) if some else "bridge"
        return self._bridge(hops) if form == "bridge" else self._two(hops, form)

    def _bridge(self, hops: int) -> Riddle | None:
        chain = self._chain(self._rng.choice(self._paths[hops]))
        if chain is None or not self._wanted(key := ("bridge", self._content(chain))):
            return None
        text = self._worded(chain.relations[-1].ask).format(x=self._noun(chain))
        answers = self._answers(chain.end)
        holding = self._holding(answers)
        short = hops > 1 and holding & self._holding((self._world.entities[chain.places[0]].name,))
        if short or holding.intersection(chain.places[:-1]) or _holds(f" {normalize(text)} ", answers):
            return None
        return Riddle(key, text, answers, chain.places, "bridge")

    def _two(self, hops: int, form: str) -> Riddle | None:
        """Compare the ends of two chains whose last relation is the same."""
        first = self._rng.randint(1, hops - 1)
        path = self._rng.choice([p for p in self._paths[first] if _fits(p, form)])
        paths = [p for p in self._paths[hops - first] if p[-1] is path[-1]]
        a = self._chain(path)
        if a is None or not paths:
            return None
        drawn = [b for _ in range(DRAWN) if (b := self._chain(self._rng.choice(paths)))]
        drawn = [b for b in drawn if len({*a.places, *b.places}) == hops]
        agreeing, others = [b for b in drawn if b.end == a.end], [b for b in drawn if b.end != a.end]
        one_sided = not agreeing and form == "same"  # only "no" is possible, which gives the answer away
        if not others or one_sided:
            return None
        agree = form == "same" and self._rng.random() < 0.5
        b = (agreeing if agree else others)[0]
        key = (form, *sorted((self._content(a), self._content(b))))
        if not self._wanted(key):
            return None
        nouns = {"a": self._noun(a), "b": self._noun(b)}
        if form == "same":
            return Riddle(key, path[-1].same.format(**nouns), ("yes" if agree else "no",), (*a.places, *b.places), form)
        later = self._rng.randrange(2)
        won = max((a, b), key=lambda chain: int(chain.end) if later else -int(chain.end))
        text = FIRST[path[-1].subject][later].format(**nouns)
        return Riddle(key, text, self._answers(won.places[-1]), (*a.places, *b.places), form)

    def _chain(self, path: tuple[Relation, ...]) -> _Chain | None:
        """Follow a path from some entity of the right kind. None if a fact is missing or it comes back to where it was."""
        places = [self._rng.choice(self._of_kind[path[0].subject])]
        for relation in path[:-1]:
            place = self._world.facts.get((places[-1], relation.name))
            if not isinstance(place, int) or place in places:
                return None
            places.append(place)
        end = self._world.facts.get((places[-1], path[-1].name))
        return None if end is None or end in places else _Chain(path, tuple(places), end)

    def _content(self, chain: _Chain) -> str:
        return " ".join((self._world.entities[chain.places[0]].name, *(r.name for r in chain.relations)))

    def _noun(self, chain: _Chain) -> str:
        """The last article's entity, in words that name only the first one's."""
        noun = str(self._world.entities[chain.places[0]])
        for relation in chain.relations[:-1]:
            noun = self._worded(relation.noun).replace("{x}", noun)
        return noun

    def _worded(self, wordings: Sequence[str]) -> str:
        return wordings[0] if self._plain else self._rng.choice(wordings)

    def _answers(self, end: int | str) -> tuple[str, ...]:
        return self._world.entities[end].answers if isinstance(end, int) else (end,)

    def _holding(self, names: Sequence[str]) -> set[int]:
        """The articles that hold one of the names."""
        near = set().union(*(set.intersection(*(self._places[w] for w in normalize(name).split())) for name in names))
        return {place for place in near if _holds(self._texts[place], names)}


def _fits(path: tuple[Relation, ...], form: str) -> bool:
    return bool(path[-1].same) if form == "same" else path[-1].of_year


def _holds(text: str, names: Sequence[str]) -> bool:
    """Is one of the names in a normalised text, as whole words?"""
    return any(f" {normalize(name)} " in text for name in names)
