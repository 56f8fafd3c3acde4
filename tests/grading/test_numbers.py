"""What counts as a reply's final number. Every table row is a promise to whoever reads a score."""

from fractions import Fraction as F
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_marl_envs.grading.numbers import Found, final_number, parse_number

READ = {
    "boxes": [
        (r"\boxed{42}", 42),
        (r"The answer is $\boxed{42}$.", 42),
        (r"\(\boxed{42}\)", 42),
        (r"\[ \boxed{42} \]", 42),
        (r"\fbox{42}", 42),
        (r"\boxed{ 42 }", 42),
        (r"\boxed{(42)}", 42),
        (r"\boxed{\left(42\right)}", 42),
        (r"\boxed{**42**}", 42),
        (r"\boxed{\text{42}}", 42),
        (r"\boxed{\textbf{42}}", 42),
        (r"\boxed{x = 42}", 42),
        (r"\boxed{x=42}", 42),
        (r"\boxed{\text{Total} = 42}", 42),
        (r"\boxed{\text{Janet makes } \$18 \text{ per day}}", 18),
        ("Units 7+8=15, tens 4+5+1=10. \\boxed{105}", 105),
        (r"\boxed{42} is my answer to question 7", 42),
        (r"\boxed{41} #### 42", 41),
    ],
    "boxed numerals": [
        (r"\boxed{18.00}", 18),
        (r"\boxed{18.}", 18),
        (r"\boxed{007}", 7),
        (r"\boxed{.5}", F(1, 2)),
        (r"\boxed{-.5}", F(-1, 2)),
        (r"\boxed{1,234,567}", 1234567),
        (r"\boxed{1{,}234}", 1234),
        (r"\boxed{1\,234}", 1234),
        (r"\boxed{1,\!234}", 1234),
        (r"\boxed{-5}", -5),
        ("\\boxed{\u22125}", -5),
        (r"\boxed{- 5}", -5),
        (r"\boxed{-\$5}", -5),
        (r"\boxed{\$-5}", -5),
        (r"\boxed{3/4}", F(3, 4)),
        (r"\boxed{\frac{3}{4}}", F(3, 4)),
        (r"\boxed{\dfrac{3}{4}}", F(3, 4)),
        (r"\boxed{\tfrac34}", F(3, 4)),
        (r"\boxed{-\frac{3}{4}}", F(-3, 4)),
        (r"\boxed{\frac{-3}{4}}", F(-3, 4)),
        (r"\boxed{\frac{36}{2}}", 18),
        (r"\boxed{1\frac{1}{2}}", F(3, 2)),
        (r"\boxed{-1 \frac{1}{2}}", F(-3, 2)),
        (r"\boxed{1 1/2}", F(3, 2)),
        (r"\boxed{1.5e3}", 1500),
        (r"\boxed{1.5 \times 10^{3}}", 1500),
        (r"\boxed{1.5\times10^3}", 1500),
        (r"\boxed{1.5\cdot 10^{-3}}", F(3, 2000)),
        (rf"\boxed{{{'9' * 100}}}", int("9" * 100)),
    ],
    "units": [
        (r"\boxed{\$18}", 18),
        (r"\boxed{$18}", 18),
        (r"\boxed{£18}", 18),
        (r"\boxed{42\text{ cm}}", 42),
        (r"\boxed{42 \text{ cm}^2}", 42),
        (r"\boxed{42\,\mathrm{cm}^{2}}", 42),
        (r"\boxed{42 cm²}", 42),
        (r"\boxed{42km}", 42),
        (r"\boxed{42~\text{cm}}", 42),
        (r"\boxed{42 apples in total}", 42),
        (r"\boxed{\$18/\text{day}}", 18),
        (r"\boxed{42-inch}", 42),
        (r"\boxed{50\%}", 50),
        (r"\boxed{50%}", 50),
        (r"\boxed{18^\circ}", 18),
        (r"\boxed{18^{\circ}}", 18),
        (r"\boxed{4 million}", 4),
    ],
    "several boxes": [
        (r"\boxed{9} eggs are left, so she makes \boxed{18}", 18),
        (r"First \boxed{9}. Then we double it: \boxed{18}.", 18),
        (r"\boxed{9} \times 2 = \boxed{18}", 18),
        (r"\boxed{42} or \boxed{42}", 42),
        (r"\boxed{42}, that is \boxed{42.0}", 42),
        (r"\boxed{\boxed{42}}", 42),
        (r"\fbox{$\boxed{42}$}", 42),
        (r"Put it in \boxed{}. So we have \boxed{42}", 42),
    ],
    "after ####": [
        ("#### Step 3: Total\nThe answer is 42.", 42),  # a Markdown heading
        ("#### 42", 42),
        ("9 * 2 = 18\n#### 18", 18),
        ("####18", 18),
        ("#### 1,080", 1080),
        ("#### $18", 18),
        ("#### -3.5", F(-7, 2)),
        ("#### 18 dollars\nI hope 7 helps", 18),
        ("#### 41\n#### 42", 42),
        ("#### **42**", 42),
        ("#### The answer is $42.\r\n", 42),
        ("There are more of these than not\n#### 22", 22),
    ],
    "last number": [
        ("42", 42),
        ("The answer is 42.", 42),
        ("The answer is 42!", 42),
        ("The answer is 18.00.", 18),
        ("The answer is **42**.", 42),
        ("The answer is **$42**.", 42),
        ("The answer is **\\$42**.", 42),
        ("**Answer:** 42", 42),
        ("The answer is *42*.", 42),
        ("`42`", 42),
        ("> 42", 42),
        (r"The answer is $42$.", 42),
        (r"The answer is \(42\).", 42),
        (r"\boxed 42", 42),
        ("She makes 9 * 2 = $18 every day at the farmer's market.", 18),
        ("9 * 2 = 18", 18),
        ("5 apples and 3 oranges, so 8", 8),
        ("40 + 2 is 42", 42),
        ("16 - 3 = 13", 13),
        ("x = 42", 42),
        ("Step 3: 42", 42),
        ("After 3 days, 42 apples remain.", 42),
        ("She ate 3. 13 eggs remain.", 13),
        ("It took 5 or so tries. The answer is 42", 42),
        ("He did it in 3 days.\n\n42", 42),
        ("The answer is...42", 42),
        ("it is .5", F(1, 2)),
        ("it is 3/4", F(3, 4)),
        ("she ate 1 1/2 pies", F(3, 2)),
        (r"she ate $1\frac{1}{2}$ pies", F(3, 2)),
        ("1.5e3", 1500),
        (r"$1.5 \times 10^{3}$", 1500),
        ("The total is £18", 18),
        (r"The total is \$18", 18),
        ("18 dollars", 18),
        ("It is 50%", 50),
        (r"It is $18^\circ$", 18),
        (r"It is 42\text{ cm}^2", 42),
        ("It is 42 cm^2", 42),
        ("1,234,567", 1234567),
        ("1\u2009234", 1234),
        ("答案是42元", 42),
        ("x" * 5000 + " 42", 42),
        ("7 eggs " + "x " * 300 + "42 apples", 42),
        ("\ud800 42 \x00", 42),
    ],
    "signs": [
        ("-5", -5),
        ("\u22125", -5),
        ("- 5", -5),
        ("The answer is -5", -5),
        ("The answer is - 5", -5),
        ("The temperature: -5", -5),
        ("x = - 5", -5),
        ("a loss of -$5", -5),
        ("a loss of $-5", -5),
        ("it is (-5)", -5),
        ("$-5$", -5),
        ("The result:\n- 42", 42),  # a bullet
        ("= +5", 5),
    ],
    "what is no number is passed over": [
        ("42 on the 2nd", 42),
        ("42 in 3D", 42),
        ("42 is x2", 42),
        ("42 of H2O", 42),
        ("42 in v1.2.3", 42),
        ("42 on 12/05/2024", 42),
        ("42 at 3:30", 42),
        ("42 from 192.168.0.1", 42),
        ("42 says GPT-4", 42),
        (r"42 is $x_{2}$", 42),
    ],
    "not negated": [
        ("It is not 41 but 42", 42),
        ("It is not hard: 42", 42),
        (r"It is not small. \boxed{42}", 42),
    ],
}

