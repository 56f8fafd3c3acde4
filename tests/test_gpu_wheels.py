"""What `make gpu-wheels` carries is all that a machine with torch and transformers lacks."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import pytest

pytest.importorskip("torch")

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PATH = Path(__file__).parent / "gpu" / "offline.py"
BY_HAND = ("pytest", "pytest-timeout")  # of the extra `dev`, what tests/gpu needs


def offline():
    spec = importlib.util.spec_from_file_location("offline", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def closure(names: Iterable[str]) -> set[str]:
    """These distributions and all that they need here, extras left out."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = canonicalize_name(left.pop())
        if name in found:
            continue
        found.add(name)
        for line in distribution(name).requires or ():
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                left.append(need.name)
    return found


def uncarried(carried: Iterable[str], needed: Iterable[str]) -> set[str]:
    return closure((*needed, *BY_HAND)) - {canonicalize_name(n) for n in carried} - closure(("torch", "transformers"))


def test_what_is_carried_and_what_transformers_brings_is_all_that_is_needed():
    module = offline()
    assert uncarried(module.CARRIED, module.floors()) == set()


def test_a_dependency_that_is_forgotten_is_noticed():
    module = offline()
    short = [name for name in module.CARRIED if name != "platformdirs"]
    assert uncarried(short, module.floors()) == {"platformdirs"}
