"""What a task is. What agents may see (`Question`) and what graders may see (`Problem`) are two types, so no prompt can
leak an answer."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from llm_marl_envs.errors import DataError, MissingExtra

Tool = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Question:
    """Everything a workflow receives. `answer_format` tells an agent how to write its answer; `materials` are given texts."""

    id: str
    text: str
    domain: str = "math"
    answer_format: str = ""
    materials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its gold answer. It stays with the task and the drivers."""

    question: Question
    gold: Any


class Score(NamedTuple):
    """A grade in [0, 1], why, and the answer as the grader read it (None: there was nothing to grade)."""

    value: float
    why: str
    read: str | None = None


class Task(Protocol):
    """A frozen dataclass: its fields are the knobs. `tools` maps names to stateless functions from texts to a text."""

    @property
    def tools(self) -> Mapping[str, Tool]: ...

    @property
    def splits(self) -> tuple[str, ...]: ...

    def problems(self, split: str) -> Sequence[Problem]:
        """The problems of a split, in a fixed order; ids are unique over all splits."""
        ...

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        """Grade a text as an answer to a problem. Never raises on a text, however strange."""
        ...


@dataclass(frozen=True, slots=True)
class HubData:
    """Where a data set lives on the Hugging Face hub, pinned to a revision."""

    repo: str
    config: str
    revision: str


def load_rows(
    name: str, split: str, fields: tuple[str, ...], hub: HubData, data_dir: str | Path | None = None
) -> list[dict[str, Any]]:
    """The rows of one split: from `<data_dir>/<name>/<split>.jsonl[.gz]`, the same under `LLM_MARL_DATA`, or the hub.

    An explicit `data_dir` is never passed over in silence. Raises DataError with the file, the line and what to do.
    """
    if data_dir is not None:
        return _rows_of_folder(Path(data_dir), name, split, fields)
    shared = os.environ.get("LLM_MARL_DATA")
    if shared and (Path(shared) / name).is_dir():
        return _rows_of_folder(Path(shared), name, split, fields)
    return _rows_of_hub(name, split, fields, hub)


def _rows_of_folder(data_dir: Path, name: str, split: str, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    wanted = [data_dir / name / f"{split}.jsonl", data_dir / name / f"{split}.jsonl.gz"]
    path = next((p for p in wanted if p.is_file()), None)
    if path is None:
        folder = data_dir / name
        there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else None
        found = "that folder does not exist" if there is None else f"found {', '.join(there) or 'an empty folder'}"
        raise DataError(
            f"no data for {name!r} split {split!r}: expected {wanted[0]} or {wanted[1].name}; {found}. "
            f"Put the split there as JSON lines with the fields {', '.join(fields)}, or leave data_dir out to use the hub."
        )
    rows = [_row(path, number, line, fields) for number, line in _lines(path)]
    if not rows:
        raise DataError(f"{path} has no rows; expected one JSON object a line with the fields {', '.join(fields)}.")
    return rows


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    opener, number = gzip.open if path.suffix == ".gz" else open, 0
    try:
        with opener(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                if raw.strip():
                    yield number, raw.decode("utf-8")
    except UnicodeDecodeError as bad:
        raise DataError(
            f"{path} line {number} is not UTF-8 ({bad.reason} at byte {bad.start}). Save it as UTF-8."
        ) from None
    except (OSError, EOFError, zlib.error) as bad:
        raise DataError(f"{path} cannot be read: {bad}. Fetch or unpack it again.") from None


def _row(path: Path, number: int, line: str, fields: tuple[str, ...]) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as bad:
        raise DataError(f"{path} line {number} is not JSON ({bad}). Expected one object a line.") from None
    return _complete(f"{path} line {number}", row, fields)


def _complete(where: str, row: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    missing = [f for f in fields if not isinstance(row, dict) or f not in row]
    if missing:
        got = f"the fields {', '.join(row)}" if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{where} lacks {', '.join(missing)}; it has {got}.")
    return row


def _rows_of_hub(name: str, split: str, fields: tuple[str, ...], hub: HubData) -> list[dict[str, Any]]:
    try:
        from datasets import load_dataset
    except ImportError:
        raise MissingExtra(
            f"loading {hub.repo} from the Hugging Face hub (a local folder, given by data_dir or LLM_MARL_DATA, does not)",
            "data",
        ) from None
    try:
        rows = load_dataset(hub.repo, hub.config, revision=hub.revision, split=split)
    except Exception as bad:  # the hub's client raises a dozen kinds; all mean the same to the user
        raise DataError(
            f"could not load {hub.repo} ({split}) from the Hugging Face hub: {type(bad).__name__}: {str(bad)[:200]}. "
            f"Go online, or put <folder>/{name}/{split}.jsonl[.gz] with the fields {', '.join(fields)} somewhere and "
            f"pass data_dir=<folder> or set LLM_MARL_DATA=<folder>."
        ) from None
    return [_complete(f"{hub.repo} ({split}) row {i}", dict(row), fields) for i, row in enumerate(rows)]
