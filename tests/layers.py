"""The layers of the design as data, and a check of which rules a set of sources breaks."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

PACKAGES = ("llm_marl_envs", "baselines", "leaderboard")
HEAVY = {"torch", "transformers", "peft", "tokenizers", "safetensors", "accelerate"}
FORBIDDEN = {  # whole packages, anywhere in a file
    "llm_marl_envs": {"baselines", "leaderboard"} | HEAVY,
    "leaderboard": {"baselines"} | HEAVY,
    "baselines": {"leaderboard"},
}
EXTRAS = HEAVY | {
    "datasets", "huggingface_hub", "pyarrow", "math_verify", "sympy", "bm25s", "Stemmer", "wasmtime", "matplotlib", "jinja2", "httpx",
}  # fmt: skip

ADAPTERS = ("llm_marl_envs.interop", "baselines.interop")  # to other libraries, one a file: nothing imports them

# What each part may import besides the ground (and, through it, whatever that may import). A part is a module or a package of
# `llm_marl_envs`; the longest name that fits counts. `GROUND` imports nothing but itself.
GROUND = ("errors", "seeds", "terminal", "data", "files", "allowance")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(GROUND, ()),
    "task": (),
    "reading": (),
    "protocol": ("task",),
    "session": ("protocol", "task", "reading"),
    "quotes": (),
    "graph": ("session", "quotes"),
    "outcome": ("session", "task"),
    "stats": ("outcome", "graph", "reading"),
    "rewards": ("outcome", "graph", "stats", "reading"),
    "catalog": (),
    "spec": ("catalog", "task", "protocol"),
    "tools": ("task", "reading"),
    "tools.run": ("session",),
    "grading": ("task", "reading"),
    "workflows": ("protocol", "task", "reading"),
    "tasks": ("task", "grading", "tools", "reading"),
    "traces": ("session", "spec", "outcome", "stats", "tools.run"),
    "testing": ("traces",),
    "envs": ("rewards", "traces", "spec", "tools.run"),
    "partners": ("envs", "testing"),
    "conversation": ("partners",),
    "orchestration": ("graph", "rewards", "stats", "traces"),
    "suites": ("spec", "session"),
    "cli": ("suites", "envs", "partners", "orchestration", "testing", "tasks", "tools", "workflows", "grading"),
    "interop": ("envs", "partners", "conversation", "testing", "tasks", "workflows"),
    "": ("cli",),  # the package itself: what users import
}


class Import(NamedTuple):
    """An import statement, resolved to a module: `late` if it stands in a function."""

    module: str
    line: int
    late: bool


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@functools.lru_cache(maxsize=1024)
def imports_of(name: str, source: str, modules: frozenset[str], is_package: bool = False) -> list[Import]:
    """What a module imports, under TYPE_CHECKING and in functions too; submodules by their own names."""
    found: list[Import] = []

    def visit(node: ast.AST, late: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.Import):
                found.extend(Import(alias.name, child.lineno, late) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                parts = name.split(".")
                up = parts[: len(parts) - child.level + is_package] if child.level else []
                base = ".".join([*up, *([child.module] if child.module else [])])
                for alias in child.names:
                    whole = f"{base}.{alias.name}"
                    found.append(Import(whole if whole in modules else base, child.lineno, late))
            elif isinstance(child, ast.Call) and _called(child) in ("import_module", "__import__"):
                named = [arg.value for arg in child.args[:1] if isinstance(arg, ast.Constant)]
                found.extend(Import(str(module), child.lineno, late) for module in named)
            visit(child, inside)

    visit(ast.parse(source), False)
    return found


def part_of(module: str) -> str:
    """The part of `llm_marl_envs` that a module belongs to."""
    inside = module.partition(".")[2]
    fits = [part for part in MAY_IMPORT if part and (inside == part or inside.startswith(f"{part}."))]
    return max(fits, key=len, default=inside)


def reachable(part: str) -> set[str]:
    """All that a part may import: what the table says, what that may import, the ground, and itself."""
    allowed, todo = {part, *GROUND}, [part]
    while todo:
        for below in MAY_IMPORT[todo.pop()]:
            if below not in allowed:
                allowed.add(below)
                todo.append(below)
    return {part, *GROUND} if part in GROUND else allowed


def faults(sources: Mapping[str, str]) -> list[str]:
    """The rules that sources (dotted module name -> text) break, one sentence each. A package's name stands for its `__init__`."""
    modules = frozenset(sources)
    packages = {name.rpartition(".")[0] for name in modules}
    imports = {name: imports_of(name, text, modules, name in packages) for name, text in sources.items()}
    wrong: list[str] = []
    for name, found in imports.items():
        top = name.partition(".")[0]
        for module, line, late in found:
            at, foreign = f"{name}:{line}", module.partition(".")[0]
            if foreign in FORBIDDEN[top]:
                wrong.append(f"{at} imports {module}, and {top} must not")
            elif module.startswith(ADAPTERS):
                wrong.append(f"{at} imports {module}, and nothing may import an adapter")
            elif foreign == top == "llm_marl_envs" and part_of(module) not in reachable(part_of(name)):
                wrong.append(
                    f"{at}: {part_of(name) or 'the package'} must not import {part_of(module) or 'the package'}"
                )
            if late and not _may_be_late(name, module, imports):
                wrong.append(f"{at} imports {module} inside a function")
        wrong += [f"{name}:{line} names {text!r} in a string" for text, line in _named(sources[name], top)]
    return wrong + [f"circle: {', '.join(circle)}" for circle in _circles(imports)]


def _may_be_late(name: str, module: str, imports: Mapping[str, list[Import]]) -> bool:
    """Extras, and own modules that need one; anything in commands, which must show their help quickly."""
    if "cli" in name.split(".") or module.partition(".")[0] in EXTRAS:
        return True
    seen, todo = set(), [module]
    while todo:
        now = todo.pop()
        for other, _, late in imports.get(now, ()):
            if other.partition(".")[0] in EXTRAS and not late:
                return True
            if other not in seen and not late:
                seen.add(other)
                todo.append(other)
    return False


_NAMING = re.compile(r"(llm_marl_envs|baselines|leaderboard)(\.\w*)*(:\w*)?")


@functools.lru_cache(maxsize=1024)
def _named(source: str, top: str) -> list[tuple[str, int]]:
    """Strings that are the name of another package of ours, or of something in it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            match = _NAMING.fullmatch(node.value)
            if match and match[1] != top and not (match[1] == "llm_marl_envs" and top != "llm_marl_envs"):
                found.append((node.value, node.lineno))
    return found


def _circles(imports: Mapping[str, list[Import]]) -> list[list[str]]:
    """Import cycles of any length (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for module, _, _ in imports[name]:
            if module not in imports:
                continue
            if module not in index:
                visit(module)
                low[name] = min(low[name], low[module])
            elif module in stack:
                low[name] = min(low[name], index[module])
        if low[name] == index[name]:
            circle = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(circle) > 1 or any(module == name for module, _, _ in imports[name]):
                circles.append(sorted(circle))

    for name in imports:
        if name not in index:
            visit(name)
    return circles
