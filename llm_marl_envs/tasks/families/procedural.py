"""What the procedural tasks share: their splits, into which a problem goes by its own content."""

from __future__ import annotations

from llm_marl_envs.seeds import seed_of

SPLITS = {"train": 80, "validation": 10, "test": 10}  # per cent of all problems


def split_by(*content: object) -> str:
    """The split that a problem belongs to: a hash of its content decides, whatever the seed and the wording, so splits are
    disjoint by construction."""
    draw = seed_of(*content) % 100
    for split, share in SPLITS.items():
        if draw < share:
            return split
        draw -= share
    raise AssertionError("the shares add up to 100")
