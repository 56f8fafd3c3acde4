r"""Is a reply's final answer the gold answer, whatever its form? `\frac{1}{2}`, `0.5` and `\dfrac12` are one answer.

What counts as the answer: the content of the reply's box or boxes (all boxes of the reply must agree), else the rest of a
`####` line, else what follows the last "answer is" or "answer:", else the whole reply if it is one short line. The reply is
not searched for the gold answer: a list of candidates scores 0. Then, in this order:

1. Refused: an answer that is negated or too long, has hidden characters, towers or huge powers, a different number of
   parts than the gold answer (commas, "or", a plus-minus, relation signs), or an equation between numbers.
2. The same text up to notation (`\dfrac`, `\left`, `\text`, spaces) is right. Answers that are words are compared as text
   only: as mathematics "even" would equal "neve".
3. Two plain numbers are compared exactly, here.
4. Everything else is decided by Math-Verify (a grader like that of arXiv 2501.16205), gold answer first, in `workers`.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations

from llm_marl_envs.errors import WorkerFailed
from llm_marl_envs.grading import workers
from llm_marl_envs.grading.notation import interval, solutions, standard
from llm_marl_envs.grading.numbers import negated
from llm_marl_envs.reading import LONGEST_REPLY, Box, final_boxes, spoken
from llm_marl_envs.task import Score

TAIL = 4000  # characters in which boxes and phrases are looked for
LONGEST = 300  # characters of an answer
SHORT = 120  # characters of a reply that is an answer as a whole
DEEPEST = 12  # brackets in brackets
PARTS = 6  # answers of one problem
NEAR = Fraction(1, 1000)  # decimals closer than this, and not equal, are left to Math-Verify, which rounds

_FORMULA = re.compile(r"(\$[^$\n]+\$)\.?(?:\s+I hope it is correct\.?)?[ \t*_]*(?:\n|\Z)", re.IGNORECASE)
_PHRASE = re.compile(r"(?i)\banswer\s*(?:is|are|:|=)+\s*:?")
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u0300-\u036f\u200b-\u200f\u202a-\u202e\u2060-\u2069\u20d0-\u20ff\ufe00-\ufe0f\ufeff\ud800-\udfff]")  # fmt: skip
_TOWER = re.compile(
    r"\*\*|\^\s*(?:\{[^{}]{0,40}\^|\([^()]{0,40}\^|(?:\\?\w|\{[^{}]{0,40}\}|\([^()]{0,40}\))\s*\^)|\^\s*[{(]?\s*[-+]?\d{4}|\d{60}|\d[eE][-+]?\d{3}|\d[eE]\d{3}|!"
)
_HUGE = re.compile(r"\^\s*[{(]?\s*[-+]?\d{4}|\d{60}|!")
_NOT = re.compile(r"(?i)^\W*(?:not|never)\b|\\not\b|\\neq?\b|≠|!=|\\lnot|\\neg\b|\b(?:or|either|maybe|perhaps)\b|\\(?:lor|vee)\b|\|\|")  # fmt: skip
_MARKS = (",", "\\pm", "±", "\\mp", ";", "\\approx", "\\cup", "\\{", "|", "\\mid", "&", "\\\\")
_STEP = re.compile(
    r"\\(?:to|gets|mapsto|implies|iff|therefore|because|(?:long|Long|hook|up|down|ne|se)?(?:left|Left)?(?:right|Right)?arrow)(?![A-Za-z])|[=-]>|[\u2190-\u21ff\u27f0-\u27ff\u2234\u2235]"
)
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
_GAP = r"(?:\\[ ,;:!]|[\s~])+"
_APART = re.compile(rf"[\d.]{_GAP}[\d.]")
_SPACED = re.compile(rf"(?<![\d.,])\d{{1,3}}(?:{_GAP}\d{{3}})+(?![\d.,])")
_MIXED = re.compile(rf"(?<![\d/.,])(\d+){_GAP}(\d+)/(\d+)(?![\d/.,])")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z][A-Za-z'\u2019]+")
_CLAIMING = re.compile(
    r"(?:is|are|was|does)(?:n't)?|be|cannot|can't|but|no|nor|none|neither|nothing|wrong|false|incorrect|except|than|instead|rather"
    r"|minus|negative|plus|times|less|more|hal(?:f|ves)|quarters?|thirds?|dozens?|hundreds?|thousands?|millions?|billions?|trillions?"
)
UNIT_WORDS = 3  # which may follow a number: "square centimetres each"
_BASE = re.compile(r"\d_\{?\s*(\d+|[a-z]+)\s*\}?")
_BETWEEN_NUMBERS = re.compile(r"^[^=A-Za-z\\]*=|\\(?:frac|sqrt)[^=A-Za-z]*=")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}")
_SHORT_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_SHORT_ROOT = re.compile(r"\\sqrt\s*(\d)")
_BLANK = re.compile(r"(?<!\\)\\[,;:! ]|\\(?:left|right|displaystyle|quad|qquad)(?![A-Za-z])|\s|~|\$|\\\$|\{\}")
_GROUPED = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?![\d,])")
_THIN_COMMA = re.compile(r"\{,\}|,\\!\s?")
_BRACKET = re.compile(r"[(\[]|\\\{")
_NAME = re.compile(
    r"(?:[A-Za-z]|\\(?!frac|sqrt)[A-Za-z]+)(?:_(?:\w|\{[^{}=]*\}))?'*(?:\([a-z](?:,\s*[a-z])*\))?"
)  # x, x_{\max}, f(x)
_QUANTITY = re.compile(
    r"\s*(\\?\$?\s*[-+]?[\d.,/]*\d)\s+[A-Za-z]{3,}(?:[ ](?:per[ ])?[A-Za-z]{2,}){0,2}\.?\s*"
)  # 18 dollars
_SIMPLE = re.compile(r"\s*-?[0-9]+(?:[.,/][0-9]+)*\s*|-?\\d?frac\{-?[0-9]+\}\{[0-9]+\}")  # kept fast
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LETTER = re.compile(r"[A-Za-z]")
_DEGREES = re.compile(r"\^\{?\\circ\}?|°")
_WORDS = re.compile(r"\(?[A-Za-z][A-Za-z'-]*\)?(?:[ ,]+[A-Za-z][A-Za-z'-]*)*")
_INTEGER = re.compile(r"[-+]?\d+")
_DECIMAL = re.compile(r"[-+]?\d*\.\d+|[-+]?\d+\.")
_RATIO = re.compile(r"([-+]?)(?:\\frac\{([-+]?\d+)\}\{(\d+)\}|(\d+)/(\d+))")


def grade_math(
    gold: str | Sequence[str],
    text: str | None,
    kind: str = "answer",
    *,
    tolerance: float | Sequence[float | None] | None = None,
) -> Score:
    """1 if the reply's answer is the gold answer, else 0. Several golds are parts of one answer: all are needed, in any
    order, and nothing else. `tolerance` (absolute; one for all golds, or one for each) applies to numbers. Raises
    WorkerFailed only if the gold answer itself cannot be handled, or no worker is available: then nothing is known about
    the reply."""
    if kind != "answer":
        return Score(0.0, f"this task grades answers, not {kind}")
    answers, why = read_answers(text or "")
    golds = (gold,) if isinstance(gold, str) else tuple(gold)
    tolerances = tuple(tolerance) if isinstance(tolerance, Sequence) else (tolerance,) * len(golds)
    score = Score(0.0, why)
    for answer in answers:  # each of them has to be right
        score = _all_graded(tuple(zip(golds, tolerances, strict=True)), answer, why)
        if score.value == 0.0:
            return score._replace(why=f"two different boxed answers: {score.why}") if len(answers) > 1 else score
    return score


def _all_graded(golds: tuple[tuple[str, float | None], ...], answer: str, why: str) -> Score:
    if len(golds) == 1:
        return _graded(golds[0][0], answer, why, golds[0][1])
    parts = _split(answer)
    if len(parts) != len(golds) or len(golds) > PARTS:
        return Score(0.0, f"{len(parts)} answers, expected {len(golds)}", answer)
    right = [[_graded(g, part, why, tolerance).value == 1.0 for part in parts] for g, tolerance in golds]
    matched = any(all(right[i][j] for i, j in enumerate(order)) for order in permutations(range(len(parts))))
    return Score(float(matched), f"{why}: {'all' if matched else 'not all'} of {len(golds)} answers", answer)


def read_answers(text: str) -> tuple[tuple[str, ...], str]:
    """A reply's answer, and where it was found: one text, or several if its boxes differ; or none, and why."""
    text = spoken(text)
    if len(text) > LONGEST_REPLY:
        return (), "too long for a reply"
    if boxes := final_boxes(text):
        return _boxed(text, boxes)
    near = text[-TAIL:]
    if (start := near.rfind("####")) >= 0:
        return _line(near[start + 4 :], "after ####")
    if phrases := list(_PHRASE.finditer(near)):
        rest = near[phrases[-1].end() :].lstrip()
        formula = _FORMULA.match(rest)  # "the final answer is $X$. I hope it is correct." (Minerva, arXiv 2206.14858)
        return _line(formula[1] if formula else rest, "answer phrase")
    alone = text.strip() if len(text) < 4 * SHORT else text
    if alone and len(alone) <= SHORT and "\n" not in alone:
        return _line(alone, "whole reply")
    return (), "no answer: expected \\boxed{...}"


