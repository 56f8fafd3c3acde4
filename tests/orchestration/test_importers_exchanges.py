"""Logs of model APIs: what is kept of requests and responses, replies that were not chosen, event streams."""

from __future__ import annotations

import json

from transcript_samples import WEATHER, edges, read, shape, write

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]


def choices(*texts: object, **more) -> dict:
    made = [
        {"index": i, "finish_reason": "stop", "message": text if isinstance(text, dict) else {"role": "assistant", "content": text, "refusal": None}}
        for i, text in enumerate(texts)
    ]  # fmt: skip
    return {"object": "chat.completion", "choices": made, "usage": {"prompt_tokens": 20, "completion_tokens": 3}} | more


def said(view: dict) -> list[tuple[str, str]]:
    return [(e["agent"], e["text"]) for e in view["events"] if "text" in e]


def test_system_messages_are_kept(tmp_path):
    """As the prompt of the agent's next event, wherever they stand and whatever the API calls them."""
    later = [
        *ASKED,
        {"role": "assistant", "content": "4."},
        {"role": "developer", "content": [{"type": "input_text", "text": "In words."}]},
    ]
    anthropic = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "4."}], "usage": {}}
    logs = {
        "messages": {"messages": [*later, {"role": "assistant", "content": "Four."}]},
        "system beside": {"request": {"system": "Be brief.", "messages": ASKED[1:]}, "response": anthropic},
        "system in parts": {"system": [{"type": "text", "text": "Be brief.", "cache_control": {}}], "messages": ASKED[1:], "response": anthropic},
        "instructions": {"instructions": "Be brief.", "input": "2 + 2?", "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4."}]}]},
    }  # fmt: skip
    for name, log in logs.items():
        (view,) = read(write(tmp_path / f"{name}.json", log))
        assert [e["prompt"] for e in view["events"] if "prompt" in e] == ["Be brief.", "In words."][
            : 1 + (name == "messages")
        ], name
        assert said(view)[:2] == [("user", "2 + 2?"), ("assistant", "4.")], name
        assert view["metrics"]["records_skipped"] == 0, name
    (view,) = read(write(tmp_path / "last.json", {"messages": later}))
    assert shape(view)[-1] == ("message", "system", "assistant"), "nobody spoke after it"
    assert said(view)[-1] == ("system", "In words.")
    group = [
        ASKED[0],
        {"role": "assistant", "name": "a", "content": "x"},
        {"role": "assistant", "name": "b", "content": "y"},
    ]
    (view,) = read(write(tmp_path / "group.json", {"messages": group}))
    assert [e.get("prompt") for e in view["events"]] == ["Be brief.", "Be brief."], "each agent was told"


REFUSALS = {
    "field": choices({"role": "assistant", "content": None, "refusal": "I will not."}),
    "part": choices({"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]}),
    "filter": choices("I will not.") | {"choices": [{"message": {"role": "assistant", "content": "I will not."}, "finish_reason": "content_filter"}]},
    "stop reason": {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "I will not."}], "stop_reason": "refusal"},
    "item": {"output": [{"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]}]},
}  # fmt: skip


def test_refusals_are_kept(tmp_path):
    for name, response in REFUSALS.items():
        (view,) = read(write(tmp_path / f"{name}.json", {"messages": ASKED, "response": response}))
        assert [(e["text"], e["refused"]) for e in view["events"][1:]] == [("I will not.", True)], name
        assert view["metrics"]["records_skipped"] == 0, name
    empty = {"type": "message", "role": "assistant", "content": [], "stop_reason": "refusal"}
    (view,) = read(write(tmp_path / "empty.json", {"messages": ASKED, "response": empty}))
    assert view["events"][-1]["refused"] is True
    (view,) = read(write(tmp_path / "list.json", [*ASKED, {"role": "assistant", "content": None, "refusal": "No."}]))
    assert (view["events"][-1]["text"], view["events"][-1]["refused"]) == ("No.", True)
    (view,) = read(write(tmp_path / "fine.json", {"messages": ASKED, "response": choices("4.")}))
    assert "refused" not in view["events"][-1]


CITY = {"city": "Oslo"}
TOOLS = {
    "anthropic": [
        {"role": "user", "content": "Warm?"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "I look."}, {"type": "tool_use", "id": "c", "name": "weather", "input": CITY}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "broken"}], "is_error": True}]},
        {"role": "assistant", "content": "No."},
    ],
    "chat": [
        {"role": "user", "content": "Warm?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "weather", "arguments": json.dumps(CITY)}}]},
        {"role": "tool", "tool_call_id": "c", "content": "broken", "status": "error"},
        {"role": "assistant", "content": "No."},
    ],
    "legacy": [
        {"role": "user", "content": "Warm?"},
        {"role": "assistant", "content": "I look.", "function_call": {"name": "weather", "arguments": json.dumps(CITY)}},
        {"role": "function", "name": "weather", "content": "broken", "is_error": True},
        {"role": "assistant", "content": "No."},
    ],
    "items": [
        {"role": "user", "content": "Warm?"}, {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": json.dumps(CITY)},
        {"type": "function_call_output", "call_id": "c", "output": "broken", "status": "failed"}, {"role": "assistant", "content": "No."},
    ],
    "without ids": [
        {"role": "user", "content": "Warm?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [{"function": {"name": "weather", "arguments": CITY}}]},
        {"role": "tool", "content": "broken", "is_error": True}, {"role": "assistant", "content": "No."},
    ],
    "ids of calls alone": [
        {"role": "user", "content": "Warm?"},
        {"role": "assistant", "content": "I look.", "tool_calls": [{"id": "c", "function": {"name": "weather", "arguments": CITY}}]},
        {"role": "tool", "content": "broken", "is_error": True}, {"role": "assistant", "content": "No."},
    ],
    "the sdk's parts": [
        {"role": "user", "content": "Warm?"},
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, {"type": "tool-call", "toolCallId": "c", "toolName": "weather", "input": CITY}]},
        {"role": "user", "content": [{"type": "tool-result", "toolCallId": "c", "result": "broken", "is_error": True}]}, {"role": "assistant", "content": "No."},
    ],
}  # fmt: skip