REFUSED = {
    "box": [
        r"\boxed{}",
        r"\boxed{ }",
        r"\boxed{x}",
        r"\boxed{3, 4}",
        r"\boxed{3 or 4}",
        r"\boxed{3 \text{ or } 4}",
        r"\boxed{42 in 3 days}",
        r"\boxed{42 \text{ and a half}}",
        r"\boxed{Step 42}",
        r"\boxed{1 234}",
        r"\boxed{12,34}",
        r"\boxed{16 - 3}",
        r"\boxed{16-3=13}",
        r"\boxed{n+5}",
        r"\boxed{n*42}",
        r"\boxed{f(42)}",
        r"\boxed{x > 5}",
        r"\boxed{\pm 5}",
        r"\boxed{5!}",
        r"\boxed{2x}",
        r"\boxed{2 x}",
        r"\boxed{2\pi}",
        r"\boxed{\sqrt{16}}",
        r"\boxed{3\sqrt{2}}",
        r"\boxed{2^5}",
        r"\boxed{10^3}",
        r"\boxed{52_8}",
        r"\boxed{2nd}",
        r"\boxed{3:30}",
        r"\boxed{12/05/2024}",
        r"\boxed{1/0}",
        r"\boxed{\frac{1}{0}}",
        r"\boxed{.1,234}",
        r"\boxed{1e400}",
        r"\boxed{1e999999999}",
        r"\boxed{9**9**9}",
        rf"\boxed{{{'9' * 101}}}",
        "\\boxed{4\u200b2}",
        "\\boxed{42\u200b}",
        "\\boxed{42 apples\ufeff}",
        "\\boxed{\uff14\uff12}",
        "\\boxed{\u0664\u0662}",
        "\\boxed{42½}",
    ],
    "box that is not closed": [
        r"\boxed{42",
        r"\boxed{42\}",
        r"\boxed{\frac{1}{2}",
        r"\boxed{41} so \boxed{42",
        r"\boxed{41 \boxed{42}",
        r"\boxed{42" + " " * 1000 + "}",
    ],
    "boxes side by side": [
        r"\boxed{41}\boxed{42}",
        r"\boxed{41}, \boxed{42}",
        r"\boxed{41} or \boxed{42}",
        r"\boxed{41} or \fbox{42}",
        r"$\boxed{41}$ and $\boxed{42}$",
        r"\(\boxed{41}\) or \(\boxed{42}\)",
        r"\boxed{41} or \boxed{42} or \boxed{42}",
        r"either \boxed{41} apples or \boxed{42} apples",
        r"\boxed{41 or \boxed{42}}",
        r"\boxed{x}, \boxed{42}",
        "1. \\boxed{41}\n2. \\boxed{42}",
    ],
    "after ####": [
        "#### ",
        "5 eggs\n####",
        "#### 41 or 42",
        "#### 42 in 3 days",
        "#### not 42",
        "The answer is not #### 42",
    ],
    "candidates": [
        "41 or 42",
        "41, 42",
        "41; 42",
        "41 | 42",
        "41 & 42",
        "41 and 42",
        "41 to 42",
        "41–42",
        "41 / 42",
        "41/42/43",
        "41...42",
        "41\n42",
        "- 41\n- 42",
        "* 41\n* 42",
        "1. 41\n2. 42",
        "(41, 42)",
        "either 41 or 42",
        "between 41 and 42",
        "41. Or 42.",
        "41 or maybe 42",
        "42 or 42 or 41 or 41",
        "$41 or $42",
        "**41** or **42**",
        r"\(41\) or \(42\)",
        "41 apples or 42 apples",
        "1 apple, 42 apples",
        "12,34",
        "1,234,56",
        "1 234 567",
        "0,500",
        "41" + " " * 300 + "42",
        "41 or " + "x " * 150 + "42",
    ],
    "expressions": [
        "16 - 3",
        "16-3",
        "The answer is 16 − 3",
        "$16 - $3",
        "(4 + 1) - 3",
        "16 × 3",
        r"$16 \times 3$",
        "16 x 3",
        "40x2",
        "3 times 6",
        "x + 3",
        "9**9**9",
        "2^5",
        "2x",
        r"\sqrt{16}",
        r"$2\pi$",
        "±5",
    ],
    "negated": [
        "not 42",
        "The answer is not 42.",
        "The answer is not **42**.",
        "It isn't 42",
        "It isn’t 42",
        "It is not equal to 42",
        "It cannot be 42",
        "x ≠ 42",
        "x != 42",
        r"$x \neq 42$",
        "41, not 42",
        r"is not \boxed{42}",
        r"isn't $\boxed{42}$",
        r"x \neq \boxed{42}",
        r"\boxed{\neq 42}",
        r"\boxed{\text{not } 42}",
    ],
    "nothing to read": [
        "",
        "no idea",
        "x_2",
        "1/0",
        r"\frac{1}{0}",
        "1e999999999",
        "9" * 100_000,
        "42\u200b",
        "\u200b42",
        "4\u200b2",
        "42½",
        "10²",
        "It was 9, now it is \uff14\uff12",
        "Total - 42",  # a minus sign or a dash?
    ],
}


