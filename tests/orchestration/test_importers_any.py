"""Transcripts of any layout: the layout is recognised, bad files are reported, damaged records never raise."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcript_samples import END, MAIN, SIDE, WEATHER, claude_session, codex_session, item, read, said, write

from llm_marl_envs.errors import TranscriptError, UnknownName
from llm_marl_envs.orchestration.importers import LAYOUTS, sniff
from llm_marl_envs.orchestration.importers.records import read_source, seconds_of, text_of


def test_layouts_are_told_apart(tmp_path):
    assert sniff(read_source(write(tmp_path / "a.jsonl", *WEATHER))) == "openai"
    assert sniff(read_source(claude_session(tmp_path / "b", "in one file"))) == "claude_code"
    assert sniff(read_source(codex_session(tmp_path / "c"))) == "codex"


def test_bad_files_are_said(tmp_path):
    with pytest.raises(TranscriptError, match=r"cannot read .*none\.jsonl: No such file"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "text.jsonl").write_text("hello\nthere\n")
    with pytest.raises(TranscriptError, match="contains no JSON"):
        read(tmp_path / "text.jsonl")
    with pytest.raises(TranscriptError, match=r"not a transcript of a known layout\. Expected messages with role"):
        read(write(tmp_path / "other.jsonl", {"a": 1}, {"b": 2}))
    with pytest.raises(
        TranscriptError, match=r"nothing in .* was understood: none of its 2 records has the layout codex"
    ):
        read(write(tmp_path / "other.jsonl", {"a": 1}, {"b": 2}), "codex")
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(
            TranscriptError,
            match=r"no transcripts under .*none.*: .*contains no JSON|not a transcript of a known layout",
        ),
    ):
        read(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TranscriptError, match="no transcripts under"):
        read(tmp_path / "empty")
    with pytest.raises(UnknownName, match="no transcript layout 'codx'"):
        read(tmp_path / "other.jsonl", "codx")


def test_other_files_in_a_folder_are_left_out(tmp_path):
    write(tmp_path / "package.json", {"name": "x"})
    write(tmp_path / "weather.jsonl", *WEATHER)
    (tmp_path / "agent-x.meta.json").write_text('{"toolUseId": "t"}')
    with pytest.warns(UserWarning, match=r"left out: .*package\.json is not a transcript of a known layout") as warned:
        assert len(read(tmp_path)) == 1
    assert len(warned) == 1


def test_times_and_texts():
    assert seconds_of("2026-03-01T10:00:00Z") == seconds_of("2026-03-01T11:00:00+01:00") == seconds_of(1772359200)
    assert seconds_of(1772359200000) == 1772359200.0
    assert [seconds_of(odd) for odd in ("soon", None, True, -1, [], float("nan"), 1e300)] == [None] * 7
    assert text_of(["a", {"type": "text", "text": "b"}, {"type": "image", "source": {}}, 3]) == "a\nb\n[image]"
    assert text_of(None) == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "text", "content", "name", "input", "usage", "a"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
FIELDS = {
    "openai": [
        "role",
        "content",
        "tool_calls",
        "tool_call_id",
        "name",
        "function_call",
        "created_at",
        "usage",
        "type",
        "call_id",
        "output",
    ],
    "claude_code": [
        "type",
        "message",
        "uuid",
        "parentUuid",
        "timestamp",
        "isSidechain",
        "agentId",
        "toolUseResult",
        "sessionId",
    ],
    "codex": ["type", "payload", "timestamp", "call_id", "arguments"],
}
SAMPLES = {"openai": WEATHER, "claude_code": [*MAIN, *SIDE[0], *END], "codex": [said(1, "user", "x"), item(2, "function_call", name="spawn_agent", arguments="{}", call_id="s"), item(3, "function_call_output", call_id="s", output="{}"), said(4, "assistant", "y")]}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_records_never_raise(layout, tmp_path_factory, data):
    """Any field of any record may hold anything: what is understood is valid, the rest is counted."""
    records = json.loads(json.dumps(SAMPLES[layout]))
    for _ in range(data.draw(st.integers(1, 4))):
        record = data.draw(st.sampled_from(records))
        inside = record.get("message") or record.get("payload")
        place = inside if isinstance(inside, dict) and data.draw(st.booleans()) else record
        place[data.draw(st.sampled_from([*FIELDS[layout], *place]))] = data.draw(json_values)
    path = tmp_path_factory.mktemp("damaged") / "log.jsonl"
    write(path, *records)
    with contextlib.suppress(TranscriptError):
        read(path, layout)
