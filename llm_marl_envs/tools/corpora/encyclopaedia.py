"""A generated world and its encyclopaedia: who wrote what, who was born where, which city lies on which river.

Every fact is a function: a book has one author, a city one country, so a chain of facts has one end. Names are unique, but
similar to one another on purpose: people share surnames, rivers and surnames resemble cities, titles contain names of cities
and of people. Everything follows from (seed, size).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

from llm_marl_envs.reading import normalize
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.tools.corpora.encyclopaedia_facts import BESIDES, IS, KINDS, OF
from llm_marl_envs.tools.index import Passage

SMALLEST = 100  # articles; a smaller world has too few chains of four
SHARES = dict(zip(KINDS, (3, 5, 14, 14, 36, 10, 10, 8), strict=True))  # per cent of the articles

_HOUSES = ("Press", "Works", "Brothers", "Pictures", "Trading", "Records", "Mills", "& Sons")
_ADJECTIVES = ("Silent", "Last", "Golden", "Broken", "Distant", "Second", "Paper", "Iron", "Hollow", "Northern")
_NOUNS = ("Harbour", "Winter", "Garden", "Letter", "Bridge", "Meadow", "Lantern", "Window", "Tide", "Clock")
_TITLES = (
    "The {a} {n}",
    "{n} of {a} Glass",
    "Return to {c}",
    "A {n} in {c}",
    "{p}'s {n}",
    "The {n}s of {c}",
    "{a} {n}, {a2} {n2}",
)


@dataclass(frozen=True, slots=True)
class Entity:
    """Something with an article. `answers` are the names that an answer may use for it."""

    kind: str
    name: str
    answers: tuple[str, ...]
    she: bool = False

    def __str__(self) -> str:
        """How a sentence calls it."""
        if self.kind in ("book", "film", "song"):
            return f'"{self.name}"'
        return f"the {self.name}" if self.kind == "river" else self.name


@dataclass(frozen=True, slots=True)
class World:
    """Entities, their facts (place of the entity, relation's name) -> another entity's place or a word, one article each."""

    entities: tuple[Entity, ...]
    facts: Mapping[tuple[int, str], int | str]
    articles: tuple[Passage, ...]

    def of_kind(self, kind: str) -> list[int]:
        """The places of all entities of a kind."""
        return [i for i, entity in enumerate(self.entities) if entity.kind == kind]


Version = tuple[str, int]  # names a drawing of a world's facts


@functools.lru_cache(maxsize=8)
def world_of(seed: int, size: int, version: Version | None = None, plain: bool = False) -> World:
    """The world of a seed with about `size` articles.

    version: the same names, with facts drawn anew for each version: what is learned about one does not help in another, except
    how to read. plain: one wording for each kind of fact, no years, and nothing beside the point.
    """
    rng = Random(seed_of("encyclopaedia", seed, size))
    entities = tuple(_entities(rng, {kind: max(3, size * share // 100) for kind, share in SHARES.items()}))
    words = _words(rng, entities)
    if version is not None:
        rng = Random(seed_of("facts", seed, size, *version))
    world = World(entities, {}, ())
    world = World(entities, _facts(rng, world, words), ())
    id = "/".join(map(str, ("atlas", seed, *(version or ()))))
    articles = tuple(
        Passage(f"{id}/{place}", entity.name, _article(rng, world, place, plain))
        for place, entity in enumerate(entities)
    )
    return World(entities, world.facts, articles)


class _Names:
    """Pronounceable words, each given once (ignoring case, punctuation and articles)."""

    def __init__(self, rng: Random):
        self._rng = rng
        self._given = {"", "yes", "no", "noanswer", "unknown"}

    def word(self, syllables: int) -> str:
        def syllable() -> str:
            return (
                self._rng.choice(_ONSETS) + self._rng.choice("aeiou") + self._rng.choice((*_CODAS, *[""] * len(_CODAS)))
            )

        return next(w for _ in range(10_000) if self.take(w := "".join(syllable() for _ in range(syllables)).title()))

    def take(self, name: str) -> bool:
        """Is the name still free? If so it is taken now."""
        free = normalize(name) not in self._given
        self._given.add(normalize(name))
        return free

    def like(self, name: str) -> str:
        """A name that resembles another: with an ending added or removed."""
        near = (name[:-1], name + "a", name + "en", name + "is", name[:-2] + "or", name + "mar", name + "o")
        return next((n for n in self._rng.sample(near, len(near)) if len(n) > 3 and self.take(n)), "") or self.word(3)


_ONSETS = (
    "b",
    "br",
    "d",
    "dr",
    "f",
    "g",
    "h",
    "j",
    "k",
    "kl",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "sk",
    "t",
    "tr",
    "v",
    "w",
    "z",
)
_CODAS = ("l", "m", "n", "r", "s", "t", "rn", "nd")


def _entities(rng: Random, counts: Mapping[str, int]) -> Iterator[Entity]:
    names = _Names(rng)

    def plain(kind: str, name: str) -> Entity:
        return Entity(kind, name, (name,))

    for _ in range(counts["country"]):
        yield plain("country", names.word(3))
    cities = [names.word(rng.choice((2, 3))) for _ in range(counts["city"])]
    rivers = [names.like(rng.choice(cities)) if rng.random() < 0.6 else names.word(2) for _ in range(counts["river"])]
    yield from (Entity("river", r, (r, f"{r} River", f"River {r}")) for r in rivers)
    yield from (plain("city", city) for city in cities)
    surnames = [
        names.like(rng.choice(cities)) if rng.random() < 0.3 else names.word(2) for _ in range(counts["person"] // 3)
    ]
    surnames += rng.sample(cities, len(cities) // 4)
    first = [names.word(2) for _ in range(max(12, counts["person"] // 6))]

    def drawn(kind: str, draw: str) -> Iterator[str]:
        """As many new names as there are entities of the kind."""
        given = 0
        while given < counts[kind]:
            a, a2 = rng.sample(_ADJECTIVES, 2)
            n, n2 = rng.sample(_NOUNS, 2)
            parts = {"a": a, "a2": a2, "n": n, "n2": n2, "c": rng.choice(cities), "p": rng.choice(first)}
            parts |= {"s": rng.choice(surnames), "h": rng.choice(_HOUSES)}
            name = (rng.choice(_TITLES) if draw == "title" else draw).format(**parts)
            if names.take(name):
                given += 1
                yield name

    yield from (plain("company", name) for name in drawn("company", "{s} {h}"))
    yield from (Entity("person", name, (name,), rng.random() < 0.5) for name in drawn("person", "{p} {s}"))
    for kind in ("book", "film", "song"):
        yield from (plain(kind, name) for name in drawn(kind, "title"))


def _words(rng: Random, entities: tuple[Entity, ...]) -> dict[str, list[str]]:
    """What facts lead to beside entities, in names that no entity has."""
    names = _Names(rng)
    taken = all(names.take(entity.name) for entity in entities)
    assert taken, "names are unique"
    countries = sum(entity.kind == "country" for entity in entities)
    few = max(3, countries // 3)  # countries share currencies and languages, rivers seas and mountains
    return {
        "currency": [names.word(2).lower() for _ in range(2 * few)],
        "language": [names.word(2) + "ish" for _ in range(few)],
        "sea": [f"Sea of {names.word(2)}" for _ in range(few)],
        "range": [f"{names.word(2)} Mountains" for _ in range(few)],
    }


def _facts(rng: Random, world: World, words: Mapping[str, list[str]]) -> dict[tuple[int, str], int | str]:
    places = {kind: world.of_kind(kind) for kind in SHARES}
    born = {place: rng.randrange(1800, 1960) for place in places["person"]}
    facts: dict[tuple[int, str], int | str] = {}
    for place, entity in enumerate(world.entities):
        for relation in OF[entity.kind]:
            what = relation.name.partition(".")[2]
            if what == "year":
                year = born.get(place) or (
                    rng.randrange(900, 1700) if entity.kind == "city" else rng.randrange(1820, 2000)
                )
                facts[place, relation.name] = str(year)
            elif relation.object == "":
                facts[place, relation.name] = rng.choice(words[what])
            elif what == "country":  # the first cities go round, so that every country has one
                turn = place - places["city"][0]
                facts[place, relation.name] = (
                    places["country"][turn] if turn < len(places["country"]) else rng.choice(places["country"])
                )
            elif what == "teacher":
                older = [p for p in rng.sample(places["person"], 8) if born[p] + 15 < born[place]]
                if older:
                    facts[place, relation.name] = older[0]
            elif what != "capital" and (what != "employer" or rng.random() < 0.6):
                facts[place, relation.name] = rng.choice(places[relation.object])
    for country in places["country"]:
        inside = [city for city in places["city"] if facts[city, "city.country"] == country]
        facts[country, "country.capital"] = rng.choice(inside)
    return facts


def _article(rng: Random, world: World, place: int, plain: bool) -> str:
    """Two to five sentences: what it is, its facts in some order, and perhaps something that no question asks for."""
    entity = world.entities[place]
    it = ("She" if entity.she else "He") if entity.kind == "person" else "It"
    told = []
    for relation in OF[entity.kind]:
        if (value := world.facts.get((place, relation.name))) is not None and not (plain and relation.of_year):
            name = str(world.entities[value]).removeprefix("the ") if isinstance(value, int) else value
            told.append((relation.tell[0] if plain else rng.choice(relation.tell)).replace("{o}", name))
    rng.shuffle(told)
    if not plain and len(told) < 4 and rng.random() < 0.6:
        told.insert(
            rng.randrange(len(told) + 1), rng.choice(BESIDES[entity.kind]).replace("{n}", str(rng.randrange(40, 900)))
        )
    named = str(entity)
    what = IS[entity.kind][0] if plain else rng.choice(IS[entity.kind])
    sentences = [f"{named[0].upper()}{named[1:]} is {what}."]
    return " ".join(
        sentences + [sentence.replace("{x}'s", "Her" if it == "She" else "His").replace("{x}", it) for sentence in told]
    )
