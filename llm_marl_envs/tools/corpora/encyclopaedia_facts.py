"""The relations of the generated encyclopaedia, and the sentences that state facts and ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KINDS = ("country", "river", "city", "company", "person", "book", "film", "song")


@dataclass(frozen=True, slots=True)
class Relation:
    """A kind of fact: from a `subject` kind to an entity of kind `object`, or to a word or number ("").

    `tell` are sentences ({x} the subject, {o} the object), `ask` questions for the object of {x}, `noun` names the object
    by its subject, `same` asks whether two subjects have the same object.
    """

    name: str
    subject: str
    object: str
    tell: tuple[str, ...]
    ask: tuple[str, ...]
    noun: tuple[str, ...] = ()
    same: str = ""

    @property
    def of_year(self) -> bool:
        return self.name.endswith(".year")


def _made(kind: str, by: str, verb: str, house: str, made: str) -> tuple[Relation, ...]:
    """The relations of a work: who made it, which company published it, and when."""
    return (
        Relation(
            f"{kind}.{by}",
            kind,
            "person",
            (f"{{x}} was {made} by {{o}}.", "{x} is the work of {o}.", "{x} made {o} famous."),
            (f"Who {verb} {{x}}?", f"Who is the {by} of {{x}}?"),
            (f"the {by} of {{x}}", f"the person who {verb} {{x}}"),
            f"Do {{a}} and {{b}} have the same {by}?",
        ),
        Relation(
            f"{kind}.{house}",
            kind,
            "company",
            ("{x} was brought out by {o}.", "{x} appeared with {o}.", "{x} was a success for {o}."),
            (f"Which company is the {house} of {{x}}?", f"Which {house} brought out {{x}}?"),
            (f"the {house} of {{x}}", f"the {house} that brought out {{x}}"),
            f"Do {{a}} and {{b}} have the same {house}?",
        ),
        Relation(
            f"{kind}.year",
            kind,
            "",
            (
                "{x} was first presented to the public in {o}.",
                "{x} dates from {o}.",
                "{x} appeared in the spring of {o}.",
            ),
            ("In what year did {x} come out?", "When did {x} appear?"),
        ),
    )


RELATIONS = (
    *_made("book", "author", "wrote", "publisher", "written"),
    *_made("film", "director", "directed", "studio", "filmed"),
    *_made("song", "composer", "composed", "record label", "set to music"),
    Relation(
        "person.birthplace",
        "person",
        "city",
        ("{x} was born in {o}.", "{x} is a native of {o}.", "{x} came into the world in {o}."),
        ("In which city was {x} born?", "What is the birthplace of {x}?"),
        ("the city where {x} was born", "the birthplace of {x}"),
        "Were {a} and {b} born in the same city?",
    ),
    Relation(
        "person.teacher",
        "person",
        "person",
        ("{x} was taught by {o}.", "{x} learned the trade from {o}.", "{x} was for years a pupil of {o}."),
        ("Who was the teacher of {x}?", "By whom was {x} taught?"),
        ("the teacher of {x}", "the person who taught {x}"),
        "Did {a} and {b} have the same teacher?",
    ),
    Relation(
        "person.employer",
        "person",
        "company",
        ("{x} worked for {o}.", "{x} was employed at {o}.", "{x} spent many years on the staff of {o}."),
        ("Which company did {x} work for?", "Who employed {x}?"),
        ("the company that {x} worked for", "the employer of {x}"),
        "Did {a} and {b} work for the same company?",
    ),
    Relation(
        "person.year",
        "person",
        "",
        ("{x} was born in {o}.", "{x}'s year of birth is {o}.", "{x} first saw the light of day in {o}."),
        ("In what year was {x} born?", "What is the year of birth of {x}?"),
    ),
    Relation(
        "company.founder",
        "company",
        "person",
        ("{x} was founded by {o}.", "{x} goes back to {o}.", "{x} was set up by {o}."),
        ("Who founded {x}?", "Who is the founder of {x}?"),
        ("the founder of {x}", "the person who founded {x}"),
        "Do {a} and {b} have the same founder?",
    ),
    Relation(
        "company.seat",
        "company",
        "city",
        ("{x} has its head office in {o}.", "{x} is run from {o}.", "{x} is based in {o}."),
        ("In which city is {x} based?", "Where does {x} have its seat?"),
        ("the city where {x} is based", "the seat of {x}"),
        "Are {a} and {b} based in the same city?",
    ),
    Relation(
        "company.year",
        "company",
        "",
        ("{x} was entered in the register in {o}.", "{x} opened its doors in {o}.", "{x} started in {o}."),
        ("In what year was {x} founded?", "When was {x} founded?"),
    ),
    Relation(
        "city.country",
        "city",
        "country",
        ("{x} lies in {o}.", "{x} belongs to {o}.", "{x} is part of {o}."),
        ("In which country lies {x}?", "Which country does {x} belong to?"),
        ("the country in which {x} lies", "the country that {x} belongs to"),
        "Do {a} and {b} lie in the same country?",
    ),
    Relation(
        "city.river",
        "city",
        "river",
        ("{x} stands on the {o}.", "{x} grew up on the banks of the {o}.", "{x} is crossed by the {o}."),
        ("On which river stands {x}?", "Which river flows through {x}?"),
        ("the river on which {x} stands", "the river that flows through {x}"),
        "Do {a} and {b} stand on the same river?",
    ),
    Relation(
        "city.year",
        "city",
        "",
        ("{x} received its charter in {o}.", "{x} was first settled in {o}.", "{x} has existed since {o}."),
        ("In what year was {x} founded?", "When was {x} founded?"),
    ),
    Relation(
        "country.capital",
        "country",
        "city",
        ("{x} is governed from {o}.", "{x} has its seat of government in {o}.", "{x} made {o} its capital."),
        ("What is the capital of {x}?", "Which city is the capital of {x}?"),
        ("the capital of {x}",),
    ),
    Relation(
        "country.currency",
        "country",
        "",
        ("{x} pays in the {o}.", "{x} uses the {o} as its money.", "{x} introduced the {o} long ago."),
        ("What is the currency of {x}?", "Which currency is used in {x}?"),
        same="Do {a} and {b} have the same currency?",
    ),
    Relation(
        "country.language",
        "country",
        "",
        ("{x} speaks {o}.", "{x} has {o} as its tongue.", "{x} writes its laws in {o}."),
        ("Which language is spoken in {x}?", "What is the language of {x}?"),
        same="Is the same language spoken in {a} and {b}?",
    ),
    Relation(
        "river.sea",
        "river",
        "",
        ("{x} ends in the {o}.", "{x} flows into the {o}.", "{x} reaches the {o} after many bends."),
        ("Into which sea does {x} flow?", "In which sea does {x} end?"),
        same="Do {a} and {b} flow into the same sea?",
    ),
    Relation(
        "river.range",
        "river",
        "",
        ("{x} rises in the {o}.", "{x} springs from the {o}.", "{x} begins high up in the {o}."),
        ("In which mountains does {x} rise?", "In which mountains is the source of {x}?"),
        same="Do {a} and {b} rise in the same mountains?",
    ),
)
OF: Mapping[str, tuple[Relation, ...]] = {kind: tuple(r for r in RELATIONS if r.subject == kind) for kind in KINDS}

# What a first sentence says that something is.
IS = {
    "country": ("a country", "a republic", "a kingdom", "a small state"),
    "river": ("a river", "a navigable river", "a slow river", "a mountain river"),
    "city": ("a city", "a harbour city", "an old market city", "a university city"),
    "company": ("a company", "a family business", "a public company", "a trading house"),
    "person": ("a poet", "a singer", "a painter", "an engineer", "a novelist", "a chemist", "a cellist", "a reporter"),
    "book": ("a novel", "a book of tales", "a thriller", "a book for children"),
    "film": ("a film", "a silent film", "a comedy", "a drama for the screen"),
    "song": ("a song", "a ballad", "a march", "a lullaby"),
}
# What no question asks for; {n} is some number below 900.
BESIDES = {
    "country": ("{x} is known for its cheese.", "{x} has more sheep than people."),
    "river": ("{x} floods its meadows each spring.", "{x} is {n} kilometres long.", "{x} is rich in trout."),
    "city": ("{x} has {n} thousand inhabitants.", "{x} is known for its fog.", "{x} holds a fair every autumn."),
    "company": ("{x} employs {n} people.", "{x} has never made a loss.", "{x} changed hands twice."),
    "person": ("{x} was fond of chess.",),
    "book": ("{x} has {n} pages.", "{x} was translated many times.", "{x} divided the critics."),
    "film": ("{x} was shot in {n} days.", "{x} won several prizes.", "{x} divided the critics."),
    "song": ("{x} is often sung at weddings.", "{x} lasts {n} seconds.", "{x} is in a minor key."),
}