def rows(table):
    return [pytest.param(*row, id=f"{name}: {row[0][:40]!r}") for name, part in table.items() for row in part]


@pytest.mark.parametrize(("text", "value"), rows(READ))
def test_reads(text, value):
    assert final_number(text).value == value


@pytest.mark.parametrize("text", rows({name: [(text,) for text in texts] for name, texts in REFUSED.items()}))
def test_refuses(text):
    assert final_number(text).value is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\boxed{42}", Found(F(42), "last boxed")),
        ("#### 42", Found(F(42), "after ####")),
        ("It is 42.", Found(F(42), "last number")),
        ("41 or 42", Found(None, "lists several candidates")),
        (r"\boxed{41}, \boxed{42}", Found(None, "lists several candidates")),
        ("16 - 3", Found(None, "an expression, not a number")),
        (r"\boxed{42", Found(None, "boxed is not closed")),
        (r"\boxed{3, 4}", Found(None, "not exactly one number")),
        ("It is not 42", Found(None, "negated")),
        ("1/0", Found(None, "division by zero")),
        ("no idea", Found(None, "no number")),
    ],
)
def test_says_why(text, found):
    assert final_number(text) == found


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,080", 1080), ("-3.5", F(-7, 2)), (" 18 ", 18), ("$18", 18), ("3/4", F(3, 4)), ("3 or 4", None), ("", None)],
)
def test_parse_number(text, value):
    assert parse_number(text) == value


