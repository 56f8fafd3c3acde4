"""One model in memory as policies, for tests of what is done with them."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any


def lone(model: Any, **changes: Any) -> Any:
    """`Policies` with one policy, "p", as far as engine and learner look at it."""
    plain = {
        "names": ("p",),
        "device": "cpu",
        "heads": {},
        "checkpointing": False,
        "model": lambda name: model,
        "named_parameters": lambda name: dict(model.named_parameters()),
        "parameters": lambda name: list(model.parameters()),
        "dropping": lambda name, seed: nullcontext(),
        "learning": nullcontext,
        "refresh": lambda name: None,
    }
    return SimpleNamespace(**plain | changes)
