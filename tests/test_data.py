"""Data from a folder or the hub: read exactly, or refused with what was got, what was expected and what to do."""

from __future__ import annotations

import gzip
import json
import re
import sys
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from llm_marl_envs import make, make_task
from llm_marl_envs.data import DataSource, HubData, load_rows
from llm_marl_envs.errors import DataError, MissingExtra, UnknownName
from llm_marl_envs.tasks.gsm8k import GSM8K
from llm_marl_envs.testing import check_task

GOOD = {"question": "How many?", "answer": "Four.\n#### 4"}
FIELDS = ("question", "answer")


@pytest.fixture(autouse=True)
def no_shared_folder(monkeypatch):
    monkeypatch.delenv("LLM_MARL_DATA", raising=False)


def folder(tmp_path: Path, data: bytes | None, name: str = "train.jsonl") -> Path:
    (tmp_path / "gsm8k").mkdir()
    if data is not None:
        (tmp_path / "gsm8k" / name).write_bytes(data)
    return tmp_path


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def refusal(data_dir: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as bad:
        make_task("gsm8k", data_dir).problems(split)
    return str(bad.value)


# What is read.


def test_gsm8k_from_a_folder(gsm8k_dir):
    task = make_task("gsm8k", gsm8k_dir)
    train, test = task.problems("train"), task.problems("test")
    assert [p.gold for p in train] == [7, 60, 12, 2500, Fraction(11, 2)]
    assert [p.gold for p in test] == [10, -5, 7]
    assert [p.question.id for p in test] == ["gsm8k/test/0", "gsm8k/test/1", "gsm8k/test/2"]
    assert test[0].question.text == "A café owes 30 euros and pays back 40. What is its balance?"
    assert "\\boxed{}" in train[0].question.answer_format
    assert task.splits == ("train", "test")
    check_task(task)


def test_worked_solutions_are_right_answers(gsm8k_dir):
    task = make_task("gsm8k", gsm8k_dir)
    for split in task.splits:
        rows = task.rows(split)
        for problem, row in zip(task.problems(split), rows, strict=True):
            assert task.grade(problem, row["answer"]).value == 1.0
            assert task.grade(problem, row["answer"] + "1").value == 0.0


def test_gzipped_data_is_the_same(gsm8k_dir, tmp_path):
    plain = (gsm8k_dir / "gsm8k" / "train.jsonl").read_bytes()
    zipped = folder(tmp_path, gzip.compress(plain), "train.jsonl.gz")
    assert make_task("gsm8k", zipped).problems("train") == make_task("gsm8k", gsm8k_dir).problems("train")


def test_blank_lines_line_ends_and_further_fields_do_not_matter(tmp_path):
    data = b"\n" + lines(GOOD | {"source": "me"}).replace(b"\n", b"\r\n") + b"  \n" + lines(GOOD).rstrip()
    assert len(make_task("gsm8k", folder(tmp_path, data)).problems("train")) == 2


def test_the_shared_folder(gsm8k_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_MARL_DATA", str(gsm8k_dir))
    assert len(make_task("gsm8k").problems("test")) == 3
    other = folder(tmp_path, lines(GOOD), "test.jsonl")
    assert len(make_task("gsm8k", other).problems("test")) == 1, "an explicit folder comes first"
    assert "expected" in refusal(other, "train"), "and is never passed over in silence"
    monkeypatch.setenv("LLM_MARL_DATA", str(other))
    assert len(make_task("gsm8k").problems("test")) == 1


# What is refused. Each: what is in the folder, and what the message says.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has no rows; expected one JSON object per line with the fields question, answer"),
        (b"\n  \n", "has no rows"),
        (lines(GOOD, {"question": "How many?"}), "line 2 lacks answer; it has the fields question."),
        (lines({"frage": 1}), "line 1 lacks question, answer; it has the fields frage."),
        (lines(GOOD, [1, 2]), "line 2 lacks question, answer; it has list."),
        (lines(GOOD) + b"{'question': 1}\n", "line 2 is not JSON .*Expected one object per line"),
        (lines(GOOD) + b"\n" + lines(GOOD)[:20], "line 3 is not JSON"),
        (lines(GOOD) + b'{"question": "caf\xe9"}\n', r"line 2 is not UTF-8 .*byte 17\)\. Save it as UTF-8"),
        (lines(GOOD).decode().encode("utf-16"), "line 1 is not UTF-8"),
        (
            lines(GOOD, {"question": "How many?", "answer": "Four."}),
            "gsm8k/train/1: expected .*'#### <number>', got 'Four.'",
        ),
        (lines({"question": "How many?", "answer": "#### 4"}), "gsm8k/train/0: expected an answer that ends in '#### "),
        (lines({"question": "How many?", "answer": "x\n#### four"}), "gsm8k/train/0: expected .*got 'x.*four'"),
        (lines({"question": "How many?", "answer": "x\n#### 4 or 5"}), "gsm8k/train/0: expected"),
        (lines({"question": "How many?", "answer": 4}), "gsm8k/train/0: expected two texts, got"),
        (lines({"question": None, "answer": "x\n#### 4"}), "gsm8k/train/0: expected two texts, got"),
    ],
)
def test_broken_files(tmp_path, data, message):
    where = folder(tmp_path, data)
    assert re.search(message, refusal(where)), refusal(where)


