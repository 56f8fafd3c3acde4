r"""Which number is the final answer of a reply to a maths word problem? Read exactly, or not at all.

`final_number(text)` gives the value as a Fraction, so that `18.00`, `$18` and `\frac{36}{2}` are all 18, and says why. If
a reply does not commit to one readable number, the value is None: a grader that guesses rewards guessing. In this order:

1. A reply with `\boxed{` (or `\fbox{`) is judged by its LAST box alone. The box must close and contain one number; units,
   currency, `x =` and words may be around it. Boxes side by side, with only separators or "or"/"and" between them, are
   a list of candidates: None unless they agree. With prose between them the earlier ones are intermediate results.
2. Else a reply with `####` (GSM8K's own format) is judged by the rest of that LAST line alone, by the rule for a box,
   unless that is not a number and more follows: then it was a heading.
3. Else the last number counts, unless it is one of several candidates ("41 or 42", "41, 42", a range, bullets) or ends an
   unfinished expression ("16 - 3").
4. A negated number ("is not 42", `\neq 42`) is not an answer in any of the three.

A number is `42`, `-5`, `- 5` (a minus only where it cannot be a subtraction, a bullet or a dash), `1,234`, `1{,}234`,
`1\,234`, `.5`, `3/4`, `\frac{3}{4}`, `1 1/2`, `1.5e3`, `1.5 \times 10^{3}`. Words and signs after it are units, also in `50%`
and `4 million` (50 and 4: GSM8K's gold answers leave such words out).
Ignored, because they are not numbers: `2nd`, `3D`, `12/05/2024`, `3:30`, `v1.2.3`, `x_2`, the 2 of `cm^2`, `H2O`.
Unreadable, so the value is None if this is the number that counts: more than 100 digits, an exponent beyond 300, division by zero,
a power, a root, a variable (`2x`), and hidden characters or digits other than 0-9 that touch it.

Only the last 4,000 characters are searched for numbers and a box longer than 1,000 is refused: time is bounded on any text.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from llm_marl_envs.reading import LONGEST_BOX, LONGEST_REPLY, Box, final_boxes, spoken

_TAIL, _NEAR, _MARGIN = 4000, 160, 60  # characters; what starts in a cut window's margin may itself be cut
_DIGITS, _EXPONENT = 100, 300  # of a number: digits, power of ten

_LISTED = "lists several candidates"
_EXPRESSION = "an expression, not a number"
_HIDDEN = "hidden characters, or digits other than 0-9"


class Found(NamedTuple):
    """A reply's final number (None if it has none), and a short phrase that says why."""

    value: Fraction | int | None
    why: str


def final_number(text: str) -> Found:
    """The number a reply commits to, by the rules above. Never raises, whatever the text."""
    text = spoken(text)
    if len(text) > LONGEST_REPLY:
        return Found(None, "too long for a reply")
    if text[-1:] == "}" and (plain := _plain_box(text)) is not None:
        return Found(plain, "last boxed")
    if boxes := final_boxes(text):
        return _last_box(text, boxes)
    start = text.rfind("####")
    if start >= 0:
        line, _, rest = text[start + 4 :].partition("\n")
        found = _judged(text, start, line, "after ####")
        if found.value is not None or not rest.strip():
            return found  # else it is a Markdown heading, with the answer somewhere below
    near = _scan(_plain(text[-_NEAR:]), _MARGIN, True) if len(text) > _NEAR else None
    far = near or _scan(_plain(text[-_TAIL:]), _MARGIN if len(text) > _TAIL else 0, False)
    return far or Found(None, "no number")


def parse_number(text: str) -> Fraction | int | None:
    """The value of a text that is exactly one number (a gold answer, the content of a box), else None."""
    return _only_number(text).value


def _plain_box(text: str) -> int | None:
    """The most frequent ending of trained models' replies, read fast: one box with a short whole number, after a sentence or alone."""
    start = text.find("\\boxed{")
    inside = text[start + 7 : -1]
    alone = start == 0 or (start > 2 and text[start - 2 : start] in (". ", ".\n") and text[start - 3].isalnum())
    if alone and len(inside) < 16 and inside.isdecimal() and inside.isascii() and "\\fbox{" not in text:
        return int(inside)
    return None


