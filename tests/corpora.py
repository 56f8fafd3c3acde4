"""Small corpora of few words, so that many passages share many."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random

from llm_marl_envs.tools.index import Passage

WORDS = [
    "the",
    "running",
    "runner",
    "of",
    "river",
    "rivers",
    "Oslo",
    "bridge",
    "bridges",
    "capital",
    "city",
    "cities",
    "old",
    "is",
    "a",
    "flows",
    "flowing",
    "Æsir",
    "éclair",
]


def corpus(count: int = 200, seed: int = 0) -> list[Passage]:
    rng = Random(seed)
    return [
        Passage(f"p{i}", f"{rng.choice(WORDS)} {i}", " ".join(rng.choices(WORDS, k=rng.randint(1, 30))))
        for i in range(count)
    ]


def write(path: Path, passages: list[Passage]) -> Path:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": p.id, "title": p.title, "text": p.text}) + "\n" for p in passages)
    return path