def _boxed(text: str, boxes: tuple[Box, ...]) -> tuple[tuple[str, ...], str]:
    answers: dict[str, str] = {}
    for box in boxes:
        if box.content is None:
            return (), "boxed is not closed, or too long"
        if negated(text, box.start):
            return (), "negated"
        answers.setdefault(_normal(box.content), box.content)
    return (tuple(answers.values()), "boxed") if len(answers) <= PARTS else ((), "many boxed answers")


def _line(text: str, why: str) -> tuple[tuple[str, ...], str]:
    line = text.partition("\n")[0].strip().strip("*_ ").removesuffix(".").strip()
    if line[:2] in ("\\(", "\\[") and line[-2:] in ("\\)", "\\]"):
        line = line[2:-2]
    return ((line,), why) if line else ((), "no answer")


def _graded(gold: str, answer: str, where: str, tolerance: float | None) -> Score:
    if not (_SIMPLE.fullmatch(gold) and _SIMPLE.fullmatch(answer)):
        gold, answer = _aligned(gold, answer)
    if refusal := _refusal(gold, answer):
        return Score(0.0, f"{where}: {refusal}")
    ours, theirs = _normal(gold), _normal(answer)
    if not theirs:
        return Score(0.0, f"{where} is empty")
    if ours == theirs:
        return Score(1.0, where, answer)
    if _WORDS.fullmatch(_spoken(gold)):
        same = _spoken(gold).strip("()").casefold() == _spoken(answer).strip("()").casefold()
        return Score(float(same), f"{where}, compared as words", answer)
    if _HUGE.search(gold):
        return Score(0.0, f"{where}: huge powers and factorials are compared as they are written", answer)
    equal = _equal_numbers(ours, theirs) if tolerance is None else None
    if equal is None:
        return _verified(gold, answer, where, tolerance)
    return Score(float(equal), where if equal else f"{where} is another number", answer)


