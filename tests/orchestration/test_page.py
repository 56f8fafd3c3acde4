"""The page in headless Chromium: it loads from a file, shows texts as texts, and works with the keyboard."""

from __future__ import annotations

import copy
import itertools
import json
import re

import pytest
from pages import HOSTILE, big_view, lanes, needs_chromium, view_of, where
from playthroughs import SCRIPTS
from playwright.sync_api import Page, expect
from transcript_samples import WEATHER, write

from llm_marl_envs.errors import TraceError, WriteFailed
from llm_marl_envs.orchestration.importers import read_transcript
from llm_marl_envs.orchestration.page import page_of, write_page
from llm_marl_envs.task import Question


def boxes_of(page: Page) -> list[tuple[float, ...]]:
    """x, y and width of each step."""
    boxes = page.locator(".node rect:not(.ring)").all()
    return [tuple(float(box.get_attribute(name)) for name in ("x", "y", "width")) for box in boxes]


@needs_chromium
def test_it_loads_from_disk(shown):
    page = shown(view_of("swarm"))
    assert page.title() == "A title"
    assert lanes(page) == [
        "spawner_0", "worker_0", "worker_1", "delegator_0", "stopper_0", "communicator_0", "aggregator_0"
    ]  # fmt: skip
    assert page.locator(".node").count() == 15
    assert page.locator(".node.spawn").count() == 2
    assert page.locator(".node.despawn").count() == 2
    assert page.locator("#compare").is_hidden(), "there is nothing to compare with"
    assert page.locator("text=How many legs have 3 cats?").first.is_visible()


@needs_chromium
def test_waves_are_aligned_and_lanes_are_apart(shown):
    page = shown(view_of("voting"))
    boxes = boxes_of(page)
    assert len({x for x, _, _ in boxes[:3]}) == 1
    assert len({y for _, y, _ in boxes}) == 4
    assert boxes[3][0] > boxes[0][0] + boxes[0][2]
    assert page.locator("path.edge.aggregate").count() >= 2


@needs_chromium
def test_a_click_shows_prompt_and_reply(shown):
    page = shown(view_of("swarm"))
    page.locator(".node.return").nth(1).click()
    panel = page.locator("#panel")
    assert panel.locator("h2").inner_text() == "worker_1: return"
    prompt, reply = panel.locator("pre").all_inner_texts()
    assert "Your part: how many cats are there?" in prompt
    assert reply == "TO worker_0: there are 3 cats\nThree."
    panel.locator("button", has_text="delegator_0 (message)").click()
    assert panel.locator("h2").inner_text() == "delegator_0: decision"


@needs_chromium
def test_the_keyboard_replays(shown):
    page = shown(view_of("swarm"))
    assert where(page) == "step 1 of 15"
    assert page.locator(".node.later").count() == 14
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert where(page) == "step 4 of 15"
    assert page.locator(".node.later").count() == 11
    assert page.locator(".node.now").count() == 1
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused.startswith("Step 4 of 15: delegator_0, decision")
    assert page.locator("#said").text_content() == focused, "it is announced, too"
    page.keyboard.press("ArrowLeft")
    assert where(page) == "step 3 of 15"
    page.keyboard.press("End")
    assert where(page) == "step 15 of 15"
    assert page.locator("#next").is_disabled()
    page.keyboard.press("ArrowRight")
    assert where(page) == "step 15 of 15"
    page.keyboard.press("Home")
    assert where(page) == "step 1 of 15"
    assert page.locator(".node[tabindex='0']").count() == 1, "one stop of the tab key"


@needs_chromium
def test_up_and_down_change_the_lane(shown):
    page = shown(view_of("voting"))
    page.keyboard.press("ArrowDown")
    assert page.locator("#panel h2").inner_text().startswith("generator_1")
    page.keyboard.press("ArrowUp")
    assert page.locator("#panel h2").inner_text().startswith("generator_0")


@needs_chromium
def test_it_plays_by_itself(shown):
    page = shown(view_of("solve_verify"))
    page.keyboard.press(" ")
    assert page.locator("#play").inner_text() == "⏸ pause"
    expect(page.locator("#where")).to_contain_text("step 3", timeout=10_000)
    page.keyboard.press(" ")
    assert page.locator("#play").inner_text() == "▶ play"


