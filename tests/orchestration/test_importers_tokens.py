"""Tokens of imported sessions are counted once: Codex's running totals, Claude Code's repeated usage, files that repeat others."""

from __future__ import annotations

import json

from transcript_samples import at, claude, codex, item, read, result, said, task, write

from llm_marl_envs.orchestration.importers import read_transcripts
from llm_marl_envs.orchestration.importers.codex_usage import Meter
from llm_marl_envs.orchestration.importers.records import Skipped, tokens_of


def tokens(view: dict) -> list[tuple[int, int]]:
    return [(e["prompt_tokens"], e["reply_tokens"]) for e in view["events"] if "reply_tokens" in e]


def counted(second: float, total: object, last: object = None, **more) -> dict:
    def usage(given):
        if not isinstance(given, tuple):
            return given
        read, written = given
        return {"input_tokens": read, "cached_input_tokens": read // 2, "output_tokens": written, "reasoning_output_tokens": written // 2, "total_tokens": read + written}  # fmt: skip

    info = {"total_token_usage": usage(total), "last_token_usage": usage(last), "model_context_window": 1000}
    return codex(second, "event_msg", type="token_count", info=info, **more)


META = codex(0, "session_meta", id="t-1", source="cli")
IDLE = codex(9, "event_msg", type="token_count", info=None, rate_limits={"primary": {"used_percent": 3.0}})

# name -> (counts after the reply of each turn, tokens of each turn)
THREADS = {
    "growing totals": ([[counted(1, (100, 10), (100, 10))], [counted(2, (250, 30), (150, 20))]], [(100, 10), (150, 20)]),
    "said again at the end of a turn": (
        [[counted(1, (100, 10), (100, 10)), counted(1.5, (100, 10), (100, 10))], [counted(2, (250, 30), (150, 20))]],
        [(100, 10), (150, 20)],
    ),
    "said again after a resume": (
        [[counted(1, (100, 10), (100, 10))], [META, counted(1.9, (100, 10), (100, 10)), counted(2, (250, 30), (150, 20))]],
        [(100, 10), (150, 20)],
    ),
    "said again with other limits": (
        [[counted(1, (100, 10), (100, 10), rate_limits={"a": 1}), counted(1.1, (100, 10), (100, 10), rate_limits={"a": 2})]],
        [(100, 10)],
    ),
    "limits alone": ([[IDLE, counted(1, (100, 10), (100, 10)), IDLE]], [(100, 10)]),
    "no last": ([[counted(1, (100, 10))], [counted(2, (250, 30)), counted(2.1, (250, 30))]], [(100, 10), (150, 20)]),
    "no total": ([[counted(1, None, (100, 10))], [counted(2, None, (150, 20))]], [(100, 10), (150, 20)]),
    "a total that begins again": (
        [[counted(1, (100, 10), (100, 10))], [counted(2, (250, 30), (150, 20))], [counted(3, (40, 5), (40, 5))], [counted(4, (90, 9), (50, 4))]],
        [(100, 10), (150, 20), (40, 5), (50, 4)],
    ),
    "a total that begins again, without last": ([[counted(1, (100, 10))], [counted(2, (40, 5))]], [(100, 10), (40, 5)]),
    "a total that begins again higher": (
        [[counted(1, (100, 10), (100, 10))], [counted(2, (140, 30), (140, 30))]], [(100, 10), (140, 30)]
    ),
    "the same total again after a compaction": (
        [[counted(1, (100, 10), (100, 10))], [counted(2, (250, 30), (150, 20))], [codex(2.5, "compacted", message="so far"), counted(3, (100, 10), (100, 10))]],
        [(100, 10), (150, 20), (100, 10)],
    ),
    "a compaction's estimate": (
        [[counted(1, (100, 10), (100, 10))], [counted(2, (100, 10), {"total_tokens": 70}), counted(2.5, (130, 12), (30, 2))]],
        [(100, 10), (30, 2)],
    ),
    "an old count out of order": (
        [[counted(1, (100, 10), (100, 10))], [counted(2, (250, 30), (150, 20))], [counted(2.5, (100, 10), (100, 10)), counted(3, (300, 33), (50, 3))]],
        [(100, 10), (150, 20), (50, 3)],
    ),
    "a count that is lost": ([[counted(2, (250, 30), (150, 20))]], [(250, 30)]),
    "several counts for one reply": (
        [[counted(1, (100, 10), (100, 10)), counted(1.5, (250, 30), (150, 20))]], [(250, 30)]
    ),
}  # fmt: skip


def test_codex_totals_are_counted_once(tmp_path):
    for name, (turns, expected) in THREADS.items():
        records = [META, said(0.5, "user", "Go.")]
        for i, counts in enumerate(turns):
            records += [said(i + 0.9, "assistant", f"Turn {i}."), *counts]
        (view,) = read(write(tmp_path / f"{name}.jsonl", *records))
        assert tokens(view) == expected, name
        assert view["costs"]["tokens"] == sum(map(sum, expected)), name
        assert "skipped" not in view["events"][0], name


def test_counts_that_cannot_be_are_noted():
    skipped = Skipped()
    meter = Meter(skipped)
    odd = [counted(1, "many"), counted(1, {"input_tokens": -5, "output_tokens": 1}), counted(1, {"input_tokens": "9"}), counted(1, {"input_tokens": True}), codex(1, "event_msg", type="token_count", info=7)]  # fmt: skip
    assert [meter.read(record) for record in odd] == [(0, 0), (0, 1), (0, 0), (0, 0), (0, 0)]
    assert skipped == {"ill-typed field usage": 4, "ill-typed field info": 1}


def test_tokens_before_any_word_go_with_the_first(tmp_path):
    """A reply of reasoning alone has tokens and no event."""
    log = [META, said(0, "user", "Go."), item(1, "reasoning", summary=[]), counted(1, (50, 5), (50, 5)), said(2, "assistant", "Done."), counted(2, (110, 12), (60, 7))]  # fmt: skip
    (view,) = read(write(tmp_path / "a.jsonl", *log))
    assert tokens(view) == [(110, 12)]
    (view,) = read(write(tmp_path / "b.jsonl", *log[:4]))
    assert view["events"][0]["skipped"] == {"usage of a thread without words": 1}


def test_a_printed_stream_counts_totals_of_the_thread(tmp_path):
    """As measured of three turns on one thread: 16504, 85681, 103779 tokens in, 20, 40, 45 out."""
    stream = [{"type": "thread.started", "thread_id": "a"}]
    for i, (read_, written) in enumerate([(16504, 20), (85681, 40), (103779, 45)]):
        stream += [{"type": "item.completed", "item": {"id": f"i{i}", "type": "agent_message", "text": "one"}}]
        stream += [{"type": "turn.completed", "usage": {"input_tokens": read_, "cached_input_tokens": 9, "output_tokens": written}}]  # fmt: skip
    (view,) = read(write(tmp_path / "exec.jsonl", *stream))
    assert tokens(view) == [(16504, 20), (69177, 20), (18098, 5)]


def test_a_forked_thread_counts_what_is_its_own(tmp_path):
    """Its file begins with its parent's records, with other times."""
    parent = [META, said(1, "user", "Go."), said(2, "assistant", "Gone."), counted(2, (100, 10), (100, 10))]
    copied = [record | {"timestamp": at(30)} for record in parent]
    own = [said(31, "user", "And back."), said(32, "assistant", "Back."), counted(32, (250, 30), (150, 20))]
    fork = codex(30, "session_meta", id="t-2", forked_from_id="t-1", source="cli")
    write(tmp_path / "rollout-1.jsonl", *parent)
    path = write(tmp_path / "rollout-2.jsonl", fork, *copied, *own)
    views = read(tmp_path)
    assert [view["task_id"] for view in views] == ["t-1", "t-2"]
    assert [view["costs"]["tokens"] for view in views] == [110, 170]
    assert [e["text"] for e in views[1]["events"]] == ["And back.", "Back."]
    assert views[1]["events"][0]["repeated"] == 4
    (alone,) = read(path)
    assert alone["costs"]["tokens"] == 280, "alone, the whole thread is its conversation"
    path = write(tmp_path / "other" / "rollout-2.jsonl", fork, *own)  # a total that its parent began
    assert read(path)[0]["costs"]["tokens"] == 170


def test_a_helper_that_was_forked_counts_what_is_its_own(tmp_path):
    parent = [
        META, said(1, "user", "Go."), said(2, "assistant", "I ask."), counted(2, (100, 10), (100, 10)),
        item(3, "function_call", name="spawn_agent", arguments='{"message": "Look."}', call_id="s"),
        item(3.1, "function_call_output", call_id="s", output='{"agent_id": "t-9"}'),
    ]  # fmt: skip
    spawn = {"subagent": {"thread_spawn": {"parent_thread_id": "t-1"}}}
    child = [codex(4, "session_meta", id="t-9", source=spawn), META, *parent[1:4], said(4, "user", "Look."), said(5, "assistant", "Seen."), counted(5, (130, 14), (30, 4))]  # fmt: skip
    write(tmp_path / "rollout-9.jsonl", *child)
    (view,) = read(write(tmp_path / "rollout-1.jsonl", *parent))
    assert tokens(view) == [(100, 10), (30, 4)]


# Claude Code.


def message(second: float, uuid: str, id: str, block: dict, written: object, **more) -> dict:
    record = claude("assistant", second, [block], uuid, None, id, **more)
    record["message"]["usage"] = {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 1, "output_tokens": written}  # fmt: skip
    return record


TEXT = {"type": "text", "text": "Hm."}
READ = {"type": "tool_use", "id": "r", "name": "Read", "input": {}}


def test_the_last_usage_of_a_message_counts(tmp_path):
    """Also where records of other messages and of a helper stand between, and after what is read of its words."""
    side = message(3, "s1", "m9", TEXT, 3, isSidechain=True, agentId="x")
    log = [
        claude("user", 0, "Go.", "u1"), message(1, "a1", "m1", TEXT, 1), message(2, "b1", "m2", {"type": "text", "text": "Other."}, 2),
        side, message(4, "a2", "m1", READ, 50), message(5, "a3", "m1", {"type": "thinking", "thinking": "x"}, 61),
        claude("user", 6, result("r", "ok"), "u2"),
    ]  # fmt: skip
    (view,) = read(write(tmp_path / "s.jsonl", *log))
    assert tokens(view) == [(16, 61), (16, 2), (16, 3)]
    assert view["costs"]["calls"] == 3


def test_a_message_of_thinking_alone_keeps_its_tokens(tmp_path):
    think = message(1, "a1", "m1", {"type": "thinking", "thinking": "x"}, 40)
    (view,) = read(write(tmp_path / "s.jsonl", claude("user", 0, "Go.", "u1"), think, message(2, "a2", "m2", TEXT, 2)))
    assert tokens(view) == [(32, 42)]
    (view,) = read(write(tmp_path / "t.jsonl", claude("user", 0, "Go.", "u1"), think))
    assert view["events"][0]["skipped"] == {"usage of a message without words": 1}


def test_odd_usage_is_noted(tmp_path):
    log = [claude("user", 0, "Go.", "u1"), message(1, "a1", "m1", TEXT, -4), message(2, "a2", "m2", TEXT, "7")]
    bad = message(3, "a3", "m3", TEXT, 1)
    bad["message"]["usage"] = "lots"
    (view,) = read(write(tmp_path / "s.jsonl", *log, bad))
    assert tokens(view) == [(16, 0), (16, 0)]
    assert view["events"][0]["skipped"] == {"ill-typed field usage": 3}


def session(folder, name: str, *records: dict):
    return write(folder / f"{name}.jsonl", *records)


FIRST = [claude("user", 0, "Go.", "u1"), message(1, "a1", "m1", TEXT, 7), claude("user", 2, "More.", "u2")]
LATER = [message(11, "a2", "m2", {"type": "text", "text": "More."}, 9), claude("user", 12, "Enough.", "u3")]


def test_a_resumed_session_repeats_nothing(tmp_path):
    """Its file begins with the records of the first, with another session's id; a later version gives them new uuids."""
    for how in ("the same uuids", "new uuids"):
        folder = tmp_path / how
        copied = [record | {"sessionId": "s-2"} for record in FIRST]
        if how == "new uuids":
            copied = [record | {"uuid": f"new-{i}"} for i, record in enumerate(copied)]
        resumed = session(folder, "a-resumed", *copied, *LATER)
        first = session(folder, "b-first", *FIRST)
        views = read(folder)
        assert [view["costs"]["tokens"] for view in views] == [23, 25], how
        assert [[e["text"] for e in view["events"]] for view in views] == [
            ["Go.", "Hm.", "More."],
            ["More.", "Enough."],
        ]
        assert views[1]["events"][0]["repeated"] == 3
        assert [v["costs"]["tokens"] for v in read_transcripts([first, resumed])] == [23, 25], "as files, too"
        assert read(resumed)[0]["costs"]["tokens"] == 48, "alone, it is the whole conversation"


def test_a_record_that_is_written_twice_counts_once(tmp_path):
    twice = [*FIRST[:2], FIRST[1], FIRST[2], FIRST[0]]
    (view,) = read(session(tmp_path, "s", *twice))
    assert [e["text"] for e in view["events"]] == ["Go.", "Hm.", "More."]
    assert view["events"][0]["repeated"] == 2
    other = FIRST[1] | {"message": FIRST[1]["message"] | {"content": [{"type": "text", "text": "Else."}]}}
    (view,) = read(session(tmp_path, "s", *FIRST[:2], other))
    assert [e["text"] for e in view["events"]] == ["Go.", "Hm.", "Else."], "one id, two contents: both are kept"


def test_helpers_with_one_prompt_are_two(tmp_path):
    log = [claude("assistant", 1, [task("t1", "Look."), task("t2", "Look.")], "a1", None, "m1")]
    for name in "ab":
        log += [
            claude("user", 2, "Look.", f"{name}0", isSidechain=True),
            claude("assistant", 3, [{"type": "text", "text": f"Seen {name}."}], f"{name}1", f"{name}0", isSidechain=True),
        ]  # fmt: skip
    log += [claude("user", 4, result("t1", "x"), "u1"), claude("user", 5, result("t2", "y"), "u2")]
    (view,) = read(write(tmp_path / "s.jsonl", *log))
    assert [(e["agent"], e["text"]) for e in view["events"] if e["type"] == "return"] == [
        ("Explore_0", "Seen a."), ("Explore_1", "Seen b."),
    ]  # fmt: skip


def test_what_counts_include():
    """OpenAI's cached and reasoning tokens are parts of its counts; Anthropic's cache stands beside them."""
    openai = {"prompt_tokens": 90, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 80}, "completion_tokens_details": {"reasoning_tokens": 5}}  # fmt: skip
    anthropic = {
        "input_tokens": 10,
        "cache_read_input_tokens": 80,
        "cache_creation_input_tokens": 3,
        "output_tokens": 9,
    }
    both = {"prompt_tokens": 90, "input_tokens": 90, "completion_tokens": 9, "output_tokens": 9}
    skipped = Skipped()
    assert [tokens_of(usage, skipped) for usage in (openai, anthropic, both)] == [(90, 9), (93, 9), (90, 9)]
    assert json.dumps(skipped) == "{}"