def test_blocks_are_tools(tmp_path):
    for name, messages in TOOLS.items():
        for log in (messages, {"messages": messages}):
            (view,) = read(write(tmp_path / f"{name}.json", log))
            assert shape(view) == [
                ("message", "user", "assistant"), ("message", "assistant"), ("tool_call", "assistant"), ("tool_result", "assistant"), ("message", "assistant"),
            ], name  # fmt: skip
            call, found = view["events"][2:4]
            assert (call["tool"], call["args"]) == ("weather", CITY), name
            assert (found["tool"], found["text"], found["worked"]) == ("weather", "broken", 0.0), name
            assert edges(view) >= {("e2", "e3", "tool_dependency"), ("e3", "e4", "tool_dependency")}, name
            assert view["metrics"]["records_skipped"] == 0, name


def test_a_persons_words_beside_results(tmp_path):
    both = [
        {"type": "tool_result", "tool_use_id": "c", "content": "3"},
        {"type": "text", "text": "Hurry."},
        {"type": "image", "source": {}},
    ]
    (view,) = read(
        write(tmp_path / "a.json", {"messages": [*TOOLS["anthropic"][:2], {"role": "user", "content": both}]})
    )
    assert [(e["type"], e["text"]) for e in view["events"][3:]] == [
        ("tool_result", "3"),
        ("human_intervention", "Hurry.\n[image]"),
    ]


def test_tools_of_the_servers_own(tmp_path):
    used = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "Oslo"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "text", "text": "cold"}]}, {"type": "text", "text": "No."},
    ]  # fmt: skip
    (view,) = read(
        write(
            tmp_path / "a.json",
            {"messages": ASKED, "response": {"type": "message", "role": "assistant", "content": used}},
        )
    )
    assert [t for t, *_ in shape(view)] == ["message", "tool_call", "tool_result", "message"]
    items = [
        {"type": "web_search_call", "id": "w", "action": {"query": "Oslo"}},
        {"type": "mcp_call", "id": "m", "name": "look", "arguments": "{}", "output": "seen"},
    ]
    (view,) = read(
        write(tmp_path / "b.json", {"input": ASKED, "output": [*items, {"role": "assistant", "content": "No."}]})
    )
    assert [(e["type"], e["tool"]) for e in view["events"][1:-1]] == [("tool_call", "web_search"), ("tool_call", "look"), ("tool_result", "look")]  # fmt: skip


# Several replies to one request.


def alternatives(view: dict) -> list[tuple[str, list[str]]]:
    return [(e["text"], e.get("alternatives", [])) for e in view["events"] if e["agent"] == "assistant"]


