r"""Which number does a reply to a maths word problem end on? Read exactly, or not at all.

`final_number(text)` returns the value as a Fraction, so `18.00`, `$18` and `\frac{36}{2}` are all 18, and says why. Where a reply
does not commit to one readable number the value is None: a grader that guesses pays for guessing. The rules, in this order:

1. A reply with `\boxed{` (or `\fbox{`) is judged by its LAST box alone. The box must close and amount to one number; units, currency,
   `x =` and words may stand around it. Boxes side by side, with only separators or "or"/"and" between them, are a list of candidates:
   None unless they agree. With prose between them the earlier ones are intermediate results.
2. Else a reply with `####` (GSM8K's own format) is judged by the rest of that LAST line alone, by the rule for a box.
3. Else the last number counts, unless it is one of several candidates ("41 or 42", "41, 42", a range, bullets) or the end of an
   unfinished expression ("16 - 3").
4. A negated number ("is not 42", `\neq 42`) is no answer in any of the three.

What is a number: `42`, `-5`, `- 5` (a minus only where it cannot be a subtraction, a bullet or a dash), `1,234`, `1{,}234`, `1\,234`,
`.5`, `3/4`, `\frac{3}{4}`, `1 1/2`, `1.5e3`, `1.5 \times 10^{3}`, `2 million`. A percent sign is a unit: 50% is 50.
What is not, and is passed over: ordinals, dates, times, versions, exponents and whatever is glued to letters before it (`2nd`, `3D`,
`12/05/2024`, `3:30`, `v1.2.3`, `x_2`, `cm^2`, `H2O`). What makes the chosen number unreadable, hence None: more than 100 digits, an
exponent beyond 300, division by zero, a power, a root, a variable, and hidden characters or digits other than 0-9 that touch it.

Only the last 4,000 characters are searched for numbers, and a box longer than 1,000 is refused, so time is bounded on any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple
from unicodedata import category

_TAIL, _NEAR, _MARGIN = 4000, 240, 100  # the near window is tried first; a number in a cut window's margin may be cut itself
_LONGEST, _DIGITS, _EXPONENT = 1000, 100, 300  # characters of a box, digits of a number, power of ten

_LISTED = "lists several candidates"
_EXPRESSION = "an expression, not a number"
_HIDDEN = "hidden characters, or digits other than 0-9"


class Found(NamedTuple):
    """A reply's final number, None if it has none, and one short phrase that says why."""

    value: Fraction | None
    why: str


class _Token(NamedTuple):
    """A number in a text, with its sign. Value None: something that should be a number but cannot be read."""

    value: Fraction | None
    why: str
    start: int
    end: int


def final_number(text: str) -> Found:
    """The number a reply commits to, by the rules above. Never raises, whatever the text."""
    start = _box_before(text, 0, len(text))
    if start >= 0:
        return _last_box(text, start)
    start = text.rfind("####")
    if start >= 0:
        return _after_hashes(text, start)
    return _last_number(text)


def parse_number(text: str) -> Fraction | None:
    """The value of a text that amounts to exactly one number (a gold answer, the content of a box), else None."""
    return _only_number(text).value


# Rules 1 and 2: a box, or the line after ####.


def _box_before(text: str, floor: int, end: int) -> int:
    return max(text.rfind("\\boxed{", floor, end), text.rfind("\\fbox{", floor, end))


def _last_box(text: str, start: int) -> Found:
    content, end = _content(text, start)
    if content is None:
        return Found(None, "boxed is not closed")
    value, why = _only_number(content)
    if value is None:
        return Found(None, why)
    if _negated(text, start):
        return Found(None, "negated")
    floor, nested = max(0, start - _TAIL), 0
    while (earlier := _box_before(text, floor, start)) >= 0:
        content, closed = _content(text, earlier)
        inside = closed > start  # \boxed{\boxed{42}} is one answer, \boxed{41 or \boxed{42}} is two
        nested += inside
        if content is None or nested > 2:
            return Found(None, "boxed is not closed" if content is None else "boxed too deep")
        if not inside and not _listed(_plain(text[closed:start]), _plain(text[end : end + 40])):
            break
        if _only_number(content).value != value:
            return Found(None, _LISTED)
        start, end = earlier, closed
    return Found(value, "last boxed")


