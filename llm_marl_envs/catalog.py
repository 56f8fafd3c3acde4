"""Names to objects. A task or workflow is looked up by the name of its module, imported when first asked for.

`tasks/gsm8k.py` *is* the task "gsm8k"; its class is the one whose name is the module's, case and underscores aside (GSM8K).
One from another package is named "their.module:Class". There is no registry to edit. A package of plug-ins
or commands, ours or another's, is announced by an entry point of the distribution that brings it.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import pkgutil
import re
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import ConfigError, UnknownName

OURS = "llm-marl-envs"  # the distribution that this package is part of


@functools.cache
def names(kind: str) -> tuple[str, ...]:
    """The names in a package of plug-ins, such as `llm_marl_envs.tasks`, without importing them."""
    package = importlib.import_module(kind)
    modules = (m.name for m in pkgutil.iter_modules(package.__path__) if not m.ispkg)
    return tuple(sorted(name for name in modules if name not in ("base", "prompts")))


@functools.cache
def find_class(package: str, name: str) -> type:
    """The class behind a name: a module of `package`, or "their.module:Class"."""
    what = package.rpartition(".")[2].removesuffix("s")
    if ":" in name:
        module_name, _, class_name = name.partition(":")
        try:
            return getattr(importlib.import_module(module_name), class_name)
        except (ImportError, AttributeError) as bad:
            raise UnknownName(what, name, names(package)) from bad
    if name not in names(package):
        raise UnknownName(what, name, names(package))
    module = importlib.import_module(f"{package}.{name}")
    wanted = name.replace("_", "")
    wanted = wanted.replace("2", "two", 1) if wanted[0] == "2" else wanted  # 2wikimultihopqa: TwoWikiMultihopQA
    for c in vars(module).values():
        if isinstance(c, type) and c.__name__.lower() == wanted:
            return c
    raise ConfigError(f"{module.__name__} has no class {wanted!r} (capitals aside), which would be the {what} {name}")


def name_of(package: str, thing: object) -> str:
    """The name that `find_class` finds `thing`'s class by."""
    module, _, last = type(thing).__module__.rpartition(".")
    return last if module == package else f"{type(thing).__module__}:{type(thing).__qualname__}"


MOST = 1_000  # of any number among the knobs, unless its field says otherwise (`most` in its metadata)


def build(package: str, name: str, knobs: Mapping[str, Any]) -> Any:
    """Make the thing called `name`. Unknown knobs are an UnknownName, impossible values a ConfigError."""
    cls = find_class(package, name)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for knob, value in knobs.items():
        if knob not in fields:
            raise UnknownName(f"knob of {name}", knob, fields)
        if isinstance(value, int | float) and not abs(value) <= (most := fields[knob].metadata.get("most", MOST)):
            raise ConfigError(f"{name} does not accept {knob}={value!r:.40}: at most {most}")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in knobs.items()})
    except (TypeError, ValueError) as bad:
        raise ConfigError(f"{name} does not accept {dict(knobs)}: {bad}") from bad


@functools.cache
def announced(group: str) -> tuple[str, ...]:
    """The packages of plug-ins that are announced in a group of entry points. One that cannot be imported is left out, with a
    warning that says why."""
    packages = []
    for point in sorted(entry_points(group=group), key=lambda point: (point.module, point.name)):
        try:
            check_place(point)
            names(point.module)
        except Exception as bad:  # another's package may do anything
            warnings.warn(f"{point.module} ({group} of {_owner(point)}) is left out: {bad}", stacklevel=2)
        else:
            packages.append(point.module)
    return tuple(dict.fromkeys(packages))


def home_of(what: str, packages: Sequence[str], name: str) -> str:
    """The package of plug-ins, of several, that has a name; the first one for "their.module:Class". Raises UnknownName if none
    has it, ConfigError if more than one has."""
    homes = [package for package in packages if name in names(package)]
    if len(homes) > 1:
        full = " or ".join(f"{home}.{name}:{find_class(home, name).__name__}" for home in homes)
        raise ConfigError(f"there is more than one {what} {name!r}; say which: {full}")
    if not homes and ":" not in name:
        raise UnknownName(what, name, [known for package in packages for known in names(package)])
    return homes[0] if homes else packages[0]


def load(point: EntryPoint) -> Any:
    """What an entry point names. Raises ConfigError where it cannot be had because of other packages: one in the place of
    ours, or one of another distribution that does not load. Bugs of our own keep their traceback."""
    check_place(point)
    try:
        return point.load()
    except Exception as bad:
        owner, top = _owner(point), point.module.partition(".")[0]
        if owner != OURS:
            raise ConfigError(f"{point.name!r} of {owner} cannot be loaded: {type(bad).__name__}: {bad}") from bad
        others = sorted({_plain(owner) for owner in packages_distributions().get(top, ())} - {OURS})
        if others and isinstance(bad, ImportError | AttributeError):
            raise ConfigError(
                f"{point.name!r} cannot be loaded ({bad}): {', '.join(others)} installed a package {top!r} over that of {OURS}. "
                f"Uninstall both and install {OURS} again, or use a virtual environment for each."
            ) from bad
        raise


def check_place(point: EntryPoint) -> None:
    """Raises ConfigError if Python finds another package in the place of one of ours. Ours lie side by side in one folder."""
    top = point.module.partition(".")[0]
    ours = Path(__file__).parents[1] / top
    if _owner(point) != OURS or not ours.is_dir():
        return
    found = importlib.util.find_spec(top)
    if not found or not found.origin:  # a folder without __init__ gives way to ours, wherever it lies
        return
    places = [Path(place) for place in found.submodule_search_locations or (found.origin,)]
    if not any(place.exists() and place.samefile(ours) for place in places):
        raise ConfigError(
            f"{point.name!r} needs the package {top!r} of {OURS}, which lies in {ours}, and Python finds another one first, in "
            f"{places[0]}. Uninstall that one or take it off PYTHONPATH, or use a virtual environment of its own."
        )


def _owner(point: EntryPoint) -> str:
    """The distribution that announces an entry point."""
    return _plain(point.dist.name) if point.dist else "an unknown distribution"


def _plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
