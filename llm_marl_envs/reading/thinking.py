r"""A reply without its thinking: what other agents, graders and menus may see of it.

Models mark their thinking with `<think>...</think>`, or with other words (`thought`, `reason`, `reasoning`, `thinking`,
`scratchpad`) or signs (`[THINK]`, `◁think▷`, `<|begin_of_thought|>`). The rules:

- A thought ends at the first closing mark of its own kind. What was opened twice may be closed twice.
- A thought that is never closed goes to the end of the reply: a reply that was cut off while it thought says nothing more.
- A closing mark that comes first belongs to a thought that the prompt opened: all before it was thought. Later stray ones are
  slips and are only left out.
- Inside a thought nothing but its own closing mark counts: program fences there may be torn. Outside, marks in quotation
  marks or backticks are mentioned, not used, and so are those that a fenced program opens, or closes within a string.
"""

from __future__ import annotations

import re

_NAMES = "think(?:ing)?|thoughts?|reason(?:ing)?|scratch_?pad|seed:think"
_TOKEN = re.compile(
    rf"<[ \t]*(?P<close>/?)[ \t]*(?P<name>{_NAMES})(?P<rest>[ \t]*(?:/[ \t]*)?|[ \t][^<>\n]{{0,80}})>"
    r"|\[(?P<close2>/?)(?P<name2>THINK)\]"
    r"|◁(?P<close3>/?)(?P<name3>think)▷"
    r"|<\|(?P<close4>begin|end)_of_(?P<name4>thought)\|>"
    r"|^(?P<fence>[ \t]*(?:`{3,}|~{3,}))(?=(?P<info>[^`\n]*)$)",  # what follows may hold a mark
    re.IGNORECASE | re.MULTILINE,
)
_QUOTES = "\"'`"
_KINDS = ("think", "thought", "reason", "scratch", "seed")  # by how a name begins


def spoken(reply: str) -> str:
    """What a reply says outside its thinking, stripped; the reply itself, unchanged, if it holds no mark of thinking."""
    if "<" not in reply and "[" not in reply and "◁" not in reply:  # most replies: kept fast
        return reply
    kept, _, changed = _read(reply)
    if not changed:
        return reply
    return "\n".join(part for part in kept if part.strip()).strip()


def thought_left_open(text: str) -> str:
    """The opening mark of the thought that a text (a prompt as the model sees it) ends in; "" if it ends outside."""
    return _read(text)[1]


def _read(text: str) -> tuple[list[str], str, bool]:
    """The parts outside thinking, the opening mark of a thought that is still open, and whether there was any mark."""
    kept: list[str] = []
    start, opened, kind, again, changed = 0, "", "", 0, False
    fence: tuple[str, int] | None = None
    longest = _fences_to_come(text)
    for mark in _TOKEN.finditer(text):
        if mark["fence"]:
            if not opened:
                fence = _fenced(fence, mark, longest)
            continue
        closes, this = _closes(mark), _kind(mark)
        if opened:
            if this != kind or _mentioned(mark):
                continue
            if not closes:
                again += 1
            else:
                start, opened, fence = mark.end(), "", None
        elif _mentioned(mark) or (fence and (not closes or _in_string(mark))):
            continue
        elif not closes:
            kept.append(text[start : mark.start()])
            start = mark.end()
            if not (mark["rest"] or "").strip().endswith("/"):  # <think/> opens nothing
                opened, kind = mark[0], this
        elif not changed or again:
            kept, again, start, fence = [], max(0, again - 1), mark.end(), None
        else:
            kept.append(text[start : mark.start()])
            start = mark.end()
        changed = True
    if not opened:
        kept.append(text[start:])
    return kept, opened, changed


def _closes(mark: re.Match[str]) -> bool:
    return "/" in (mark["close"] or mark["close2"] or mark["close3"] or "") or (mark["close4"] or "").lower() == "end"


def _kind(mark: re.Match[str]) -> str:
    if name := mark["name"]:
        return next(kind for kind in _KINDS if name.lower().startswith(kind))
    return "[]" if mark["name2"] else "◁▷" if mark["name3"] else "||"


def _mentioned(mark: re.Match[str]) -> bool:
    """Whether a mark stands in quotation marks or backticks of its own."""
    before, after = mark.string[mark.start() - 1 : mark.start()], mark.string[mark.end() : mark.end() + 1]
    return bool(before) and before in _QUOTES and before == after


def _in_string(mark: re.Match[str]) -> bool:
    """Whether a mark in a program stands inside a string of its line."""
    line = mark.string[max(mark.string.rfind("\n", 0, mark.start()) + 1, mark.start() - 200) : mark.start()]
    return line.count('"') % 2 == 1 or line.count("'") % 2 == 1


def _fences_to_come(text: str) -> dict[str, list[tuple[int, int]]]:
    """For each sign, the fences that can close a block, as (where it starts, longest from there on), last first."""
    found: dict[str, list[tuple[int, int]]] = {"`": [(len(text), 0)], "~": [(len(text), 0)]}
    if "```" in text or "~~~" in text:
        for mark in reversed([m for m in _TOKEN.finditer(text) if m["fence"] and not m["info"].strip()]):
            fence = mark["fence"].strip()
            longest = found[fence[0]]
            longest.append((mark.start(), max(len(fence), longest[-1][1])))
    return found


def _fenced(
    fence: tuple[str, int] | None, mark: re.Match[str], longest: dict[str, list[tuple[int, int]]]
) -> tuple[str, int] | None:
    """The fenced block in which the text goes on after a fence: one that is closed later on, or None."""
    sign = mark["fence"].strip()
    later = longest[sign[0]]
    while len(later) > 1 and later[-1][0] <= mark.start():
        later.pop()
    if fence is None:
        return (sign[0], len(sign)) if later[-1][1] >= len(sign) else None
    return None if sign[0] == fence[0] and len(sign) >= fence[1] and not mark["info"].strip() else fence
