r"""The same answer in other notations is the same answer, and what only looks alike is not."""

from __future__ import annotations

import pytest
from cases import every

from llm_marl_envs.grading.mathematics import grade_math
from llm_marl_envs.grading.notation import interval, solutions, standard
from llm_marl_envs.grading.numbers import final_number

pytest.importorskip("math_verify")

PROSE = " And that is all that there is to say about it." * 110

RIGHT = [
    # whole replies
    ("x", "Final Answer: The final answer is $x$. I hope it is correct."),
    ("\\frac12", "Final Answer: The final answer is $\\frac{1}{2}$. I hope it is correct."),
    ("5", "The final answer is: $\\boxed{5}$. I hope it is correct."),
    ("5", f"\\boxed{{5}}{PROSE}"),
    ("5", "I first got \\boxed{3}, but that ignores the zero. So the answer is \\boxed{5}."),
    ("\\frac{3}{2}", "\\boxed{1\\frac12}, or \\boxed{\\frac32}"),
    # units, signs, Unicode, short forms
    ("18", "\\boxed{18 dollars}"), ("18", "\\boxed{18 dollars per day}"), ("18", "\\boxed{\\$18}"), ("18", "\\boxed{+18}"),
    ("12", "\\boxed{12 \\text{ cm}}"), ("300000000", "\\boxed{3e8}"), ("1.2\\times 10^{6}", "\\boxed{1.2e6}"), ("0.000012", "\\boxed{1.2e-5}"),
    ("-5", "\\boxed{minus 5}"), ("-5", "\\boxed{negative 5}"), ("-5", "\\boxed{−5}"), ("2\\sqrt{3}", "\\boxed{2√3}"),
    ("3\\sqrt{2}", "\\boxed{3√(2)}"), ("\\frac{\\sqrt2}{2}", "\\boxed{√2/2}"), ("\\sqrt[3]{2}", "\\boxed{∛2}"), ("4\\sqrt{2}", "\\boxed{4\\sqrt(2)}"),
    ("\\frac{1}{2}", "\\boxed{½}"), ("1\\frac{1}{2}", "\\boxed{1½}"), ("x^2+1", "\\boxed{x²+1}"), ("x_1", "\\boxed{x₁}"),
    ("\\frac{\\pi}{2}", "\\boxed{\\frac\\pi2}"), ("\\frac{a}{b}", "\\boxed{\\frac ab}"), ("\\frac{2\\pi}{3}", "\\boxed{2π/3}"), ("2\\pi", "\\boxed{2π}"),
    ("\\alpha+\\beta", "\\boxed{α + β}"), ("\\infty", "\\boxed{∞}"), ("30^\\circ", "\\boxed{30°}"), ("1-\\frac{1}{e}", "\\boxed{1-\\frac1e}"),
    ("(-\\infty,-1)\\cup(1,\\infty)", "\\boxed{(−∞, −1) ∪ (1, ∞)}"), ("\\frac1{2004!}", "\\boxed{\\frac{1}{2004!}}"),
    ("\\frac{1}{10^{30}}", "\\boxed{10^{-30}}"), ("e^{-50}", "\\boxed{\\frac{1}{e^{50}}}"),
    # solutions, names, intervals
    ("1,-2", "\\boxed{a=1 \\text{ or } a=-2}"), ("x=1,x=2", "\\boxed{x=1 \\text{ or } x=2}"), ("2,3", "\\boxed{x_1 = 2, x_2 = 3}"),
    ("x=\\pm 2", "\\boxed{x = 2 \\text{ or } x = -2}"), ("1,2", "\\boxed{1 \\text{ and } 2}"), ("221,$8", "\\boxed{221,8}"),
    ("m_{\\max }=n^{2}-n-1", "\\boxed{n^2-n-1}"), ("m_{\\max }=n^{2}-n-1", "\\boxed{m_{\\max}=n^2-n-1}"), ("m_{\\max }=n^{2}-n-1", "\\boxed{m_{max}=n^2-n-1}"), ("N=n", "\\boxed{N=n}"), ("N=n", "\\boxed{n}"),
    ("f(x)=x^2", "\\boxed{x^2}"), ("x<3", "\\boxed{(-\\infty,3)}"), ("(0,\\infty)", "\\boxed{x>0}"), ("(-2,1)", "\\boxed{-2<x<1}"),
    ("[2,5)", "\\boxed{2 \\leq x < 5}"), ("x\\ge 2", "\\boxed{[2,\\infty)}"), ("x \\le 3", "\\boxed{x ≤ 3}"), ("0<x<1", "\\boxed{1 > x > 0}"),
]  # fmt: skip
WRONG = [
    ("5", "\\boxed{minus 5}"), ("5", "\\boxed{negative 5}"), ("12", "\\boxed{12 and a half}"), ("4", "\\boxed{4 million}"), ("7", "\\boxed{7 hundred}"),
    ("3", "\\boxed{3 halves}"), ("2", "\\boxed{half of 2}"), ("7", "\\boxed{less than 7}"), ("12", "\\boxed{a dozen less 12}"),
    ("\\frac1{2004!}", "\\boxed{\\frac1{2006!}}"), ("2006!", "\\boxed{2005!}"), ("\\frac{1}{100!}", "\\boxed{\\frac{1}{101!}}"),
    ("e^{-1000}", "\\boxed{e^{-2000}}"), ("e^{-50}", "\\boxed{e^{-60}}"), ("10^{-20}", "\\boxed{10^{-21}}"), ("\\frac{1}{10^{30}}", "\\boxed{0}"),
    ("0.000012", "\\boxed{0.0000123}"), ("1-\\frac1e", "\\boxed{1+\\frac1e}"), ("1-\\frac{1}{e}", "\\boxed{1+\\frac{1}{e}}"),
    ("4", "\\boxed{4\\sqrt(2)}"), ("3", "\\boxed{3²}"), ("2", "\\boxed{2₃}"), ("\\sqrt{2}", "\\boxed{√(2}"), ("1.2\\times 10^{6}", "\\boxed{1.2e5}"),
    ("N=n", "\\boxed{0=1}"), ("N=n", "\\boxed{1=1}"), ("N=n", "\\boxed{x=x}"), ("f(x)=x", "\\boxed{x=x}"), ("x^2=1", "\\boxed{1=1}"), ("x=5", "\\boxed{5=5}"),
    ("m=n^2", "\\boxed{n^2=n^2}"), ("221,$8", "\\boxed{221}"), ("1,2,3", "\\boxed{1,2}"), ("\\{1,2\\}", "\\boxed{1}"), ("1,-2", "\\boxed{a=1}"),
    ("1,-2", "\\boxed{a=1 \\text{ or } b=-2}"), ("1", "\\boxed{1 \\text{ or } -2}"), ("1", "\\boxed{a=1 \\text{ or } a=-2}"), ("5", "\\boxed{x=5,y=6}"),
    ("x<3", "\\boxed{(-\\infty,3]}"), ("x<3", "\\boxed{x\\le 3}"), ("x>0", "\\boxed{x<0}"), ("(-\\infty,3)", "\\boxed{x>3}"), ("[1,2]", "\\boxed{1<x<2}"),
    ("3", "\\boxed{x<3}"), ("5", "\\boxed{3} or \\boxed{5}"), ("5", "\\boxed{3}, \\boxed{5}"), ("5", "\\boxed{3} and \\boxed{5}"),
    ("5", "\\boxed{3}\n\\boxed{5}"), ("2", "x = \\boxed{1}, y = \\boxed{2}"), ("5", "\\boxed{3} \\text{ or } \\boxed{5}"), ("3", "It is \\boxed{3}. No, wait, it must be \\boxed{5}."),
]  # fmt: skip