INTEGERS = st.integers(-(10**12), 10**12)
FORMS = [
    "{}",
    "The answer is {}.",
    "9 * 2 = {}",
    "There were 3 bags of 7 apples, so now she has {} apples.",
    "Therefore, the total is **{}**.",
    "so $x = {}$",
    "... \\boxed{{{}}}",
    "$\\boxed{{{}}}$.",
    "\\boxed{{x = {}}}",
    "\\boxed{{{}\\text{{ cm}}}}",
    "\\boxed{{{} apples}}",
    "First \\boxed{{9}}, then twice that: \\boxed{{{}}}",
    "so 9 * 2\n#### {}",
    "#### {} dollars",
]


@given(INTEGERS, st.sampled_from(FORMS), st.sampled_from(["{}", "{:,}", "{}.00"]))
def test_any_integer_in_any_form(number, form, numeral):
    assert final_number(form.format(numeral.format(number))).value == number


@given(st.integers(0, 10**12), st.sampled_from(FORMS), st.sampled_from(["${:,}", "\\${:,}", "£{}", "{}%", "{}\\%"]))
def test_any_amount_in_any_form(number, form, amount):
    assert final_number(form.format(amount.format(number))).value == number


@given(st.integers(-9999, 9999), st.integers(1, 9999), st.sampled_from(["{}/{}", "\\frac{{{}}}{{{}}}"]))
def test_any_fraction_in_a_box(over, under, fraction):
    assert final_number(f"\\boxed{{{fraction.format(over, under)}}}").value == F(over, under)


