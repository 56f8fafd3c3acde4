"""The page of data from anybody: fields of wrong types, names that mean something to JavaScript, and large teams."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterator

import pytest
from pages import HOSTILE, big_view, lanes, needs_chromium, view_of, where
from playwright.sync_api import expect

WRONG_TYPES = (
    None,
    True,
    -1,
    1.5,
    1e308,
    "x",
    HOSTILE,
    [],
    [[]],
    {},
    {"a": [1]},
    "\u2028\u2029",
    "__proto__",
    "constructor",
)


def spoiled(view: dict, turn: int) -> Iterator[dict]:
    """The view with each of its fields, at any depth, of a wrong type; in each turn, of another."""

    def places(value: dict | list, path: tuple = ()) -> Iterator[tuple]:
        for key, inside in value.items() if isinstance(value, dict) else enumerate(value[:2]):
            yield (*path, key)
            if isinstance(inside, dict | list):
                yield from places(inside, (*path, key))

    for number, path in enumerate(places(view)):
        made = copy.deepcopy(view)
        inside = made
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = WRONG_TYPES[(number + turn) % len(WRONG_TYPES)]
        yield made


EVERY_FIELD = {
    "wave": 0, "seconds": 1.0, "prompt": "p", "text": "t", "prompt_tokens": 1, "reply_tokens": 1, "args": {"query": "x"}, "choices": ["a", "b"],
    "claims": [{"kind": "answer", "text": "c", "about": "b", "grade": 1.0, "read": "c"}], "malformed": "a number", "question": "q", "parent": {"trace_id": "a", "turn": 1},
    "status": "finished", "why": "w", "answer": "a", "human": True, "imported": True, "role": "r", "to": "worker_0", "tool": "search", "trusted": False, "content_ref": "blake2b:0",
}  # fmt: skip
LOOK = """() => {
  for (let i = 0; i < VIEWS.length; i++) {
    state.shown = [i, (i + 1) % VIEWS.length];
    state.timed = i % 2 === 1;
    state.causes = i % 4 > 1;
    $("query").value = i % 3 ? "" : "x";
    draw();
    for (let step = 0; step <= last(); step++) setStep(step, false);
    neighbour(1);
  }
  return document.querySelectorAll(".node").length;
}"""


def full_view() -> dict:
    view = copy.deepcopy(view_of("solve_verify", seconds=1.0))
    view["events"] = [event | EVERY_FIELD | {"id": f"e{i}"} for i, event in enumerate(view["events"])]
    return view


@needs_chromium
@pytest.mark.slow
def test_fields_of_wrong_types_do_not_break_it(shown):
    """Every field that it reads is there, and each becomes each wrong type in turn; `shown` sees to it that nothing is thrown."""
    for turn in range(len(WRONG_TYPES)):
        views = list(spoiled(full_view(), turn))
        assert len(views) > 60
        page = shown(*views)
        assert page.evaluate(LOOK) > 0
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 2
        page.close()


@needs_chromium
def test_data_that_are_no_views_do_not_break_it(shown):
    page = shown(
        {}, {"events": []}, {"events": [None, 1, "x", []]}, {"events": {}, "edges": [None, {"src": "e0"}]}, [], 5
    )  # type: ignore[arg-type]
    assert page.evaluate(LOOK) > 0
    page.select_option("#first", "0")
    assert lanes(page)[0] == "(nobody)"


@needs_chromium
def test_names_that_mean_something_to_javascript_are_names(shown):
    names = ("__proto__", "constructor", "toString", "hasOwnProperty", "</script>", "\u2028", "<b>", "'\"`$&", "$'")
    view = full_view()
    first = view["events"][0]
    view["events"] = [first | {"id": name, "agent": name, "type": name, "tool": name, "to": None} for name in names]
    view["edges"] = [{"src": a, "dst": b, "type": a} for a, b in itertools.pairwise(names)]
    view["rewards"] = view["costs"] = view["metrics"] = dict.fromkeys(names, 1.0)
    page = shown(view)
    assert page.locator(".labels span").all_text_contents() == list(names)
    assert page.evaluate(LOOK) == 2 * len(names)
    assert page.evaluate("({}).polluted === undefined && Object.keys(Object.prototype).length === 0")


def team_view(agents: int) -> dict:
    """One who spawns, so many who report at the same time, and one who reads all of them."""
    n = agents - 2
    hired = [
        {"id": f"e{i + 1}", "t": 1.0, "wave": 1, "type": "spawn", "agent": "spawner_0", "to": f"worker_{i}"}
        for i in range(n)
    ]
    said = [
        {
            "id": f"e{n + i + 1}",
            "t": 2.0,
            "wave": 2,
            "type": "return",
            "agent": f"worker_{i}",
            "prompt": "p",
            "text": f"report {i}",
        }
        for i in range(n)
    ]
    ends = (
        {"id": "e0", "t": 0.0, "wave": 0, "type": "orchestrator_decision", "agent": "spawner_0"},
        {"id": "end", "t": 3.0, "wave": 3, "type": "aggregate", "agent": "aggregator_0"},
    )
    edges = [
        edge
        for i in range(n)
        for edge in (
            {"src": "e0", "dst": f"e{i + 1}", "type": "spawn"},
            {"src": f"e{n + i + 1}", "dst": "end", "type": "aggregate"},
        )
    ]
    return view_of("solo") | {"events": [ends[0], *hired, *said, ends[1]], "edges": edges}  # fmt: skip


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize(("view", "last"), [(team_view(3000), "aggregator_0"), (big_view(16_000), "worker_19")])
def test_large_views_open(shown, view, last):
    """In seconds, and only what can be seen is drawn; every step can still be reached and seen."""
    began = time.monotonic()
    page = shown(view)
    events = len(view["events"])
    assert where(page) == f"step 1 of {events}"
    assert page.locator(".node.now").is_visible()
    print(f"open after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 30, "even on a busy machine"
    assert page.locator(".node").count() < 20 * 900
    assert page.locator(".labels span").count() == len({event["agent"] for event in view["events"]})
    page.keyboard.press("End")
    assert page.locator("#panel h2").inner_text().startswith(last)
    page.wait_for_timeout(300)
    box, seen = page.locator(".node.now").bounding_box(), page.locator("#timelines").bounding_box()
    assert seen["y"] <= box["y"] <= seen["y"] + seen["height"], "it was scrolled to"
    page.fill("#query", "report 2017" if last == "aggregator_0" else "text 12345 ")
    page.locator("#query").press("Enter")
    assert page.locator("#hits").inner_text() == "1 found"
    assert page.locator(".node.hit.now").count() == 1


@needs_chromium
@pytest.mark.slow
def test_of_large_views_only_what_can_be_seen_is_drawn(shown):
    page = shown(team_view(1200))
    assert 0 < page.locator(".node").count() < 200
    page.evaluate("$('timelines').scrollTop = 12000")
    expect(page.locator(".node[aria-label*='worker_500,']")).to_have_count(1)
    page.keyboard.press("End")
    assert page.locator("#panel .links").inner_text().endswith("and 1138 more")
    assert page.locator("path.edge").count() == 1198, "the edges of this step"