@every(("gold", "reply"), RIGHT)
def test_right(gold, reply):
    score = grade_math(gold, reply)
    assert score.value == 1.0, score


@every(("gold", "reply"), WRONG)
def test_wrong(gold, reply):
    score = grade_math(gold, reply)
    assert score.value == 0.0, score


@every(
    ("text", "tex"),
    [
        ("2√3", "2\\sqrt{3}"), ("√(x+1)", "\\sqrt{x+1}"), ("½", "\\frac{1}{2}"), ("2 ¾", "2\\frac{3}{4}"), ("x²ⁿ", "x^{2n}"), ("a₁₂", "a_{12}"),
        ("\\frac\\pi2", "\\frac{\\pi}{2}"), ("\\dfrac ab", "\\frac{a}{b}"), ("\\frac{a}{b}", "\\frac{a}{b}"), ("\\frac{\\frac12}{3}", "\\frac{\\frac{1}{2}}{3}"),
        ("3e8", "3 \\times 10^{8}"), ("3e-8", "3 \\times 10^{-8}"), ("2e", "2e"), ("xe3", "xe3"), ("0x3e8", "0x3e8"),
        ("+5", "5"), ("$+5$", "$5$"), ("1+5", "1+5"), ("minus 5", "-5"), ("5 minus 3", "5 minus 3"), ("\\sqrt(2)", "\\sqrt{2}"), ("\\sqrt{2}", "\\sqrt{2}"),
        ("", ""), ("\ud800", "\ud800"),
    ],
)  # fmt: skip
def test_the_standard_notation(text, tex):
    assert standard(text) == tex


