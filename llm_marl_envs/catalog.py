"""Names to objects. A task or workflow is looked up by the name of its module, imported when first asked for.

`tasks/gsm8k.py` *is* the task "gsm8k"; its class is the one whose name is the module's, case and underscores aside (GSM8K).
Somebody else's is named "their.module:Class". There is no registry to edit.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_marl_envs.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    pass

VERSION = "v0"


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
    return next(c for c in vars(module).values() if isinstance(c, type) and c.__name__.lower() == wanted)


def name_of(package: str, thing: object) -> str:
    """The name that `find_class` finds `thing`'s class by."""
    module, _, last = type(thing).__module__.rpartition(".")
    return last if module == package else f"{type(thing).__module__}:{type(thing).__qualname__}"


def build(package: str, name: str, knobs: Mapping[str, Any]) -> Any:
    """Make the thing called `name`. Unknown knobs are an UnknownName, impossible values a ConfigError."""
    cls = find_class(package, name)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for knob in knobs:
        if knob not in fields:
            raise UnknownName(f"knob of {name}", knob, fields)
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in knobs.items()})
    except (TypeError, ValueError) as bad:
        raise ConfigError(f"{name} does not accept {dict(knobs)}: {bad}") from bad