_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def _content(text: str, start: int) -> tuple[str | None, int]:
    """What the box that starts here holds, and where it ends; None if it does not close within reach."""
    first = text.index("{", start) + 1
    last = text.find("}", first, first + _LONGEST)
    if last >= 0 and text.find("{", first, last) < 0 and text[last - 1] != "\\":
        return text[first:last], last + 1
    depth = 1
    for brace in _BRACE.finditer(text, first, first + _LONGEST):
        depth += (brace[0] == "{") - (brace[0] == "}")
        if depth == 0:
            return text[first : brace.start()], brace.end()
    return None, first


def _after_hashes(text: str, start: int) -> Found:
    end = text.find("\n", start)
    value, why = _only_number(text[start + 4 :] if end < 0 else text[start + 4 : end])
    if value is not None and _negated(text, start):
        return Found(None, "negated")
    return Found(value, why if value is None else "after ####")


# What may stand before the one number of a box: words, or anything that ends in "=". Then what may not, although it looks like words:
# a variable (`n 42`, `f(42`), a heading's counter (`Step 42`), an operator.
_BEFORE = re.compile(r"(?:[^0-9<>≤≥≠±!]*[=:≈])?[^0-9<>≤≥≠±!+×·÷^|√\\]*")
_NOT_BEFORE = re.compile(
    r"(?:(?:^|\W)(?:[^\W\d_aA]|step|part|case|problem|question|option|method)\s*|\w\s*[-/]\s*|\w\s\*+\s|\w[*(])$|\bor\b", re.IGNORECASE
)
# What may stand after it: words and units with their exponents, `/day`, `-inch`, closing marks.
_AFTER = re.compile(r"""(?:[^\W\d_]+(?:\s?\^\s?[23]|[²³])?|[\s%°$£€¥₹¢.,;:?*_"'’`()\[\]]|[/·]\s?(?=[^\W\d_])|(?<!\s)-(?=[^\W\d_]))*""")
_NOT_AFTER = re.compile(r"(?:^|[/·-])\s*[ijknxyz]\b|\b(?:or|and|to|not|plus|minus|times)\b", re.IGNORECASE)


def _only_number(text: str) -> Found:
    text = text.strip()
    if text.isdigit() and text.isascii() and len(text) <= _DIGITS:  # the usual content, kept fast
        return Found(Fraction(int(text)), "a number")
    if len(text) > _LONGEST:
        return Found(None, "too long for a number")
    if not text.isascii() and any(category(c) == "Cf" or _foreign_digit(c) for c in text):
        return Found(None, _HIDDEN)
    plain = _plain(text).strip()
    first = _NUMBER.search(plain)
    token = first and _token(first)
    if not token:
        return Found(None, "not a plain number" if first else "no number")
    if token.value is None:
        return Found(None, token.why)
    if _negated(plain, token.start):
        return Found(None, "negated")
    before, after = plain[: token.start], plain[token.end :]
    if not _BEFORE.fullmatch(before) or not _AFTER.fullmatch(after) or _NOT_BEFORE.search(before) or _NOT_AFTER.search(after):
        return Found(None, "not exactly one number")
    return Found(token.value, "a number")


# Rule 3: the last number, and the company it keeps.


def _last_number(text: str) -> Found:
    near = _scan(_plain(text[-_NEAR:]), _MARGIN, True) if len(text) > _NEAR else None
    found = near or _scan(_plain(text[-_TAIL:]), _MARGIN if len(text) > _TAIL else 0, False)
    return found or Found(None, "no number")


