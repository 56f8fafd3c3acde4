"""Trace files: plain and gzipped, torn, damaged, on a full disk. What was written before stays readable."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from llm_marl_envs import Trace, TraceWriter, make, read_traces
from llm_marl_envs.errors import TraceError, WriteFailed
from llm_marl_envs.traces.files import TornTrace


def episode(i: int, text: str = "\\boxed{5} é\n") -> Trace:
    env = make("arithmetic/solo-v1", train_size=20)
    env.reset(seed=0, options={"problem": i})
    env.step(text)
    return env.trace(number=i)


def numbers(path: Path) -> list[int]:
    return [trace.meta["number"] for trace in read_traces(path)]


@pytest.fixture(params=["traces.jsonl", "traces.jsonl.gz"])
def path(request, tmp_path) -> Path:
    return tmp_path / "new" / "folder" / request.param


@pytest.fixture
def three(path) -> Path:
    with TraceWriter(path) as writer:
        for i in range(3):
            writer.write(episode(i))
        assert writer.written == 3
    return path


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def rewrite(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def damage(path: Path, line: int, to: bytes) -> None:
    lines = content(path).split(b"\n")
    lines[line - 1] = to
    rewrite(path, b"\n".join(lines))


def test_traces_come_back_in_order(three):
    assert [trace.to_json() for trace in read_traces(three)] == [episode(i).to_json() for i in range(3)]
    assert content(three).count(b"\n") == 3
    assert (three.read_bytes()[:2] == b"\x1f\x8b") == (three.suffix == ".gz")
    for trace in read_traces(str(three)):
        assert trace.session().answer == "\\boxed{5} é\n"


def test_appending(three):
    with TraceWriter(three) as writer:
        writer.write(episode(3))
        assert writer.written == 1
    assert numbers(three) == [0, 1, 2, 3]


def test_traces_can_be_read_while_they_are_written(path):
    with TraceWriter(path) as writer:
        writer.write(episode(0))
        writer.write(episode(1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TornTrace)
            assert numbers(path) == [0, 1]


def test_an_empty_file_and_blank_lines(path):
    with TraceWriter(path):
        pass
    assert numbers(path) == []
    line = episode(4).to_json().encode()
    rewrite(path, b"\n" + line + b"\n\n  \n" + line + b"\n")
    assert numbers(path) == [4, 4]


# Torn.


@pytest.mark.parametrize("cut", [1, 2, 40, 300])
def test_a_torn_last_line_costs_one_episode_and_says_so(three, cut):
    rewrite(three, content(three)[:-cut])
    with pytest.warns(TornTrace, match=r"traces\.jsonl.*the last line is incomplete; that one episode is lost"):
        assert numbers(three) == [0, 1]


def test_a_torn_gzip_stream_keeps_all_whole_lines(tmp_path):
    path = tmp_path / "t.jsonl.gz"
    with TraceWriter(path) as writer:
        ends = []
        for i in range(3):
            writer.write(episode(i))
            ends.append(path.stat().st_size)
    whole = path.read_bytes()
    for cut, kept in ((ends[2] - 20, [0, 1]), (ends[1] + 20, [0, 1]), (ends[1], [0, 1]), (ends[0] - 20, []), (5, [])):
        path.write_bytes(whole[:cut])
        with pytest.warns(TornTrace):
            assert numbers(path) == kept, cut
    path.write_bytes(whole[: ends[2]])
    with pytest.warns(TornTrace):
        assert numbers(path) == [0, 1, 2], "only the end mark is missing"


def test_appending_after_a_torn_line_mends(three):
    rewrite(three, content(three)[:-50])
    with TraceWriter(three) as writer:
        writer.write(episode(7))
    assert numbers(three) == [0, 1, 7]
    assert list(three.parent.iterdir()) == [three], "nothing is left beside it"


def test_appending_after_a_torn_gzip_stream_mends(tmp_path):
    path = tmp_path / "t.jsonl.gz"
    with TraceWriter(path) as writer:
        for i in range(3):
            writer.write(episode(i))
    path.write_bytes(path.read_bytes()[:-60])
    with TraceWriter(path) as writer:
        writer.write(episode(8))
    assert numbers(path) == [0, 1, 8]


def test_a_killed_writer_loses_nothing_that_was_written(path):
    code = (
        f"import os, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_trace_files import episode\nfrom llm_marl_envs import TraceWriter\n"
        f"writer = TraceWriter({str(path)!r})\n"
        "for i in range(3): writer.write(episode(i))\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornTrace)
        assert numbers(path) == [0, 1, 2]
    with TraceWriter(path) as writer:
        writer.write(episode(3))
    assert numbers(path) == [0, 1, 2, 3]


# Damaged.


def test_bytes_that_are_not_utf8_are_named_by_line(three):
    damage(three, 2, b'{"version": 1, "env": "\xff\xfe"}')
    with pytest.raises(TraceError, match=r"traces\.jsonl.* line 2 is not UTF-8 \(invalid start byte at byte 23\)"):
        numbers(three)


@pytest.mark.parametrize("junk", [b"{", b"{}", b"[1, 2]", b"hello", b'{"version": 2}', b"null"])
def test_a_damaged_line_is_named(three, junk):
    damage(three, 2, junk)
    with pytest.raises(TraceError, match=r"traces\.jsonl.* line 2: ") as bad:
        numbers(three)
    assert "\n" not in str(bad.value)


def test_what_stands_before_a_damaged_line_can_be_read(three):
    damage(three, 3, b"{")
    traces = read_traces(three)
    assert [next(traces).meta["number"], next(traces).meta["number"]] == [0, 1]
    with pytest.raises(TraceError, match="line 3"):
        next(traces)


def test_a_cut_in_the_middle_of_a_line_is_no_torn_end(three):
    lines = content(three).split(b"\n")
    rewrite(three, b"\n".join([lines[0], lines[1][:100] + lines[2], b""]))
    with pytest.raises(TraceError, match="line 2: not a trace"):
        numbers(three)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(
        TraceError, match=r"cannot read .*none\.jsonl: No such file .*Expected a file written by TraceWriter"
    ):
        list(read_traces(tmp_path / "none.jsonl"))
    with pytest.raises(TraceError, match="Is a directory"):
        list(read_traces(tmp_path))


def test_a_file_that_only_claims_to_be_gzipped_is_left_alone(tmp_path):
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(b"notes of mine\n")
    with pytest.raises(TraceError, match="Not a gzipped file"):
        list(read_traces(path))
    with pytest.raises(WriteFailed, match="Not a gzipped file"):
        TraceWriter(path)
    assert path.read_bytes() == b"notes of mine\n"


# Disks that are full, places that are closed.


class FullDisk:
    """A file on which the first `room` bytes of the next write still fit."""

    def __init__(self, file: Any, room: int, at: str):
        self.file, self.room, self.at = file, room, at

    def write(self, data: bytes) -> int:
        if self.at == "write":
            self.file.write(data[: self.room])
            self.file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data[: self.room])

    def flush(self) -> None:
        self.file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        self.file.close()


@pytest.mark.parametrize("room", [0, 100])
@pytest.mark.parametrize("at", ["write", "flush"])
def test_a_full_disk_is_named_and_loses_only_what_did_not_fit(path, monkeypatch, room, at):
    with TraceWriter(path) as writer:
        writer.write(episode(0))
        writer.write(episode(1))
        monkeypatch.setattr(writer, "_file", FullDisk(writer._file, room, at))
        with pytest.raises(WriteFailed) as bad:
            writer.write(episode(2))
    for part in (str(path), "No space left on device", "2 traces were written before and are safe", "free some space"):
        assert part in str(bad.value)
    assert bad.value.__cause__.errno == errno.ENOSPC
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornTrace)
        assert numbers(path) == [0, 1]
    with TraceWriter(path) as writer:
        writer.write(episode(2))
    assert numbers(path) == [0, 1, 2], "once there is space again, it goes on"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_device_that_is_really_full():
    writer = TraceWriter("/dev/full")
    with pytest.raises(WriteFailed, match="cannot write /dev/full: No space left on device"):
        writer.write(episode(0))
    with pytest.raises(WriteFailed, match="/dev/full"):
        writer.close()


def test_places_that_take_no_file(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "file" / "t.jsonl"):
        with pytest.raises(WriteFailed, match=r"cannot write .*choose another place") as bad:
            TraceWriter(place)
        assert str(place) in str(bad.value)