def test_the_first_reply_is_chosen_where_nothing_follows(tmp_path):
    (view,) = read(write(tmp_path / "a.json", {"messages": ASKED, "response": choices("4.", "5.", "Four.")}))
    assert alternatives(view) == [("4.", ["5.", "Four."])]
    assert (view["costs"]["calls"], view["costs"]["tokens"], view["costs"]["messages"]) == (1, 23, 2)
    shuffled = choices("4.", "5.")
    shuffled["choices"].reverse()
    (view,) = read(write(tmp_path / "b.json", {"messages": ASKED} | shuffled))
    assert alternatives(view) == [("4.", ["5."])]


def test_what_the_conversation_went_on_with_is_chosen(tmp_path):
    """One conversation, though each request repeats it; tokens of each exchange count once."""
    again = {"role": "user", "content": "Sure?"}
    log = [
        {"messages": ASKED, "response": choices("4.", "5.", "Four.")},
        {"messages": [*ASKED, {"role": "assistant", "content": "5."}, again], "response": choices("No.", "Yes.")},
        {"messages": [*ASKED, {"role": "assistant", "content": "5."}, again, {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]}, again], "response": choices("Yes!")},
    ]  # fmt: skip
    (view,) = read(write(tmp_path / "a.jsonl", *log))
    assert said(view) == [("user", "2 + 2?"), ("assistant", "5."), ("user", "Sure?"), ("assistant", "Yes."), ("user", "Sure?"), ("assistant", "Yes!")]  # fmt: skip
    assert [a for _, a in alternatives(view)] == [["4.", "Four."], ["No."], []]
    assert view["costs"]["tokens"] == 69


def test_a_request_that_has_its_own_reply(tmp_path):
    """Some loggers write the messages after the reply was added to them."""
    log = {"messages": [*ASKED, {"role": "assistant", "content": "5."}], "response": choices("4.", "5.")}
    (view,) = read(write(tmp_path / "a.json", log))
    assert alternatives(view) == [("5.", ["4."])]


def test_alternatives_may_be_calls(tmp_path):
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "function": {"name": "add", "arguments": "{}"}}],
    }
    log = [
        {"messages": ASKED, "response": choices("4.", call)},
        {
            "messages": [*ASKED, call, {"role": "tool", "tool_call_id": "c", "content": "4"}],
            "response": choices("It is 4."),
        },
    ]
    (view,) = read(write(tmp_path / "a.jsonl", *log))
    assert [t for t, *_ in shape(view)] == ["message", "tool_call", "tool_result", "message"]
    assert view["events"][1]["alternatives"] == ["4."]
    (view,) = read(write(tmp_path / "b.jsonl", log[0]))
    assert alternatives(view) == [("4.", ['{"name": "add", "arguments": "{}"}'])]


def test_conversations_that_only_begin_alike_stay_apart(tmp_path):
    """The same question twice, and a conversation that goes on with what no reply said."""
    other = {
        "messages": [*ASKED, {"role": "assistant", "content": "6."}, {"role": "user", "content": "?"}],
        "response": choices("x"),
    }
    views = read(write(tmp_path / "a.jsonl", {"messages": ASKED, "response": choices("4.")}, {"messages": ASKED, "response": choices("5.")}, other))  # fmt: skip
    assert [view["costs"]["calls"] for view in views] == [1, 1, 2]
    assert len(read(write(tmp_path / "b.jsonl", {"messages": WEATHER}, {"messages": [*WEATHER, WEATHER[1]]}))) == 2


def test_two_conversations_in_turns(tmp_path):
    def ask(what: str, *more: dict) -> list[dict]:
        return [{"role": "user", "content": what}, *more]

    log = []
    for turn in range(3):
        for what in "ab":
            past = [
                m
                for i in range(turn)
                for m in ({"role": "assistant", "content": f"{what}{i}"}, {"role": "user", "content": "Go on."})
            ]
            log.append({"messages": ask(what, *past), "response": choices(f"{what}{turn}", "other")})
    views = read(write(tmp_path / "a.jsonl", *log))
    assert [[text for agent, text in said(view) if agent == "assistant"] for view in views] == [
        ["a0", "a1", "a2"],
        ["b0", "b1", "b2"],
    ]