def _scan(plain: str, margin: int, more: bool) -> Found | None:
    """The last number of a window; None if it has none, or if the text before it (`more`) must be seen to tell."""
    tokens = _backwards(plain, margin)
    last = next(tokens, None)
    if last is None:
        return None
    if last.value is None:
        return Found(None, last.why)
    if not plain.isascii() and any(_foreign_digit(c) for c in plain[last.end :]):
        return Found(None, _HIDDEN)
    if _negated(plain, last.start):
        return Found(None, "negated")
    found = Found(last.value, "last number")
    for earlier in tokens:
        why = _listed(plain[earlier.end : last.start], plain[last.end : last.end + 40])
        if not why:
            return found
        if earlier.value != found.value or why is _EXPRESSION:
            return Found(None, why)
        last = earlier  # the same number said twice is one answer; go on with what stands before it
    return None if more else found


def _backwards(plain: str, margin: int) -> Iterator[_Token]:
    for match in reversed(list(_NUMBER.finditer(plain))):
        if match.start() < margin:
            return
        if token := _token(match):
            yield token


_WORD = re.compile(r"[^\W\d_]+")
_JOINERS = frozenset("or and to either both else maybe perhaps possibly probably alternatively even through versus vs".split())
_OR = re.compile(r"\bor\b", re.IGNORECASE)
_STOP = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!\bvs)[.!?](?=\s)|\n")
_RESULT = re.compile(r"[=≈→⇒:>]")
_TIMES = re.compile(r"\s*(?:x|times|plus|minus|(?:divided|multiplied) by)[\s$]*", re.IGNORECASE)
_UNIT = re.compile(r"[ $*_)%°]*([^\W\d_]+)")


def _listed(gap: str, after: str) -> str:
    """Why two numbers with this gap between them are candidates of one list; "" if they are not."""
    if _TIMES.fullmatch(gap):
        return _EXPRESSION
    stop = None
    for stop in _STOP.finditer(gap):
        pass
    if _OR.search(gap, stop.end() if stop else 0):
        return _LISTED
    words = [word for word in _WORD.findall(gap.lower()) if word not in _JOINERS]
    if len(words) > 1 or _RESULT.search(gap):
        return ""
    unit = _UNIT.match(after)
    if not words:  # "She ate 3. 13 eggs remain." are two sentences, "41. 42." is a list
        return "" if unit and stop and stop[0] != "\n" else _LISTED
    if unit:
        return _LISTED if unit[1].lower().rstrip("s") == words[0].rstrip("s") else ""
    return "" if stop or not re.search(r"[,;/|&]|\b(?:and|to)\b", gap) else _LISTED


# Rule 4.

_FILL = " \t\n$£€¥₹*_([\"'`\u00a0\u2009\u202f"  # may stand between a negation and its number
_NEGATION = re.compile(
    r"(?:\b(?:not|never|cannot|instead\s+of|rather\s+than)|n['’]t|≠=?|!=|=/=)"
    r"(?:\s+(?:be|is|equals?|exactly|just|simply|the|an?|answer|to))*$",
    re.IGNORECASE,
)


def _negated(text: str, start: int) -> bool:
    before = text[max(0, start - 60) : start]
    if "\\" in before:
        before = _plain(before)
    return _NEGATION.search(before.rstrip(_FILL)) is not None


# Numbers in plain text (after `_plain`).

_NUMBER = re.compile(
    r"""([0-9](?:(?<=[1-9])[0-9]{0,2}(?:[,\u2009\u202f][0-9]{3})+(?![0-9])|[0-9]*))   # 42  1,234
        (?:\.([0-9]+))?                                                                 # .50
        (?:[eE]([+-]?[0-9]+)(?![0-9A-Za-z])                                             # e3
          |\s?[×·x*]\s?10\s?\^\s?([+-]?[0-9]+)                                          # × 10^3
          |/([0-9]+)                                                                    # 3/4
          |[ ]{1,2}([0-9]+)/([0-9]+))?                                                  # 1 1/2
        ((?:[.:/][0-9]+)*)                                                              # the rest of a date, a time, a version
        (?:[ -]?(hundred|thousand|million|billion|trillion)\b)?
        ([A-Za-z]*)                                                                     # a unit
    """,
    re.VERBOSE,
)
_UNGROUP = str.maketrans("", "", ",\u2009\u202f")
_SCALE = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_NOT_A_NUMBER = frozenset(("st", "nd", "rd", "th", "D", "d"))
_VARIABLES = frozenset("ijknxyzK")  # K: 42K may be 42,000