JOINTS = [", ", "; ", " / ", " | ", " & ", "\n", "\n\n", "\n- ", "\n* ", "... ", " - ", " – ", "  "]
JOINTS += [" or ", " and ", " to ", " either ", " or maybe ", " or else ", ". Or ", ", or ", " versus "]
LEADS = ["", "The answer is ", "Answer: ", "She has 5 bags of 7, so ", "x = ", "- ", "either ", "**Answer:** "]
DRESSES = ["{}", "${}", "\\${}", "**{}**", "`{}`", "({})", "\\({}\\)", "{}%", "{} apples", "{} square feet"]
CANDIDATES = st.lists(st.integers(-9999, 9999), min_size=2, max_size=5).filter(lambda numbers: len(set(numbers)) > 1)


@given(CANDIDATES, st.sampled_from(JOINTS), st.sampled_from(LEADS), st.sampled_from(DRESSES))
def test_a_list_of_candidates_is_no_answer(numbers, joint, lead, dress):
    candidates = joint.join(dress.format(number) for number in numbers)
    assert final_number(f"{lead}{candidates}").value is None
    assert final_number(f"{lead}{candidates}.").value is None
    assert final_number(f"\\boxed{{{candidates}}}").value is None
    assert final_number(f"#### {candidates}".replace("\n", " ")).value is None


@given(
    CANDIDATES, st.sampled_from(JOINTS), st.sampled_from(LEADS), st.sampled_from(["{}", "${}$", "\\({}\\)", "**{}**"])
)
def test_a_list_of_boxes_is_no_answer(numbers, joint, lead, dress):
    boxes = joint.join(dress.format(f"\\boxed{{{number}}}") for number in numbers)
    assert final_number(f"{lead}{boxes}").value is None


PIECES = [
    "\\boxed{",
    "\\fbox{",
    "####",
    "\\frac",
    "\\text{",
    "\\times",
    "\\neq",
    "\\circ",
    "\\$",
    "\\,",
    "\\",
    "{3}",
    "{0}",
]
PIECES += [
    "{",
    "}",
    "41",
    "42",
    "1,234",
    "0",
    ".5",
    "5.",
    "1/0",
    " 1/2",
    "e9999",
    "10^",
    "9**9",
    "²",
    "½",
    "٤",
    "４",
    "万",
]
PIECES += ["or", "and", "not", "n't", "apples", "a", "x", "st", "e", *"×*_^°-−–.,/≠=:%|()!'$ \n\t\0\u2009\u200b\ud800"]


@settings(max_examples=500)
@given(st.text(st.characters()) | st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_never_raises(text):
    for number in (final_number(text).value, parse_number(text)):
        assert number is None or abs(number) < 10**400


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(PIECES), max_size=3).map("".join),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join),
    st.sampled_from([100, 900, 4000, 20_000]),
    st.lists(st.sampled_from(PIECES), max_size=3).map("".join),
    st.sampled_from(["{}", "\\boxed{{{}}}", "#### {}"]),
)
def test_repetition_is_never_slow(head, unit, length, tail, form):
    assert fastest(form.format(head + unit * (length // len(unit)) + tail)) < 0.1


@pytest.mark.parametrize(
    "text",
    [
        "9" * 10**6,
        "," * 10**6,
        "{" * 10**6,
        "}" * 10**6,
        " " * 10**6 + "1",
        "-" * 10**6 + "1",
        "1," * 300_000,
        "1/" * 300_000,
        " or 1" * 100_000,
        "\\boxed{" * 100_000,
        "\\boxed{1}" * 100_000,
        "\\boxed{" * 1000 + "1" + "}" * 1000,
        "\\boxed{" + "{" * 10_000 + "}" * 10_000 + "}",
        "\\boxed{1" + "a" * 950 + "!}",
        "\\boxed{1" + " " * 950 + "!}",
        "\\boxed{" + "a=" * 450 + "1!}",
        "\\frac{1}{" * 100_000,
        "\\" * 10**6,
        "#### 1" + " a" * 400_000,
        "9**9**9",
        "1e999999999",
    ],
    ids=lambda text: f"{text[:12]!r} {len(text)}",
)
def test_adversarial_texts_are_fast(text):
    assert fastest(text) < 0.1  # seconds; 0.02 is usual, the rest is for slow machines


def fastest(text):
    """Seconds of the fastest of three readings, or of the first if it is fast."""
    times = []
    while len(times) < 3 and not (times and times[-1] < 0.05):
        start = process_time()
        final_number(text)
        parse_number(text)
        times.append(process_time() - start)
    return min(times)