@needs_chromium
def test_search(shown):
    page = shown(view_of("swarm"))
    page.keyboard.press("/")
    page.keyboard.type("THERE ARE 3 CATS")
    hits = int(page.locator("#hits").inner_text().split()[0])
    assert hits == page.locator(".node.hit").count() > 1
    page.keyboard.press("Enter")
    assert page.locator("#panel mark").first.inner_text() == "there are 3 cats"
    first = where(page)
    page.keyboard.press("Enter")
    assert where(page) != first
    page.keyboard.press("Shift+Enter")
    assert where(page) == first
    page.keyboard.press("Escape")
    assert page.locator(".node.hit").count() == 0
    assert page.locator("#query").input_value() == ""


@needs_chromium
def test_two_traces_and_their_first_difference(shown):
    replies = list(SCRIPTS["swarm"].replies)
    replies[3] = "TO worker_0: there are 4 cats\nThree."
    page = shown(view_of("swarm"), view_of("swarm", tuple(replies)))
    page.select_option("#second", "1")
    assert page.locator(".trace").count() == 2
    assert "First difference: step 6." in page.locator("#difference").inner_text()
    assert page.locator(".node.differs").count() == 2
    page.locator("#todiff").click()
    assert where(page) == "step 6 of 15"
    assert page.locator("#panel .changed").all_inner_texts() == ["3", "4"]
    page.select_option("#second", "0")
    assert page.locator("#difference").inner_text() == "The two traces are the same."
    assert page.locator(".node.differs").count() == 0


@needs_chromium
def test_a_trace_that_ends_earlier_differs_where_it_ends(shown):
    long, short = view_of("eval_opt"), view_of("eval_opt")
    short["events"] = short["events"][:3]
    page = shown(long, short)
    page.select_option("#second", "1")
    assert "First difference: step 4." in page.locator("#difference").inner_text()
    page.keyboard.press("n")
    assert page.locator("#panel").get_by_text("This trace has ended.").count() == 1


@needs_chromium
def test_hostile_texts_stay_texts(shown):
    question = Question(HOSTILE, HOSTILE, answer_format=HOSTILE)
    view = view_of("solo", (HOSTILE,), question)
    view["events"][0]["agent"] = view["system"] = view["task_id"] = HOSTILE
    view["metrics"][HOSTILE] = 1.0
    view["events"][0]["claims"] = [{"kind": HOSTILE, "text": HOSTILE + "!", "grade": 0.0}]
    page = shown(view, title=HOSTILE)
    page.wait_for_timeout(200)
    assert page.title() == HOSTILE
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    assert page.locator("#panel pre").nth(1).inner_text() == HOSTILE
    assert lanes(page) == [HOSTILE]


def test_the_policy_allows_the_pages_own_script_only():
    text = page_of([view_of("solo")])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), "nothing is fetched from anywhere"


@needs_chromium
def test_what_the_policy_stops(browser, tmp_path):
    """A script smuggled past the escaping would still not run."""
    path = tmp_path / "page.html"
    smuggled = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    path.write_text(page_of([view_of("solo")], "safe").replace("<header>", f"<header>{smuggled}"))
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_timeout(200)
    assert page.title() == "safe"
    page.close()


@needs_chromium
def test_five_hundred_events_stay_smooth(shown):
    """A step takes less than a few of the browser's frames, and drawing everything less than a hundred."""
    page = shown(big_view(500))
    assert page.locator(".node").count() == 500
    waited = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    steps = "for (let i = 0; i < 50; i++) { setStep(100 + i * 7); document.body.getBoundingClientRect(); }"

    def took(what: str) -> float:
        return page.evaluate(f"async () => {{ const t = performance.now(); {what}; return performance.now() - t; }}")

    frame = took(f"for (let i = 0; i < 10; i++) await {waited}") / 20
    step, redraw = took(steps) / 50, took("draw(); document.body.getBoundingClientRect()")
    page.keyboard.press("End")
    assert where(page) == "step 500 of 500"
    assert page.locator(".node.now").is_visible()
    assert step / frame < 3, (step, frame)
    assert redraw / frame < 100, (redraw, frame)
    print(f"step {step:.1f} ms, whole drawing {redraw:.1f} ms, frame {frame:.1f} ms")


@needs_chromium
def test_time_scale_and_all_edges(shown):
    page = shown(view_of("voting", seconds=1.0))
    widths = [width for _, _, width in boxes_of(page)]
    assert len(set(widths)) == 1
    flows = page.locator("path.edge").count()
    page.locator("#scale").click()
    widths = [width for _, _, width in boxes_of(page)]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.1)
    assert page.locator("#scale").get_attribute("aria-pressed") == "true"
    page.keyboard.press("e")
    assert page.locator("path.edge").count() > flows
    assert page.locator("#scale").is_visible()
    assert shown(view_of("voting")).locator("#scale").is_hidden(), "nothing was timed there"


