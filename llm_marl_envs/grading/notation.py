r"""Mathematics in one notation: what people and models write in Unicode, in words or in short LaTeX, as plain LaTeX.

`2√3`, `½`, `x²+1`, `3e8`, `\frac\pi2`, `\sqrt(2)`, `+18`, `minus 5`; solutions such as `a=1 or a=-2`; and inequalities of one
variable as intervals. Nothing is evaluated here.
"""

from __future__ import annotations

import re
import unicodedata

_GREEK = {
    unicodedata.lookup(f"GREEK {case} LETTER {name.upper()}"): f"\\{name if case == 'SMALL' else name.capitalize()} "
    for case, names in {
        "SMALL": "alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi pi rho sigma tau phi chi psi omega",
        "CAPITAL": "gamma delta theta lamda xi pi sigma phi psi omega",
    }.items()
    for name in names.split()
}
_SIGNS = {
    "∞": "\\infty ", "×": "\\times ", "⋅": "\\cdot ", "·": "\\cdot ", "÷": "\\div ", "≤": "\\le ", "≥": "\\ge ", "⩽": "\\le ",
    "⩾": "\\ge ", "±": "\\pm ", "∓": "\\mp ", "∪": "\\cup ", "∩": "\\cap ", "∅": "\\emptyset ", "∈": "\\in ", "°": "^\\circ ",
    "−": "-", "–": "-", "‐": "-", "‑": "-", "－": "-", "＋": "+", "＝": "=", "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℚ": "\\mathbb{Q}",
    "ℕ": "\\mathbb{N}", "⟨": "\\langle ", "⟩": "\\rangle ", "⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ",
    "⁄": "/", "∕": "/", "µ": "\\mu ", "π": "\\pi ", "ϕ": "\\phi ", "ϵ": "\\epsilon ",
}  # fmt: skip
_TABLE = str.maketrans({letter: tex.replace("lamda", "lambda").replace("Lamda", "Lambda") for letter, tex in _GREEK.items()} | _SIGNS)  # fmt: skip
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣʸ", "0123456789+-()nixy", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙₘᵢⱼₖₐₓ", "0123456789+-()nmijkax", strict=True))
_EXPONENT, _INDEX = (re.compile(f"[{re.escape(''.join(signs))}]+") for signs in (_RAISED, _LOWERED))
_VULGAR = re.compile("([0-9]?)[ ]?([\u00bc-\u00be\u2150-\u215e])")
_ROOT = re.compile(r"([√∛∜])\s*(\{[^{}]*\}|\([^()]*\)|\\[A-Za-z]+|[0-9]+(?:\.[0-9]+)?|[A-Za-z])")
_DEGREE = {"√": "", "∛": "[3]", "∜": "[4]"}
_ROOT_OF_BRACKET = re.compile(r"\\sqrt\s*\(([^()]*)\)")
_BRACED, _BARE = r"\{[^{}]*\}", r"\\[A-Za-z]+(?![A-Za-z{])|[0-9A-Za-z]"
_FRACTION = re.compile(rf"\\[dtc]?frac\s*(?:({_BARE})\s*({_BRACED}|{_BARE})|({_BRACED})\s*({_BARE}))")
_SCIENTIFIC = re.compile(r"(?<![\w.\\])([0-9]+(?:\.[0-9]+)?)[eE]([+-]?[0-9]{1,2})(?![\w.])")
_SIGN_IN_WORDS = re.compile(r"(?i)^(\W*)(?:minus|negative)\s+(?=[\\$]?[\\\d.])")
_PLUS = re.compile(r"^(\s*\$?\s*)\+\s*(?=[\\\d.A-Za-z(])")