# Rules 1 and 2: a box, or the line after ####.
_USUAL = re.compile(r"\s?(?:\\?\$)?([-+]?[0-9]{1,100})\.?")  # most contents, kept fast
# Before a box's number: words, or anything that ends in "=". Then what may not, although it looks like words: a variable
# (`n 42`, `f(42`), a heading's counter (`Step 42`), an operator.
_BEFORE = re.compile(r"(?:[^0-9<>≤≥≠±!]*[=:≈])?[^0-9<>≤≥≠±!+×·÷^|√\\]*")
_NOT_BEFORE = re.compile(
    r"(?i)(?:(?:^|\W)(?:[^\W\d_aA]|step|part|case|problem|question|option)\s*|\w\s*[-/]\s*|\w\s\*+\s|\w[*(])\Z|\bor\b"
)
# After it: words, units with their exponents, closing marks, `/day`, `-inch`. Then what may not: variables, a second half.
_AFTER = re.compile(
    r"""(?:[^\W\d_]++(?:\s?\^\s?[23])?|[\s%°$£€¥₹¢.,;:?*_"'’`()\[\]]|[/·]\s*(?=[^\W\d_])|(?<!\s)-(?=[^\W\d_]))*+"""
)
_NOT_AFTER = re.compile(r"(?:^|[/·-])\s*[inxyz]\b|\b(?:or|and|to|not|plus|minus|times)\b", re.IGNORECASE)


def _last_box(text: str, boxes: tuple[Box, ...]) -> Found:
    if any(box.content is None for box in boxes):
        return Found(None, "boxed is not closed")
    last, *others = boxes
    found = _judged(text, last.start, last.content or "", "last boxed")
    if found.value is not None and any(_only_number(box.content or "").value != found.value for box in others):
        return Found(None, _LISTED)
    return found


def _judged(text: str, start: int, content: str, why: str) -> Found:
    found = _only_number(content)
    if found.value is not None:
        found = Found(None, "negated") if negated(text, start) else Found(found.value, why)
    return found


def _only_number(text: str) -> Found:
    if usual := _USUAL.fullmatch(text):
        return Found(Fraction(int(usual[1])), "last number")
    if len(text) > LONGEST_BOX:
        return Found(None, "too long for a number")
    if _ODD.search(text):
        return Found(None, _HIDDEN)
    plain = _plain(text.strip()).strip()
    found, start, end = next(map(_token, _NUMBER.finditer(plain)), None) or (Found(None, "no number"), 0, 0)
    if found.value is None:
        return found
    if negated(plain, start):
        return Found(None, "negated")
    before, after = plain[:start], plain[end:]
    fits = _BEFORE.fullmatch(before) and _AFTER.fullmatch(after)
    if not fits or _NOT_BEFORE.search(before) or _NOT_AFTER.search(after):
        return Found(None, "not exactly one number")
    return found


# Rule 3: the last number, and what is around it.
_JOINERS = "or|and|to|either|both|else|maybe|perhaps|possibly|probably|alternatively|even|through|versus|vs"
_WORD = re.compile(rf"\b(?!(?:{_JOINERS})\b)([^\W\d_]+?)s?(?![^\W\d_])")
_OR = re.compile(r"\bor\b", re.IGNORECASE)
_STOP = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!\bvs)(?<!\.)[.!?](?=\s)|\n")
_RESULT = re.compile(r"[=≈→⇒:>]")  # "9 * 2 = 18", "Step 3: 42"
_TIMES = re.compile(r"\s*(?:x|times|plus|minus|(?:divided|multiplied) by)[\s$]*", re.IGNORECASE)


def _scan(plain: str, margin: int, more: bool) -> Found | None:
    """The last number of a window; None if it has none, or if it depends on the text before the window (`more`)."""
    matches = reversed(list(_NUMBER.finditer(plain)))
    tokens = (token for match in matches if match.start() >= margin and (token := _token(match)))
    found, start, end = next(tokens, (Found(None, "no number"), 0, 0))
    if found.value is None:
        return found if end else None
    if not plain.isascii() and _OTHER_DIGIT.search(plain, end):
        return Found(None, _HIDDEN)
    if negated(plain, start):
        return Found(None, "negated")
    for earlier, earlier_start, earlier_end in tokens:
        why = _listed(plain[earlier_end:start], plain[end : end + 40])
        if not why:
            return found
        if earlier.value != found.value or why is _EXPRESSION:
            return Found(None, why)
        start, end = earlier_start, earlier_end  # said twice it is one answer; go on with what stands before it
    return None if more else found


def _listed(gap: str, after: str) -> str:
    """Why two numbers with this gap between them are candidates of one list; "" if they are not."""
    if _TIMES.fullmatch(gap):
        return _EXPRESSION
    sentences = _STOP.split(gap)
    if _OR.search(sentences[-1]):
        return _LISTED
    words = _WORD.findall(gap.lower())
    if len(words) > 3 or _RESULT.search(gap):
        return ""
    units = _WORD.findall(_STOP.split(after)[0].lower())
    if words:  # "1 apple and 42 apples"
        return _LISTED if units[: len(words)] == words else ""
    apart = units and len(sentences) > 1 and "\n" not in gap  # "She ate 3. 13 eggs remain."
    return "" if apart else _LISTED


