"""Rows of data sets: from a local folder in the hub's layout, or from the Hugging Face hub at a pinned revision."""

from __future__ import annotations

import csv
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
    """Where a data set lives on the Hugging Face hub. `splits` maps our split names to the hub's where they differ. The rows of
    several configurations follow one another.

    `files` names a split's JSON-lines files where the repository has a loading script, which `datasets` no longer runs.
    """

    repo: str
    config: str | tuple[str, ...] | None
    revision: str
    splits: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def configs(self) -> tuple[str | None, ...]:
        return self.config if isinstance(self.config, tuple) else (self.config,)


@dataclass(frozen=True, slots=True)
class DataSource:
    """Everything needed to find a benchmark's rows and to recognise them.

    `layouts` are the sets of fields a row may have (the first is the hub's); a row must have all fields of one of them.
    `files` names further local files of a split, relative to the data folder and without `.jsonl[.gz]` or `.csv`: each entry is
    one alternative, and the rows of its files are concatenated.
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
    """The rows of one split: from `<data_dir>/<name>/<split>.jsonl[.gz]` (or the hub's csv or parquet files in that folder), the
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


def read_csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of every row of a `.csv` file with a header. Raises DataError for a file that is none."""
    row = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row, fields in enumerate(csv.DictReader(file, strict=True), 1):
                if None in fields or None in fields.values():
                    raise DataError(f"{path} row {row} has not as many fields as the header has names.")
                yield f"{path} row {row}", fields
    except (OSError, UnicodeDecodeError, csv.Error) as bad:
        raise DataError(f"{path} cannot be read after row {row}: {bad}. Save it as CSV in UTF-8.") from None


def _rows_of_folder(data_dir: Path, source: DataSource, split: str) -> list[dict[str, Any]]:
    for places in source.places(split):
        paths = [_file(data_dir / place) for place in places]
        if all(paths):
            rows = [_complete(where, row, source) for path in paths if path for where, row in _read(path)]
            break
    else:
        parquet = _parquet_files(data_dir, source, split)
        if not parquet:
            raise _absent(data_dir, source, split)
        paths, rows = list(parquet), [_complete(*row, source) for path in parquet for row in _rows_of_parquet(path)]
    if not rows:
        raise DataError(f"{paths[0]} has no rows; expected one JSON object per line with the fields {_fields(source)}.")
    return rows


def _read(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    return read_csv(path) if path.suffix == ".csv" else read_jsonl(path)


def _file(stem: Path) -> Path | None:
    wanted = (stem.with_name(stem.name + ending) for ending in (".jsonl", ".jsonl.gz", ".csv"))
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

    def shards(*folders: str) -> Sequence[Path]:
        patterns = (
            data_dir / folder / name for folder in folders for name in (f"{theirs}-*.parquet", f"{theirs}.parquet")
        )
        return next((found for p in patterns if (found := sorted(p.parent.glob(p.name)))), ())

    parts = [shards(f"{source.name}/{config}") for config in source.hub.configs]
    return shards(source.name, f"{source.name}/data") or (
        [path for part in parts for path in part] if all(parts) else ()
    )


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
            loaded = (load_dataset(hub.repo, c, revision=hub.revision, split=theirs) for c in hub.configs)
            rows = [row for part in loaded for row in part]
    except Exception as bad:  # the hub's client raises a dozen kinds; all mean the same to the user
        raise DataError(
            f"could not load {hub.repo} ({theirs}) from the Hugging Face hub: {type(bad).__name__}: {str(bad)[:200]}. "
            f"Go online, or put <folder>/{source.name}/{split}.jsonl[.gz] with the fields {_fields(source)} somewhere and "
            f"pass data_dir=<folder> or set LLM_MARL_DATA=<folder>."
        ) from None
    return [_complete(f"{hub.repo} ({theirs}) row {i}", dict(row), source) for i, row in enumerate(rows)]