def _token(match: re.Match[str]) -> _Token | None:
    """The number a match stands for with its sign; None if it is something else, such as an ordinal or a date."""
    text, start, end = match.string, match.start(), match.end()
    whole, part, _, _, _, _, _, more, _, suffix = match.groups()
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if more or suffix in _NOT_A_NUMBER or _glued(before):
        return None
    if before[-1:] == "." and before != "..":  # .5
        if part:
            return None
        whole, part, start = "0", whole, start - 1
    sign, why, start = _sign(text, start)
    if not sign and not why:
        return None
    if not why:
        why = _spoilt(suffix, after) or _touched(text[max(0, start - 1) : start] + before[-1:], suffix, after)
    if why:
        return _Token(None, why, start, end)
    value, why = _value(match, whole, part)
    return _Token(value if value is None else sign * value, why, start, end)


def _glued(before: str) -> bool:
    """Whether a number with these two characters before it belongs to a word, an index or an exponent."""
    if not before:
        return False
    last, first = before[-1], before[:-1]
    if last in "._-":
        return first.isalnum() or first == "^"
    return last == "^" or (last < "\u0250" and last.isalpha())


def _spoilt(suffix: str, after: str) -> str:
    """Why a number followed by this is only part of an expression, or ""."""
    if suffix:
        glued = suffix in _VARIABLES or after[:1].isdecimal()
        return _EXPRESSION if glued else ""
    powered = after.lstrip()[:1] in ("^", "\\") or (after[:1] == "_" and after[1:].isalnum())
    return _EXPRESSION if powered else ""


def _touched(before: str, suffix: str, after: str) -> str:
    """Why a number between these characters may not be what it looks like, or ""."""
    if before.isascii() and after.isascii():
        return ""
    near = before + ("" if suffix and after[:1] in ("²", "³") else after[:1])
    hidden = any(category(c) in ("Cf", "Mn", "Me") or c.isnumeric() for c in near if c > "\x7f")
    return _HIDDEN if hidden or (after[:1] == " " and _foreign_digit(after[1:])) else ""


def _foreign_digit(c: str) -> bool:
    return c > "\x7f" and c not in "²³" and category(c) in ("Nd", "Nl", "No")


_OPERATORS = frozenset("-–+×·÷/*√±")
_VERBS = frozenset(("is", "are", "was", "be", "equals", "equal", "to"))


def _sign(text: str, start: int) -> tuple[int, str, int]:
    """The sign of the number that starts here, why it is no number on its own (sign 0), and where it starts with its sign."""
    lead = text[max(0, start - 24) : start]
    bare = lead.rstrip(" \t$£€¥₹(\u00a0")
    operator = bare[-1:]
    if operator not in _OPERATORS:
        return 1, "", start
    left = bare.rstrip("*") if operator == "*" else bare[:-1]
    stem = left.rstrip(" \t$*\u00a0")
    spaced, loose = left[len(stem) :].strip("$*") != "", lead[len(bare) :].strip("$£€¥₹(") != ""  # space before, space after
    last = stem[-1:]
    operand = last.isalnum() or (last != "" and last in ")]%°")
    if operator in "√±":
        return 0, _EXPRESSION, start
    if operator == "*":  # 9 * 2 and 9**2, but not the markdown of "is **42**"
        return (0, _EXPRESSION, start) if operand and spaced == loose else (1, "", start)
    if operator not in "-–":
        return (0, _EXPRESSION, start) if operand else (1, "", start)
    if last == "\n" and loose:  # a bullet
        return 1, "", start
    if operand and not last.isalpha():
        return 0, _LISTED if operator == "–" else _EXPRESSION, start
    word = stem[stem.rfind(" ") + 1 :].lower()
    if (last.isalpha() and (not spaced or loose) and word not in _VERBS) or last in ("-", "–", "—"):
        return 0, "a minus sign or a dash", start
    return -1, "", start - (len(lead) - len(bare)) - 1