def standard(text: str) -> str:
    """The text in plain LaTeX, as far as its notation is known."""
    if not text.isascii():
        text = _VULGAR.sub(_vulgar, text)
        text = _EXPONENT.sub(lambda found: "^{" + "".join(_RAISED[sign] for sign in found[0]) + "}", text)
        text = _INDEX.sub(lambda found: "_{" + "".join(_LOWERED[sign] for sign in found[0]) + "}", text)
        text = text.translate(_TABLE)
        text = _ROOT.sub(lambda found: f"\\sqrt{_DEGREE[found[1]]}{_braced(found[2])}", text)
    if "\\" in text:
        text = _ROOT_OF_BRACKET.sub(r"\\sqrt{\1}", text)
        text = _FRACTION.sub(
            lambda found: f"\\frac{_braced(found[1] or found[3])}{_braced(found[2] or found[4])}", text
        )
    text = _SCIENTIFIC.sub(lambda found: f"{found[1]} \\times 10^{{{int(found[2])}}}", text)
    return _PLUS.sub(r"\1", _SIGN_IN_WORDS.sub(r"\1-", text))


def _vulgar(found: re.Match[str]) -> str:
    over, _, under = unicodedata.normalize("NFKC", found[2]).partition("⁄")
    return f"{found[1]}\\frac{{{over}}}{{{under}}}"


def _braced(argument: str) -> str:
    if argument[0] == "{":
        return argument
    return "{" + (argument[1:-1] if argument[0] == "(" else argument) + "}"


# Solutions: "a=1 or a=-2".
_JOINED = re.compile(
    r"\\(?:text|mbox|mathrm)\s*\{\s*,?\s*(?:or|and)\s*,?\s*\}|\\(?:lor|vee|quad|qquad)\b|\b(?:or|and)\b|,|;"
)
_NAMED = re.compile(r"\s*\$?\s*([A-Za-z]|\\[a-z]+)(?:_\{?\w+\}?)?\s*=\s*([^=]+?)\s*\$?\s*")


def solutions(text: str) -> list[str]:
    r"""The values of one unknown in an answer such as `a=1 \text{ or } a=-2` or `x_1 = 2, x_2 = 3`; empty for anything else."""
    if "(" in text or "[" in text or text.count("=") < 2:
        return []
    parts = [part for part in _JOINED.split(text) if part.strip(" $\\")]
    named = [_NAMED.fullmatch(part) for part in parts]
    if not all(named) or len({found[1] for found in named if found}) != 1:
        return []
    return [found[2] for found in named if found]


# Intervals: "x<3" and "-2 \le x < 5".
_LESS = r"(<|>|\\leq?(?:slant)?|\\geq?(?:slant)?|\\lt|\\gt)"
_ONE_SIDED = re.compile(rf"([A-Za-z])\s*{_LESS}\s*([^<>=]+)|([^<>=A-Za-z]+)\s*{_LESS}\s*([A-Za-z])")
_TWO_SIDED = re.compile(rf"([^<>=]+?)\s*{_LESS}\s*([A-Za-z])\s*{_LESS}\s*([^<>=]+)")
_FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}


def _sign(tex: str) -> str:
    return {"<": "<", ">": ">", "\\lt": "<", "\\gt": ">"}.get(tex, "≤" if tex.startswith("\\le") else "≥")


def interval(text: str) -> str | None:
    """An inequality of one variable as an interval, in LaTeX; None if it is none."""
    text = text.strip().strip("$").strip()
    if len(text) > 100 or not any(sign in text for sign in ("<", ">", "\\l", "\\g")):
        return None
    if two := _TWO_SIDED.fullmatch(text):
        low, first, _, second, high = two.groups()
        first, second = _sign(first), _sign(second)
        if first in ">≥":
            low, first, second, high = high, _FLIPPED[second], _FLIPPED[first], low
        if first in "<≤" and second in "<≤":
            return f"{'(' if first == '<' else '['}{low.strip()},{high.strip()}{')' if second == '<' else ']'}"
        return None
    if one := _ONE_SIDED.fullmatch(text):
        sign, end = (_sign(one[2]), one[3]) if one[1] else (_FLIPPED[_sign(one[5])], one[4])
        if sign in "<≤":
            return f"(-\\infty,{end.strip()}{')' if sign == '<' else ']'}"
        return f"{'(' if sign == '>' else '['}{end.strip()},\\infty)"
    return None