def _aligned(gold: str, answer: str) -> tuple[str, str]:
    """Both in plain LaTeX, and in the same form where only their forms differ: a name before the value, solutions joined by
    "or", inequality and interval, a number with its unit."""
    gold, answer = standard(gold), _MIXED.sub(r"\1\\frac{\2}{\3}", standard(answer))
    name, value = _named(gold)
    if name and ("=" not in answer or _named(answer)[0] == name):
        gold, answer = value, _named(answer)[1]
    wanted, found = solutions(gold), solutions(answer)
    if wanted and len(wanted) == len(theirs := found or _split(answer)):
        gold, answer = ",".join(wanted), ",".join(theirs)
    elif found and (len(found) == len(parts_of(gold)) or "\\pm" in gold):
        answer = ",".join(found)
    one, other = interval(gold), interval(answer)
    if one and (other or answer.strip(" $")[:1] in ("(", "[", "\\")):
        gold, answer = one, other or answer
    elif other and gold.strip(" $")[:1] in ("(", "[", "\\"):
        answer = other
    if (
        (quantity := _QUANTITY.fullmatch(answer))
        and _number(_normal(gold))
        and not any(map(_CLAIMING.fullmatch, _words(answer)))
    ):
        answer = quantity[1]
    return gold, answer


def _named(text: str) -> tuple[str, str]:
    """The name before the value ("" if there is none), and the value: `x_{\\max} = 3` is ("x_{\\max}", "3")."""
    left, equals, right = text.partition("=")
    if equals and "=" not in right and right.strip(" $") and _NAME.fullmatch(left.strip().strip("$").strip()):
        return _normal(left).replace("\\max", "max").replace("\\min", "min"), right
    return "", text