def test_shapes_of_records(tmp_path):
    """Where loggers put requests and responses."""
    request = {"model": "m", "messages": ASKED, "n": 1}
    anthropic = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "4."}],
        "usage": {"input_tokens": 20, "output_tokens": 3},
    }
    for number, record in enumerate([
        request | {"response": choices("4.")}, request | choices("4."), {"request": request, "response": choices("4.")},
        {"body": request, "response": {"status_code": 200, "body": choices("4.")}}, {"kwargs": request, "response": anthropic},
        {"input": request, "output": choices("4.")}, {"request": json.dumps(request), "response": json.dumps(choices("4."))},
        {"prompt": "2 + 2?", "choices": [{"text": "4.", "index": 0}], "usage": {"prompt_tokens": 20, "completion_tokens": 3}},
        {"input": "2 + 2?", "response": {"object": "response", "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4."}]}], "usage": {"input_tokens": 20, "output_tokens": 3}}},
    ]):  # fmt: skip
        (view,) = read(write(tmp_path / f"{number}.jsonl", record))
        assert said(view) == [("user", "2 + 2?"), ("assistant", "4.")], record
        assert (view["costs"]["tokens"], view["metrics"]["records_skipped"]) == (23, 0), record
    (view,) = read(write(tmp_path / "alone.jsonl", choices("4.")))
    assert said(view) == [("assistant", "4.")], "a response without its request"
    (view,) = read(
        write(tmp_path / "line.jsonl", *ASKED, choices("4.", "5."), ASKED[1], anthropic | {"stop_reason": "end_turn"})
    )
    assert said(view) == [("user", "2 + 2?"), ("assistant", "4."), ("user", "2 + 2?"), ("assistant", "4.")]
    assert alternatives(view)[0] == ("4.", ["5."])
    assert len(read(write(tmp_path / "batch.jsonl", choices("4."), choices("5.")))) == 2


# Event streams.


def chunk(delta: dict, index: int = 0, **more) -> dict:
    return {"id": "x", "object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta}]} | more


def test_chunks_are_one_response(tmp_path):
    pieces = [
        chunk({"role": "assistant", "content": ""}), chunk({"content": "I "}), chunk({"content": "Or "}, 1), chunk({"content": "look."}), chunk({"content": "not."}, 1),
        chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "weather", "arguments": '{"ci'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": 'ty": "Oslo"}'}}]}),
        {"id": "x", "object": "chat.completion.chunk", "choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 3}},
    ]  # fmt: skip
    (view,) = read(write(tmp_path / "a.jsonl", *pieces))
    assert (view["events"][0]["text"], view["events"][0]["alternatives"], view["events"][1]["args"]) == (
        "I look.",
        ["Or not."],
        CITY,
    )
    assert view["costs"]["tokens"] == 23
    (tmp_path / "sse.jsonl").write_text(
        "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n"
    )
    (same,) = read(tmp_path / "sse.jsonl")
    assert (same["events"][1]["args"], same["metrics"]["records_skipped"]) == (CITY, 0)


def test_events_of_anthropic_are_one_message(tmp_path):
    events = [
        {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 20, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"}, {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "I "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "look."}}, {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "c", "name": "weather", "input": {}}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"city": '}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '"Oslo"}'}}, {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 3}}, {"type": "message_stop"},
    ]  # fmt: skip
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    (tmp_path / "a.jsonl").write_text(text)
    (view,) = read(tmp_path / "a.jsonl")
    assert (view["events"][0]["text"], view["events"][1]["args"]) == ("I look.", CITY)
    assert (view["costs"]["tokens"], view["metrics"]["records_skipped"]) == (23, 0)


def test_a_request_with_its_stream(tmp_path):
    pieces = [
        chunk({"content": "4"}),
        chunk({"content": "."}),
        chunk({}, usage={"prompt_tokens": 20, "completion_tokens": 3}),
    ]
    text = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n"
    for response in (pieces, text):
        (view,) = read(write(tmp_path / "a.jsonl", {"request": {"messages": ASKED}, "response": response}))
        assert said(view) == [("user", "2 + 2?"), ("assistant", "4.")]
        assert (view["costs"]["tokens"], view["metrics"]["records_skipped"]) == (23, 0)


def test_events_of_the_responses_api(tmp_path):
    response = {"id": "r", "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4."}]}], "usage": {"input_tokens": 20, "output_tokens": 3}}  # fmt: skip
    events = [{"type": "response.created", "response": {"id": "r", "output": []}}, {"type": "response.output_text.delta", "delta": "4."}, {"type": "response.completed", "response": response}]  # fmt: skip
    (view,) = read(write(tmp_path / "a.jsonl", *events))
    assert (said(view), view["costs"]["tokens"]) == ([("assistant", "4.")], 23)