@pytest.mark.parametrize("cut", ["torn", "damaged", "no gzip", "short"])
def test_broken_gzip(tmp_path, cut):
    whole = gzip.compress(b"".join(lines(GOOD | {"n": sha256(bytes([i])).hexdigest()}) for i in range(200)), mtime=0)
    damaged = whole[:10] + b"\x07" + whole[11:]  # a block of a kind that does not exist
    data = {"torn": whole[:-2000], "damaged": damaged, "no gzip": lines(GOOD), "short": whole[:4]}[cut]
    message = refusal(folder(tmp_path, data, "train.jsonl.gz"))
    assert "train.jsonl.gz cannot be read: " in message
    assert "Fetch or unpack it again" in message


def test_missing_folders(tmp_path):
    message = refusal(tmp_path / "nowhere")
    for part in (
        "no data for 'gsm8k' split 'train'",
        str(tmp_path / "nowhere" / "gsm8k" / "train.jsonl"),
        "or train.jsonl.gz",
        "that folder does not exist",
        "fields question, answer",
        "or leave data_dir out to use the hub",
    ):
        assert part in message
    assert "found an empty folder" in refusal(folder(tmp_path, None))
    (tmp_path / "gsm8k" / "valid.jsonl").write_bytes(lines(GOOD))
    assert "found valid.jsonl" in refusal(tmp_path)


def test_a_file_instead_of_a_folder(tmp_path):
    (tmp_path / "data").write_text("x")
    assert "that folder does not exist" in refusal(tmp_path / "data")


def test_unknown_splits_are_named(gsm8k_dir):
    with pytest.raises(UnknownName, match=r"no split of gsm8k 'validation'"):
        make_task("gsm8k", gsm8k_dir).problems("validation")
    with pytest.raises(UnknownName, match="no split of GSM8K 'dev'"):
        make("gsm8k/solo-v1", split="dev", data_dir=gsm8k_dir)


# The hub.


def test_the_hub_out_of_reach(monkeypatch):
    datasets = pytest.importorskip("datasets")

    def unreachable(*args, **kwargs):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(DataError) as bad:
        make_task("gsm8k").problems("train")
    for part in (
        "could not load openai/gsm8k (train) from the Hugging Face hub",
        "ConnectionError: Name or service not known",
        "Go online, or put <folder>/gsm8k/train.jsonl[.gz] with the fields question, answer",
        "pass data_dir=<folder> or set LLM_MARL_DATA=<folder>",
    ):
        assert part in str(bad.value)


def test_the_hub_is_asked_for_the_pinned_revision(monkeypatch):
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        return iter([GOOD])

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert load_rows(DataSource("gsm8k", HubData("me/mine", "main", "abc"), (FIELDS,)), "test") == [GOOD]
    assert asked == [(("me/mine", "main"), {"revision": "abc", "split": "test"})]
    assert len(GSM8K.card.source.hub.revision) == 40
    assert int(GSM8K.card.source.hub.revision, 16) > 0


def test_rows_of_the_hub_must_have_their_fields(monkeypatch):
    fake = SimpleNamespace(load_dataset=lambda *a, **k: iter([{"question": "How many?"}]))
    monkeypatch.setitem(sys.modules, "datasets", fake)
    with pytest.raises(DataError, match=r"openai/gsm8k.* row 0 lacks answer; it has the fields question"):
        make_task("gsm8k").problems("train")


def test_the_extra_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)  # what `import datasets` then raises is an ImportError
    with pytest.raises(
        MissingExtra, match=r"openai/gsm8k from the Hugging Face hub.*pip install 'llm-marl-envs\[data\]'"
    ):
        make_task("gsm8k").problems("train")
    with pytest.raises(ImportError):
        make("gsm8k/solo-v1").reset()