# Rule 4.
_FILL = " \t\n$£€¥₹*_([\"'`\u00a0\u2009\u202f"  # may stand between a negation and its number
_NEGATION = re.compile(
    r"(?i)(?:\b(?:not|never|cannot|instead\s+of|rather\s+than)|n['’]t|≠=?|(?<![0-9)}])!=|=/=)"
    r"(?:\s+(?:be|is|equals?|exactly|just|simply|the|an?|answer|to))*\Z"
)


def negated(text: str, start: int) -> bool:
    """Whether the text before says that what starts here is not the answer."""
    before = text[max(0, start - 60) : start]
    fill = " " if text.startswith("####", start) else _FILL  # only a word right before it, on its line, can negate it
    before = (_plain(before) if "\\" in before else before).rstrip(fill)
    return (before[-1:].isalpha() or before[-1:] in "≠=") and _NEGATION.search(before) is not None


# Numbers in plain text, which is what `_plain` makes of LaTeX.
_NUMBER = re.compile(
    r"""([0-9](?:(?<=[1-9])[0-9]{0,2}(?:[,\u2009\u202f][0-9]{3})+(?![0-9])|[0-9]*))  # 42, 1,234
        (?:\.([0-9]+))?                                             # .50
        (?:[eE]([+-]?[0-9]+)(?![0-9A-Za-z])                         # e3
          |\s?[×·x*]\s?10\s?\^\s?([+-]?[0-9]+)                      # × 10^3
          |/([0-9]+)                                                # 3/4
          |[ ]{1,2}([0-9]+)/([0-9]+))?                              # 1 1/2
        ((?:[.:/][0-9]+)*)                                          # what makes it a date, a time or a version
        ([A-Za-z]*)                                                 # a unit""",
    re.VERBOSE,
)
_OTHER_SUFFIXES = frozenset(("st", "nd", "rd", "th", "D", "d"))
_VARIABLES = frozenset("inxyz")
_GLUED = re.compile(r".?[A-Za-z\u00c0-\u024f^]|\w[._]|[A-Za-z^]-", re.DOTALL)  # x2, cm^2, v.2, x_2, GPT-4
_POWER = re.compile(r"\s?[\\^√]|_\w|[²³万亿]")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d|[\u00b9\u00bc-\u00be\u2070-\u2089\u2150-\u218b\u2460-\u249b]")
_UNSEEN = r"\u00ad\u0300-\u036f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u20d0-\u20ff\ufe0f\ufeff"
_ODD = re.compile(f"{_OTHER_DIGIT.pattern}|[{_UNSEEN}]")

# What an operator before a number makes of it; the first pattern that fits decides.
_SIGN_IN_WORDS = re.compile(r"(^|\W)(minus|negative)[\s$£€¥₹]*\Z", re.IGNORECASE)
_SIGN_FITS = re.compile(
    r"(?:\A|[:=,.;(*\n]|\b(?:is|are|was|be|equals?|to|gives?|get|of|answer))[\s$*(]*\Z", re.IGNORECASE
)
_AND_A_HALF = re.compile(r"[a-z ]{0,20} and (?:an?|one|two|three|four) ?-?(?:hal(?:f|ves)|quarters?|thirds?|fifths?|sixths?|eighths?|tenths?)\b", re.IGNORECASE)  # fmt: skip
_OPERATORS = frozenset("-–+×·÷/*√±")
_MINUS, _NO_SIGN = "minus", ""
_LEADS = {
    re.compile(r"[√±][ $(]*\Z"): _EXPRESSION,  # `_plain` makes a √ of any command it does not know
    re.compile(r"[\w)\]%°](?:[ $]*[+×·÷/][ $(]*|\*+|[ $]* [ $]*\*+ [ $]*)\Z"): _EXPRESSION,  # not "is **$42**"
    re.compile(r"[0-9)\]%°][ $*]*[-–][ $£€¥₹(]*\Z"): _EXPRESSION,
    re.compile(r"\n[ \t]*-[ \t]+[$£€¥₹]*\Z"): _NO_SIGN,  # a bullet
    re.compile(r"\w[$*]* [ $*]*[-–][$£€¥₹]*\Z|\b(?:is|are|was|be|equals?|to)[ $*]+[-–][ $£€¥₹(]*\Z"): _MINUS,
    re.compile(r"[\w–—-][ $*]*[-–][ $£€¥₹(]*\Z"): "a minus sign or a dash",
    re.compile(r"[-–][ $£€¥₹(]*\Z"): _MINUS,
}