def is_plain_number(text: str) -> bool:
    """Whether a text is one number in digits: `-3`, `1,000`, `7/8`, `\\frac{7}{8}`."""
    return _SIMPLE.fullmatch(text) is not None


def named_value(text: str) -> str:
    """An answer without the name before it: 3 for `x = 3`."""
    return _named(text)[1].strip()


def parts_of(text: str) -> list[str]:
    """The parts of a list, such as `1,-2`; one for a number with its thousands grouped."""
    return _split(_GROUPED.sub(lambda m: m[0].replace(",", ""), _THIN_COMMA.sub(",", text)))


def _refusal(gold: str, answer: str) -> str:
    """Why an answer is not compared; "" if it is."""
    if len(answer) > max(LONGEST, 2 * len(gold)):
        return "too long"
    if _UNSEEN.search(answer):
        return "hidden characters"
    if _depth(answer) > DEEPEST:
        return "nested too deep"
    if _TOWER.search(answer) and not _TOWER.search(gold):
        return "a tower, a huge power or a factorial"
    if _NOT.search(answer) and not _NOT.search(gold):
        return "negated, or an alternative"
    if _FOREIGN_DIGIT.search(answer):
        return "digits that are not 0-9"
    if _STEP.search(answer) and not _STEP.search(gold):
        return "a derivation, not an answer"
    if _APART.search(_SPACED.sub("", answer)) and not _APART.search(gold):
        return "numbers next to one another"
    new_words = _words(answer) - _words(gold)
    if new_words.total() > UNIT_WORDS or any(map(_CLAIMING.fullmatch, new_words)):
        return "a sentence, not an answer"
    if (bases := set(_BASE.findall(answer))) and bases != set(_BASE.findall(gold)):
        return "another base than the gold answer's"
    bare_gold, bare = _normal(gold), _normal(answer)
    for mark in _MARKS:
        allowed = bare_gold.count(mark) + (mark == "," and "\\pm" in bare_gold)  # which may be written out
        if bare.count(mark) > allowed:
            return f"more parts than the gold answer ({mark})"
    if bare.count("=") > bare_gold.count("=") + max(1, bare_gold.count(",") + 1):
        return "a chain of equations"
    if (
        "=" in bare
        and ("=" not in bare_gold or not _LETTER.search(_COMMAND.sub("", bare)))
        and _BETWEEN_NUMBERS.search(bare)
    ):
        return "an equation between numbers"
    if "=" in bare and bare.partition("=")[0] == bare.partition("=")[2]:
        return "an equation that is always true"
    several = "," in bare_gold or ";" in gold or "and" in gold
    if several and len(parts_of(gold)) > len(parts_of(answer)) and "\\pm" not in bare:
        return "fewer parts than the gold answer"
    return ""