@every(
    ("text", "form"),
    [
        ("x<3", "(-\\infty,3)"), ("x \\le 3", "(-\\infty,3]"), ("3 > x", "(-\\infty,3)"), ("x \\geqslant -1", "[-1,\\infty)"),
        ("-2<x\\le 5", "(-2,5]"), ("5 \\ge x > -2", "(-2,5]"), ("1<x>3", None), ("x", None), ("x=3", None), ("<", None), ("<<<<", None),
    ],
)  # fmt: skip
def test_inequalities_as_intervals(text, form):
    assert interval(text) == form


@every(
    ("text", "values"),
    [
        ("a=1 \\text{ or } a=-2", ["1", "-2"]), ("x_1 = 2, x_2 = 3", ["2", "3"]), ("x = 1; x = 2", ["1", "2"]), ("a=1 or b=2", []),
        ("a=1", []), ("(a=1, a=2)", []), ("a=b=1", []), ("= or =", []),
    ],
)  # fmt: skip
def test_solutions_of_one_unknown(text, values):
    assert solutions(text) == values


@every(
    ("reply", "number"),
    [
        ("The answer is minus 5.", -5), ("\\boxed{minus 5}", -5), ("\\boxed{negative 5}", -5), ("minus 5", -5), ("It equals negative 5", -5),
        ("10 minus 5", None), ("twelve minus 5", None), ("x minus 5", None), ("The answer is 12 and a half.", None), ("\\boxed{12 and a half}", None),
        ("She has 12 and a quarter", None), ("It's 12 and one half", None), ("It takes 12 hours and a half", None), ("12 and a cat", 12),
        ("\\boxed{+18}", 18), ("\\boxed{18 dollars}", 18), ("\\boxed{3e8}", 300_000_000), ("\\boxed{42}" + PROSE, 42),
        ("The final answer is $42$. I hope it is correct.", 42), ("First \\boxed{41}. That was wrong, the answer is \\boxed{42}.", 42),
        ("\\boxed{41} or \\boxed{42}", None), ("\\boxed{41}, \\boxed{42}", None), ("x = \\boxed{41}, y = \\boxed{42}", None),
    ],
)  # fmt: skip
def test_numbers(reply, number):
    assert final_number(reply).value == number


@pytest.mark.parametrize(
    "text", ["√" * 200_000, "½" * 200_000, "\\frac" * 50_000, "1e1" * 100_000, "<" * 200_000, "a=1 or " * 50_000]
)
def test_hostile_texts_are_refused_in_no_time(text):
    assert grade_math("7", f"\\boxed{{{text[:900]}}}").value == 0.0
    assert grade_math("7", text).value == 0.0
    assert final_number(text).value is None or "1e1" in text