def _token(match: re.Match[str]) -> tuple[Found, int, int] | None:
    """The number of a match and where it starts (with its sign) and ends; None if it is an ordinal, a date or the like."""
    text, start, end = match.string, match.start(), match.end()
    whole, part, _, _, _, _, _, more, suffix = match.groups()
    lead, after = text[max(0, start - 24) : start], text[end : end + 2]
    if more or suffix in _OTHER_SUFFIXES or _GLUED.fullmatch(lead[-2:]):
        return None
    if lead[-1:] == "." and lead[-2:] != "..":  # .5
        if part or not whole.isdigit():
            return None
        whole, part, start, lead = "0", whole, start - 1, lead[:-1]
    sign, why = 1, ""
    bare = lead.rstrip(" \t$£€¥₹(\u00a0")
    if bare and bare[-1] in _OPERATORS:
        why = next((meaning for pattern, meaning in _LEADS.items() if pattern.search(lead)), _NO_SIGN)
        if why is _MINUS:
            sign, why, start = -1, "", start - len(lead) + len(bare) - 1
    elif word := _SIGN_IN_WORDS.search(lead):
        if word[2].lower() == "minus" and not _SIGN_FITS.search(lead[: word.start(2)]):
            why = _EXPRESSION
        sign, start = -1, start - len(lead) + word.start(2)
    if _AND_A_HALF.match(text, end):
        why = _EXPRESSION
    if suffix in _VARIABLES or after[:1].isdecimal() or (not suffix and _POWER.match(after)):
        why = _EXPRESSION
    if _ODD.search(text[max(0, start - 1) : match.start()] + after[:1]):
        why = _HIDDEN
    return Found(None, why) if why else _value(match, sign, whole, part), start, end


def _value(match: re.Match[str], sign: int, whole: str, part: str | None) -> Found:
    _, _, power, power_of_ten, under, over, under_mixed, _, _ = match.groups()
    if match.end() - match.start() > _DIGITS and sum(map(str.isdigit, match[0])) > _DIGITS:
        return Found(None, "too many digits")
    digits = whole.replace(",", "").replace("\u2009", "").replace("\u202f", "")
    value = Fraction(int(digits + part), 10 ** len(part)) if part else Fraction(int(digits))
    if power := power or power_of_ten:
        if len(power.lstrip("+-")) > 3 or abs(int(power)) > _EXPONENT:
            return Found(None, "an exponent out of range")
        value *= Fraction(10) ** int(power)
    if under := under or under_mixed:
        if int(under) == 0:
            return Found(None, "division by zero")
        if over and (part or int(over) >= int(under)):
            return Found(None, _EXPRESSION)
        value = value + Fraction(int(over), int(under)) if over else value / int(under)
    return Found(sign * value, "last number")


# LaTeX to plain text, so that the rules above need to know one notation only.
_FRACTION = re.compile(r"(-?) ?\\[dtc]?frac\s?(?:\{\s?(-?[0-9.,]*[0-9])\s?\}|([0-9]))\s?(?:\{\s?([0-9]+)\s?\}|([0-9]))")
_COMMAND = re.compile(r"\\(?:[A-Za-z]+|.)", re.DOTALL)
_BLANK = re.compile(r"\\(?:(?:text|math)[a-z]*|[mf]box|boxed|rm|bf|left|right|q?quad|begin|end|displaystyle|\W)")
_SYMBOLS = {r"\,": "\u2009", "\\\\": "\n", r"\$": "$", r"\%": "%", r"\times": "×", r"\cdot": "·", r"\approx": "≈"}
_SYMBOLS |= {r"\circ": "°", r"\degree": "°", r"\ne": "≠", r"\neq": "≠", r"\to": "→", r"\rightarrow": "→"}
_SYMBOLS |= {r"\Rightarrow": "→", r"\implies": "→", r"\therefore": "→"}
_BRACES = (("{,}", ","), ("~", " "), ("^{", "^"), ("_{", "_"), ("{", " "), ("}", " "), ("^ ", "^"))
_HYPHENS = str.maketrans("\u2212\u2010\u2011\uff0d", "----")


def _plain(text: str) -> str:
    if not text.isascii():
        text = text.translate(_HYPHENS)
    if "\\" in text:
        text = text.replace(",\\! ", ",").replace("\\!", "")
        text = _FRACTION.sub(r" \1\2\3/\4\5 ", text)
        text = _COMMAND.sub(lambda name: _SYMBOLS.get(name[0]) or (" " if _BLANK.fullmatch(name[0]) else "√"), text)
    if "{" in text or "}" in text:
        for braced, bare in _BRACES:
            text = text.replace(braced, bare)
    return text.replace("^°", "°")