def _words(text: str) -> Counter[str]:
    """The words of a text, without LaTeX commands and single letters."""
    return Counter(word.casefold().replace("\u2019", "'") for word in _WORD.findall(_TEXT.sub(r" \1 ", text)))


def _depth(text: str) -> int:
    depth = deepest = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    return deepest


@functools.lru_cache(maxsize=4096)
def _normal(text: str) -> str:
    """A text in one standard notation."""
    text = _TEXT.sub(r"\1", text[: 4 * LONGEST].strip().removesuffix("."))
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\cfrac", "\\frac")
    text = _THIN_COMMA.sub(",", text).replace("\u2212", "-")
    if not _BRACKET.search(text):  # (1,234) is a pair
        text = _GROUPED.sub(lambda m: m[0].replace(",", ""), text)
    text = _BLANK.sub("", text)
    text = _SHORT_FRACTION.sub(lambda m: f"\\frac{{{m[1] or m[2]}}}{{{m[3] or m[4]}}}", text)
    text = _SHORT_ROOT.sub(r"\\sqrt{\1}", text)
    return _DEGREES.sub("", text)


def _spoken(text: str) -> str:
    return " ".join(_TEXT.sub(r" \1 ", text.strip().strip("$")).removesuffix(".").split())


def _equal_numbers(gold: str, answer: str) -> bool | None:
    """Whether two plain numbers are equal; None if Math-Verify must decide."""
    one, other = _number(gold), _number(answer)
    if one is None or other is None:
        return None
    (value, is_decimal), (theirs, other_decimal) = one, other
    if value == theirs:
        return True
    return None if (is_decimal or other_decimal) and abs(value - theirs) <= NEAR else False


def _number(text: str) -> tuple[Fraction, bool] | None:
    """A plain number's value, and whether it is written as a decimal."""
    if len(text) > 30:
        return None
    if _INTEGER.fullmatch(text):
        return Fraction(int(text)), False
    if _DECIMAL.fullmatch(text) and text.isascii():
        return Fraction(text.removesuffix(".")), True
    if (ratio := _RATIO.fullmatch(text)) and int(ratio[3] or ratio[5]):
        value = Fraction(int(ratio[2] or ratio[4]), int(ratio[3] or ratio[5]))
        return (-value if ratio[1] == "-" else value), False
    return None


def _verified(gold: str, answer: str, where: str, tolerance: float | None) -> Score:
    verdict = workers.shared().ask(gold, answer, tolerance)
    if verdict.get("budget"):
        return Score(0.0, f"{where}: {verdict['late']}")
    if "late" in verdict:
        # A model's text must not be able to make its episode FAILED. Check whether the gold answer is the problem.
        if "late" in (itself := workers.shared().ask(gold, gold, tolerance)):
            raise WorkerFailed(f"the gold answer {gold!r:.100} cannot be compared with itself: {itself['late']}")
        return Score(0.0, f"{where}: {verdict['late']}")
    if not verdict["read"]:
        return Score(0.0, f"{where} cannot be read as mathematics")
    return Score(
        float(verdict["equal"]), where if verdict["equal"] else f"{where} is not equal to the gold answer", answer
    )


def _split(text: str) -> list[str]:
    """An answer's parts: split at commas outside brackets, and at "and"."""
    parts, depth, start = [], 0, 0
    text = re.sub(r"\\text\s*\{\s*and\s*\}|\band\b|\\quad", ",", text)
    for i, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign in ",;" and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip(" $")]
