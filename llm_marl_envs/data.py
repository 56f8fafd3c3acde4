"""Rows of data sets: from a local folder in the hub's layout, or from the Hugging Face hub at a pinned revision."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import DataError, MissingExtra


@dataclass(frozen=True, slots=True)
class HubData:
    """Where a data set lives on the Hugging Face hub. `splits` maps our split names to the hub's where they differ.

    `files` names a split's JSON-lines files where the repository has a loading script, which `datasets` no longer runs.
    """

    repo: str
    config: str | None
    revision: str
    splits: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataSource:
    """Everything needed to find a benchmark's rows and to recognise them.

    `layouts` are the sets of fields a row may have (the first is the hub's); a row must have all fields of one of them.
    `files` names further local files of a split, relative to the data folder and without `.jsonl[.gz]`: each entry is one
    alternative, and the rows of its files are concatenated.
    """

    name: str
    hub: HubData
    layouts: tuple[tuple[str, ...], ...]
    files: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)

    def places(self, split: str) -> tuple[tuple[str, ...], ...]:
        """The alternatives for a split, the usual `<name>/<split>` first."""
        theirs = self.hub.splits.get(split, split)
        usual = dict.fromkeys((f"{self.name}/{split}", f"{self.name}/{theirs}"))
        return tuple((place,) for place in usual) + self.files.get(split, ())


def load_rows(source: DataSource, split: str, data_dir: str | Path | None = None) -> list[dict[str, Any]]:
    """The rows of one split: from `<data_dir>/<name>/<split>.jsonl[.gz]` (or the hub's parquet files in that folder), the
    same under `LLM_MARL_DATA`, or the hub.

    If `data_dir` is given, no other place is tried. Raises DataError with the file, the line and what to do.
    """
    if data_dir is not None:
        return _rows_of_folder(Path(data_dir), source, split)
    shared = os.environ.get("LLM_MARL_DATA")
    if shared and any((Path(shared) / place).parent.is_dir() for places in source.places(split) for place in places):
        return _rows_of_folder(Path(shared), source, split)
    return _rows_of_hub(source, split)


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of every line of a `.jsonl[.gz]` file. Raises DataError for a line that is not UTF-8 or not JSON."""
    for number, line in _lines(path):
        where = f"{path} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as bad:
            raise DataError(f"{where} is not JSON ({bad}). Expected one object per line.") from None
        yield where, row


def _rows_of_folder(data_dir: Path, source: DataSource, split: str) -> list[dict[str, Any]]:
    for places in source.places(split):
        paths = [_file(data_dir / place) for place in places]
        if all(paths):
            rows = [_complete(where, row, source) for path in paths if path for where, row in read_jsonl(path)]
            break
    else:
        parquet = _parquet_files(data_dir, source, split)
        if not parquet:
            raise _absent(data_dir, source, split)
        paths, rows = list(parquet), [_complete(*row, source) for path in parquet for row in _rows_of_parquet(path)]
    if not rows:
        raise DataError(f"{paths[0]} has no rows; expected one JSON object per line with the fields {_fields(source)}.")
    return rows


def _file(stem: Path) -> Path | None:
    wanted = (stem.with_name(stem.name + ending) for ending in (".jsonl", ".jsonl.gz"))
    return next((p for p in wanted if p.is_file()), None)


def _absent(data_dir: Path, source: DataSource, split: str) -> DataError:
    folder = (data_dir / source.places(split)[0][0]).parent
    there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else None
    found = "that folder does not exist" if there is None else f"found {', '.join(there) or 'an empty folder'}"
    return DataError(
        f"no data for {source.name!r} split {split!r}: expected {data_dir / source.name / split}.jsonl or {split}.jsonl.gz; "
        f"{found}. Put the split there as JSON lines with the fields {_fields(source)}, or leave data_dir out to use the hub."
    )


def _fields(source: DataSource) -> str:
    return " (or ".join(", ".join(layout) for layout in source.layouts) + ")" * (len(source.layouts) - 1)


def _parquet_files(data_dir: Path, source: DataSource, split: str) -> Sequence[Path]:
    """The split's shards in a copy of the hub's repository: `<name>/[data/ or <config>/]<split>-00000-of-00001.parquet`."""
    theirs = source.hub.splits.get(split, split)
    for folder in (source.name, f"{source.name}/data", f"{source.name}/{source.hub.config}"):
        for pattern in (f"{theirs}-*.parquet", f"{theirs}.parquet"):
            if found := sorted((data_dir / folder).glob(pattern)):
                return found
    return ()


def _rows_of_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra(f"reading {path}", "data") from None
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as bad:
        raise DataError(f"{path} cannot be read: {str(bad)[:200]}. Fetch it again.") from None
    for number, row in enumerate(table.to_pylist()):
        yield f"{path} row {number}", row


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


def _complete(where: str, row: Any, source: DataSource) -> dict[str, Any]:
    if isinstance(row, dict) and any(all(f in row for f in layout) for layout in source.layouts):
        return row
    missing = [f for f in source.layouts[0] if not isinstance(row, dict) or f not in row]
    got = f"the fields {', '.join(row)}" if isinstance(row, dict) else type(row).__name__
    raise DataError(f"{where} lacks {', '.join(missing)}; it has {got}.")


def _rows_of_hub(source: DataSource, split: str) -> list[dict[str, Any]]:
    hub = source.hub
    try:
        from datasets import load_dataset
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise MissingExtra(
            f"loading {hub.repo} from the Hugging Face hub (unlike a local folder, given by data_dir or LLM_MARL_DATA)",
            "data",
        ) from None
    theirs = hub.splits.get(split, split)
    try:
        if theirs in hub.files:
            found = [
                hf_hub_download(hub.repo, f, repo_type="dataset", revision=hub.revision) for f in hub.files[theirs]
            ]
            rows = [row for path in found for _, row in read_jsonl(Path(path))]
        else:
            rows = load_dataset(hub.repo, hub.config, revision=hub.revision, split=theirs)
    except Exception as bad:  # the hub's client raises a dozen kinds; all mean the same to the user
        raise DataError(
            f"could not load {hub.repo} ({theirs}) from the Hugging Face hub: {type(bad).__name__}: {str(bad)[:200]}. "
            f"Go online, or put <folder>/{source.name}/{split}.jsonl[.gz] with the fields {_fields(source)} somewhere and "
            f"pass data_dir=<folder> or set LLM_MARL_DATA=<folder>."
        ) from None
    return [_complete(f"{hub.repo} ({theirs}) row {i}", dict(row), source) for i, row in enumerate(rows)]