@needs_chromium
@pytest.mark.parametrize("width", [390, 800, 1600])
def test_it_fits(shown, width):
    page = shown(view_of("swarm"), view_of("swarm"))
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.select_option("#second", "1")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#panel").is_visible()


@needs_chromium
def test_everything_that_can_be_pressed_has_a_name(shown):
    page = shown(view_of("swarm"), view_of("swarm"))
    for role in ("button", "combobox", "searchbox", "slider"):
        for found in page.get_by_role(role).all():
            name = found.evaluate(
                "e => e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.[0]?.textContent"
            )
            assert name, found.evaluate("e => e.outerHTML")


@needs_chromium
def test_forks_and_imports_say_so(shown):
    fork, imported = view_of("solo"), view_of("solo")
    fork["events"][0]["parent"] = {"trace_id": "abcd", "turn": 3}
    imported["events"][0]["imported"] = True
    page = shown(fork, imported)
    assert page.get_by_text("Forked from abcd after 3 replies.").is_visible()
    assert "(fork of abcd)" in page.locator("#first option").first.text_content()
    page.select_option("#first", "1")
    assert page.get_by_text("imported, not replayable").is_visible()


@needs_chromium
def test_a_log_without_times_has_an_axis_of_calls(shown, tmp_path):
    """No seconds anywhere, `-` for the speed-up, and each call in a column of its own."""
    reply = {"role": "assistant", "content": "No."}
    record = {"messages": [*WEATHER[:-1], {"role": "ghost"}], "choices": [{"message": WEATHER[-1]}, {"message": reply}]}
    (view,) = read_transcript(write(tmp_path / "log.jsonl", record))
    page = shown(view)
    assert page.locator("text.wave").all_text_contents() == ["call 0", "call 1", "call 2", "call 3"]
    page.keyboard.press("End")
    words = page.locator("body").inner_text()
    assert not re.search(r"\d s\b", words), "no seconds"
    assert {"wall clock -", "speed up -"} <= set(page.locator(".chips li").all_inner_texts())
    assert page.locator("#scale").is_hidden()
    for part in ("no times: the axis counts calls", "Not understood and left out: 1 x message ghost."):
        assert part in words
    assert page.locator("#panel dd").first.inner_text() == "3"
    assert page.locator("#panel h3").all_inner_texts()[-1] == "Alternative 1, not chosen"
    assert all(x + wide <= after for (x, _, wide), (after, _, _) in itertools.pairwise(boxes_of(page))), (
        "one after another"
    )
    assert shown(view_of("voting", seconds=1.0)).locator("#panel dt", has_text="begins").count() == 1


@needs_chromium
def test_forks_are_offered_as_a_tree(shown):
    views = [view_of("solo", (str(i),)) for i in range(5)]
    for child, parent in ((1, 3), (2, 1), (4, 3)):
        views[child]["events"][0]["parent"] = {"trace_id": views[parent]["trace_id"], "turn": 1}
    page = shown(*views)
    options = [
        text.replace("\u00a0", " ").partition(" q/")[0] for text in page.locator("#first option").all_text_contents()
    ]
    assert options == ["1.", "4.", "  ↳ 2.", "    ↳ 3.", "  ↳ 5."]
    page.select_option("#first", "2")
    assert f"Forked from {views[1]['trace_id']}" in page.locator(".about").inner_text()
    for child, parent in ((0, 1), (1, 0)):
        views[child]["events"][0]["parent"] = {"trace_id": views[parent]["trace_id"], "turn": 1}
    page = shown(*views[:2])
    assert page.locator("#first option").count() == 2, "parents in a circle"
    assert page.locator(".trace").count() == 1


@needs_chromium
def test_what_it_shows_without_texts_numbers_or_waves(shown):
    bare = view_of("swarm")
    for event in bare["events"]:
        for name in ("prompt", "text", "wave", "content_ref"):
            event.pop(name, None)
    odd = copy.deepcopy(bare)
    odd["metrics"] = {"x": float("nan")}
    del odd["metrics"]["x"]
    odd["events"][3]["score"] = float("nan")
    page = shown(bare, odd)
    assert page.locator(".node").count() == 15


def test_nothing_to_show():
    with pytest.raises(TraceError, match="at least one episode"):
        page_of([])


def test_a_page_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteFailed, match=r"cannot write .*Choose another place"):
        write_page([view_of("solo")], tmp_path / "file" / "page.html")


def test_the_data_is_in_the_page_as_it_was():
    view = view_of("swarm")
    text = page_of([view])
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1]
    assert json.loads(data) == [json.loads(json.dumps(view))]