def _value(match: re.Match[str], whole: str, part: str | None) -> tuple[Fraction | None, str]:
    _, _, power, times_power, under, over2, under2, _, scale, _ = match.groups()
    if match.end() - match.start() > _DIGITS and sum(map(str.isdigit, match[0])) > _DIGITS:
        return None, "too many digits"
    if not whole.isdigit():
        whole = whole.translate(_UNGROUP)
    value = Fraction(int(whole + part), 10 ** len(part)) if part else Fraction(int(whole))
    if power := power or times_power:
        if len(power.lstrip("+-")) > 3 or abs(int(power)) > _EXPONENT:
            return None, "an exponent out of range"
        value *= Fraction(10) ** int(power)
    if under := under or under2:
        if int(under) == 0:
            return None, "division by zero"
        if over2 and (part or int(over2) >= int(under)):
            return None, _EXPRESSION
        value = value + Fraction(int(over2), int(under)) if over2 else value / int(under)
    return (value * _SCALE[scale] if scale else value), ""


# LaTeX to plain text.

_FRACTION = re.compile(r"(-?)[ ]?\\[dtc]?frac\s?(?:\{\s?(-?[0-9.,]+)\s?\}|([0-9]))\s?(?:\{\s?([0-9]+)\s?\}|([0-9]))")
_COMMAND = re.compile(r"\\(?:[A-Za-z]+|.)", re.DOTALL)
_COMMANDS = {
    "\\$": "$", "\\%": "%", "\\&": "&", "\\#": "#", "\\_": "_", "\\,": "\u2009", "\\times": "×", "\\cdot": "·", "\\div": "÷",
    "\\circ": "°", "\\degree": "°", "\\ne": "≠", "\\neq": "≠", "\\not": "≠", "\\approx": "≈", "\\to": "→", "\\rightarrow": "→",
    "\\Rightarrow": "→", "\\implies": "→", "\\pm": "±", "\\le": "≤", "\\leq": "≤", "\\ge": "≥", "\\geq": "≥", "\\lt": "<", "\\gt": ">",
    "\\pounds": "£", "\\euro": "€", "\\lor": " or ", "\\vee": " or ", "\\\\": "\n",
}  # fmt: skip
_COMMANDS |= dict.fromkeys(
    r"""\ \; \: \( \) \[ \] \{ \} \text \textbf \textit \textrm \texttt \mathrm \mathbf \mathit \mathsf \mbox \bf \rm \boxed \fbox
    \displaystyle \left \right \big \Big \quad \qquad \begin \end \therefore \square \blacksquare \checkmark \dots \ldots""".split(),
    " ",
)
_COMMANDS["\\ "] = " "
_BRACES = (("{,}", ","), ("^{", "^"), ("_{", "_"), ("{", " "), ("}", " "), ("^ ", "^"), ("^°", "°"))
_MINUS = str.maketrans("\u2212\u2010\u2011\uff0d", "----")


def _plain(text: str) -> str:
    """The text with its LaTeX written out, so that the rules above need only know one notation."""
    if not text.isascii():
        text = text.translate(_MINUS)
    if "\\" in text:
        text = text.replace(",\\! ", ",").replace("\\!", "")
        text = _FRACTION.sub(_slash, text)
        text = _COMMAND.sub(lambda command: _COMMANDS.get(command[0], command[0]), text)
    if "{" in text or "}" in text:
        for braced, bare in _BRACES:
            text = text.replace(braced, bare)
    return text


def _slash(match: re.Match[str]) -> str:
    minus, over, digit_over, under, digit_under = match.groups()
    return f"{minus or ' '}{over or digit_over}/{under or digit_under} "
