r"""The option that a reply chooses: one letter, in whatever dress, or nothing."""

from __future__ import annotations

import re
import time

import pytest
from cases import every
from hypothesis import given
from hypothesis import strategies as st
from places import ROOT

from llm_marl_envs.reading import LETTERS, lettered, options_in, read_choice

COLOURS = ("red", "dark blue", "green", "hot or cold")


def letter(reply: str, options: tuple[str, ...] = COLOURS) -> str | None:
    return read_choice(reply, options).letter


@every(
    "reply",
    [
        # boxes
        r"\boxed{B}", r"\boxed{b}", r"\boxed{(B)}", r"\boxed{\text{B}}", r"\boxed{\text{(B)}}", r"\boxed{\mathbf{B}}", r"\boxed{\textbf{(B)}}",
        r"\boxed{\mathrm{B}.}", r"\boxed{$B$}", r"\boxed{**B**}", r"\boxed{B.}", r"\boxed{ B }", r"\boxed{Option B}", r"\boxed{Answer: B}",
        r"\boxed{B) dark blue}", r"\boxed{B. dark blue}", r"\boxed{\text{B. dark blue}}", r"\boxed{B: dark blue}", r"\boxed{(B) dark blue}",
        r"\boxed{dark blue}", r"\boxed{\text{dark blue}}", r"\boxed{Dark Blue.}", r"\boxed{b) dark blue}", r"\fbox{B}", r"\boxed{\boxed{B}}",
        r"$$\boxed{B}$$", r"The answer is $\boxed{\text{B}}$.", "\\boxed{Ｂ}", "\\boxed{（Ｂ）}", r"\boxed{B} and so \boxed{B}",
        r"First I got \boxed{A}, but that leaves out the second term, so it is \boxed{B}.", r"The answer is A. No, I forgot the sign: \boxed{B}",
        r"\boxed{B}. C is wrong because it is green.", r"\boxed{B} A good result.", r"Not A but \boxed{B}", "\\boxed{B}\n\n" + "So it goes. " * 500,
        r"\boxed{Answer:B}", r"\boxed{The answer is (B)}",
        # tags
        "<answer>B</answer>", "<answer>(b)</answer>", "<answer>dark blue</answer>", r"<answer>\boxed{B}</answer>", "<answer> B. dark blue </answer>",
        # claims
        "The answer is (B)", "The answer is B.", "The answer is: B", "the answer is **B**", "The answer is **(B)**.", "The answer is $B$.",
        r"The answer is \(B\).", r"The answer is $\text{B}$", "The correct answer is B", "The best option is B.", "The correct choice is option B.",
        "Answer: B", "Answer:B", "**Answer:** B", "**Answer: B**", "Answer: **B**", "Answer: (b)", "Answer: b", "answer: b.", "ANSWER: B", "Answer：Ｂ",
        "Final answer: B", "Final Answer: The final answer is $B$. I hope it is correct.", "Final Answer: (B) dark blue", "Answer: B) dark blue",
        "Answer: B. dark blue", "Answer: B - dark blue", "The answer is B: dark blue.", "The answer is dark blue.", "The answer is **Dark blue**.",
        "Answer:\nB", "Therefore, the answer must be B.", "The answer is therefore B.", "The answer is most likely B.", "The answer is B, because C is green.",
        "The answer is B because A and C are warm.", "Answer: B (not C)", "I choose B.", "I would go with (B).", "I'll go with option B.",
        "Option B is correct.", "(B) is the correct answer.", "B is correct.", "Answer: B is correct", "The answer is not A. The answer is B.",
        "The answer is A. Wait, I have mixed up the signs. The answer is B.", "If the answer is A, then x is warm. So the answer is B.",
        "I don't think the answer is A. The answer is B.", "The answer is not obvious. Let us see: the answer is B.", "Answer = B", "Answer → B",
        "The answer is B\nA good exercise!", "My answer: B\n\nExplanation: it is the only cold one, unlike red.", "The answer choice is B.",
        # lines and whole replies
        "B", "(B)", "B.", "B)", "**B**", "`B`", '"B"', "[B]", "(b)", "b)", "**b**", "Ｂ", "Option B", "option (B)", "**B)**", "> B", "# B",
        "B) dark blue", "B. dark blue", "B: dark blue", "B - dark blue", "**B. dark blue**", "**B**. dark blue", "(B) dark blue.", "Option B: dark blue",
        "dark blue", "Dark blue.", "**dark blue**", "It is cold.\n\nB", "It is cold.\n**B**", "It is cold.\n\nSo, (B)", "It is cold.\nB. dark blue",
        "B\n\nIt is the cold one.", "B) dark blue\nbecause it is cold", "B) because it is cold", "B. The sky has that colour.", "(B) is right since it is cold",
        "A. red\nB. dark blue\nC. green\nD. hot or cold\nThe sky is cold, so:\nB",
        # as models write it
        'The answer is **(B) dark blue**.', '**Answer: (B) dark blue**', 'Therefore, the correct answer is **B. dark blue**.',
        '### Final Answer\n\n**B**', '### Final Answer: B', 'Final answer: **B**', '**Final Answer**: $\\boxed{B}$',
        'The final answer is: $\\boxed{\\text{B}}$', '\\boxed{\\text{B) dark blue}}', '\\boxed{\\textbf{B. dark blue}}',
        '\\[\\boxed{B}\\]', 'Thus the correct choice is:\n\n**B. dark blue**', 'Thus, the best answer is:\n\n(B) dark blue',
        'The correct answer is:\n\n**(B)**', 'answer is B', 'The right answer is option **B**.', 'So the answer is B).',
        'The answer is [B].', 'The answer is <B>.', 'The answer is “B”.', "Answer: 'B'", 'Correct option: B', 'Correct answer: B',
        'The correct letter is B', 'Letter: B', 'My final choice is B.', 'Choice: (B)', 'I select option B', 'We choose B',
        "I'd pick B", 'Hence B.', 'Therefore, B', 'So B is the answer', 'Hence, option B is the correct one.', 'B is right',
        'Hence, (B).', 'Thus option (B) is correct.', 'the correct option is (b)', 'Answer is (B)', 'ANSWER IS B',
        'The answer is\n\nB', 'Answer\nB', "Let's analyze.\nA: too hot.\nB: fits.\nC: no.\nAnswer: B",
        'A. red is too hot.\nC. green is wrong.\nThus, the answer is B.', 'The options A, C, and D are wrong. The answer is B.',
        '$\\text{Answer: B}$', 'The answer is $\\mathbf{B}$', 'The answer is $\\mathrm{(B)}$.', 'The answer is \\text{B}',
        'The answer is B!', 'The answer is: B) dark blue', 'The answer is: **B) dark blue**, since it is cold.',
        'So, the answer is (B) dark blue, not (A) red.', 'Answer: B\n\nA is too hot or cold but C is green.', 'Answer: B\n\n---',
        '**B**\n', 'B\n```', '<answer>B</answer>\n', '<answer>B: dark blue</answer>', 'Réponse : the answer is B',
        'The answer to the question is B.', 'The answer to this question is therefore B.', 'Based on this, I will answer B.',
        'The answer, then, is B.', 'The answer is, of course, B.', 'The answer is clearly B.',
        'The correct answer is therefore option B.', '\\boxed{\\mathrm{B}}', '\\boxed{B\\text{. dark blue}}',
        '\\boxed{\\text{Option B}}', '\\boxed{\\text{The answer is B}}', '\\boxed{\\{B\\}}', '\\boxed{[B]}',
        'The answer is \\underline{B}', 'Answer: \\(\\boxed{B}\\)', 'ans: B', 'Solution: B', 'So our answer is B.',
        'This matches option B.', 'This corresponds to option (B).', 'Option (B) it is.',
        # thinking
        "<think>A? \\boxed{A}</think>B", "<think>The answer is C.</think>The answer is B.", "</think>\n\n**B**",
    ],
)  # fmt: skip
def test_chosen(reply):
    assert letter(reply) == "B"


@every(
    "reply",
    [
        "", " \n", "unknown", "I cannot answer this.", "I do not know.", "None of them.", "There is no right option.", "42", "x",
        # several
        "A or B", "A, B", "A and B", "B/C", "B & C", "(A) and (C)", "(A) (C)", "A B C D", "ABCD", "AB", "Either A or B", "either (A) or (B)",
        r"\boxed{A, B}", r"\boxed{A or B}", r"\boxed{AB}", r"\boxed{A B}", r"\boxed{A/B}", r"\boxed{\text{A and B}}", r"\boxed{A \text{ or } B}",
        r"\boxed{A \lor B}", r"\boxed{A} or \boxed{B}", r"\boxed{A}, \boxed{B}", r"\boxed{A} \boxed{B}", r"\boxed{A} and \boxed{B}", r"\boxed{A} or B",
        r"A or \boxed{B}", r"\boxed{A, B, C, D}", r"\boxed{A}\boxed{B}\boxed{C}\boxed{D}", r"\boxed{B. C}", r"\boxed{A. red B. dark blue}",
        r"\boxed{red or green}", r"\boxed{red, green}", r"\boxed{B} <answer>C</answer>", "<answer>A</answer><answer>B</answer>", "<answer>A or B</answer>",
        "The answer is A or B.", "The answer is A and B", "The answer is either A or B.", "The answer is both A and C.", "The answer is B/C",
        "Answer: A, B, C, D", "Answer: A. B. C. D.", "Answer: A-D", "Answer: B or the next", "Answer: (A) or (B)", "Answer: (a) or (b)",
        "The answer is A. The answer is B.", "The answer is A, or the answer is B.", "Answer: A\nAnswer: B\nAnswer: C\nAnswer: D",
        "The answer is B, but it could be C.", "The answer is B if x > 0.", "The answer is B, maybe C.", "A or B is correct.", "Answer: B?",
        "A\nB\nC\nD", "(A)\n(B)", "A. red\nB. dark blue\nC. green\nD. hot or cold", "A. red B. dark blue C. green D. hot or cold",
        "red\ndark blue\ngreen", "red, dark blue", "B\nA", "B\nNo, rather (C) fits.",
        # more of several
        'Answer: A B', 'Answer: AB', 'The answer is A & C', 'The answer is A, C', 'Answers: A, C', 'The answers are A and C',
        'A and C are correct', 'Options A and B are correct.', 'Option A is correct and option B is correct.',
        'Option A is correct. Option B is correct.', '(A) is correct. (B) is correct.', 'A is correct or B is correct',
        'Answer: A. Alternatively B.', 'Answer: A; B', 'Answer: A\nB', 'Answer: A or maybe B', 'Probably A or B',
        'The answer is A... or B', 'A / B / C / D', '[A][B]', '**A** **B**', '**A** or **B**', '**A**\n**B**',
        'A) red\nB) dark blue', 'The answer is between A and B', 'Answer: A (or B)', 'Answer: A/B', 'The answer is A+B',
        'The answer is A->B', 'The answer is C3', 'Answer: B.C', 'Answer: not A', 'Answer: anything except A',
        "The answer can't be A", 'The answer is anything but A', 'The answer is none of A, B', 'The answer is no longer A',
        'The answer is hardly B', 'The answer is hard to find', 'Not A.', 'A? No.', 'A is not correct.',
        "A isn't the right answer", 'The answer is A is wrong', "A isn't correct, B isn't correct", 'I would not choose B',
        "I can't choose B", "Don't pick B", "I'd never go with B", 'The answer would be B if it were cold',
        'Could the answer be B?', 'Is the answer B?', '\\boxed{\\text{not B}}', '\\boxed{\\neg B}', '\\boxed{\\lnot B}',
        '\\boxed{\\overline{B}}', '\\boxed{A \\cup B}', '\\boxed{A + B}', '\\boxed{A;B}', '\\boxed{A\\\\B}', '\\boxed{A\\quad B}',
        '\\boxed{A\\text{ }B}', '\\boxed{(A)(B)}', '\\boxed{A}{B}', '\\boxed{A-D}', '\\boxed{A\nB}', '<answer>A\nB</answer>',
        '<answer>A,B</answer>', '<answer></answer>B? maybe', 'The answer is an apple', 'The answer is I',
        'The answer is I think B', 'A thing', 'B vitamins are good', 'C is the speed of light', 'D day', 'J', 'Answer: I',
        'dark blue or red', 'dark blue dark blue', 'dark blue.\nred.', 'not dark blue', 'The answer is not dark blue',
        'The answer is dark blue or red', 'The answer is red. The answer is dark blue.', 'The answer is unclear, B seems nice',
        'B seems right', 'B?', 'A!B!C!D!', 'A; B', 'A: red; B: dark blue', 'A B', 'a) b)', '(a)(b)', '(a) (b)', 'Á', 'Β', 'В',
        'А',
        "(B) as well as C", "Answer: B as well as C", "The answer is B for x < 0, C for x > 0", "Answer: (B), also (C)", "The answer is (B) plus (D)", "A!B!C!D!",
        # denied
        "not B", "The answer is not B", "The answer is not (B).", "The answer isn't B", "It is not B.", "I don't think the answer is B.", "never B",
        r"not \boxed{B}", r"The answer is not \boxed{B}", r"\boxed{\neq B}", r"\boxed{not B}", r"It can't be \boxed{B}", "not <answer>B</answer>",
        "Option B is wrong.", "(B) is wrong", "B) is not right", "Answer: B is wrong", "Answer: (B) is incorrect", "\\boxed{B is wrong}", "B is incorrect",
        "The answer is B. No, the answer is not B.", "If the answer is B, then C is false.", "Suppose the answer is B.", "Neither A nor B is correct.",
        # English
        "A good question. I think about it.", "I think so.", "I. Newton found it", "C. elegans is a worm", "The answer is a matter of taste.",
        "The answer is A good one", "The answer is a red herring", "Answer: I do not know", "a", "b", "the", "I am not sure", "be", "D-glucose", "B12", "C's",
        "Answer: D-glucose", "The answer is B12.", "\\boxed{B12}", "\\boxed{C_2}", "\\boxed{D^2}", "\\boxed{A'}", "A: I do not know", "A. I do not know",
        # beyond the options
        "E", r"\boxed{E}", "The answer is E", "(J)", r"\boxed{K}", "Answer: Z", r"\boxed{5}", "The answer is F. dark blue",
        # the text of another option, of none, or of a part
        "B) green", r"\boxed{B. green}", "Answer: B) red", "blue", r"\boxed{blue}", "dark", "very dark blue", "It is dark blue, I believe, not green",
        r"\boxed{dark blue sky}", "dark blue and nothing else",
        # not closed, hidden, only thought
        r"\boxed{B", "<answer>B", "B</answer>", "\\boxed{B\u200b1}", "\\boxed{\u202eB}", "<think>B</think>", r"<think>\boxed{B}", r"\boxed{B}</think>",
        "The answer is (B</think>", r"\boxed{}", r"\boxed{ }", "<answer></answer>", r"\boxed{" * 500, "B " * 3000,
    ],
)  # fmt: skip
def test_no_choice(reply):
    assert letter(reply) is None, read_choice(reply, COLOURS)


TEN = tuple(f"colour {n}" for n in range(10))
FORMS = ("{}", "({})", "**{}**", "\\boxed{{{}}}", "\\boxed{{\\text{{({})}}}}", "The answer is {}.", "Answer: {}", "<answer>{}</answer>", "It is so.\n\n{}", "Option {}")  # fmt: skip


@every("form", FORMS)
def test_all_letters_and_none_beyond(form):
    for name in LETTERS:
        assert letter(form.format(name), TEN) == name
        assert letter(form.format(name), TEN[:3]) == (name if name in "ABC" else None)


@every(
    ("reply", "options", "chosen"),
    [
        ("C", ("C", "B", "A"), "C"),  # a letter comes before the text of an option
        (r"\boxed{C}", ("C", "B", "A"), "C"),
        ("K", ("K", "Na"), "A"),  # beyond the options, but the text of one
        (r"\boxed{Na}", ("K", "Na"), "B"),
        ("Aa", ("AA", "Aa", "aa"), "B"),  # capitals decide
        ("2*3", ("23", "6"), None),
        ("2**3", ("23", "2**3"), "B"),
        ("**23**", ("23", "2*3"), "A"),
        ("5 MeV", ("5 meV", "7 meV"), None),
        ("5 meV", ("5 meV", "5 MeV"), "A"),
        ("THE RED ONE", ("The red one", "the blue one"), "A"),
        (r"\$5", ("$5", "$6"), "A"),
        ("AAA", ("AA", "Aa", "aa"), None),
        ("DARK BLUE", ("dark blue", "Dark Blue"), None),
        ("same", ("same", "same", "other"), None),
        ("B", ("same", "same", "other"), "B"),
        ("both A and B", ("hot", "cold", "both A and B"), "C"),
        ("The answer is both A and B.", ("hot", "cold", "both A and B"), "C"),
        ("The answer is A and B", ("hot", "cold", "A and B"), "C"),
        ("All of the above", ("hot", "cold", "all of the above"), "C"),
        (r"\boxed{$x^2$}", ("$x^2$", "$x^3$"), "A"),
        (r"\boxed{x^2}", ("$x^2$", "$x^3$"), "A"),
        ("two\nlines", ("two\n lines", "one"), "A"),
        ("not hot", ("hot", "not hot"), "B"),
        ("B) not hot", ("hot", "not hot"), "B"),
        (r"\boxed{B. hot or cold}", ("hot", "hot or cold"), "B"),
        ("Answer: B. hot or cold.", ("hot", "hot or cold"), "B"),
        ("I", TEN, "I"),
        ("I think it is hot.", TEN, None),
        ("", (), None),
        ("A", (), None),
    ],
)
def test_the_text_of_options(reply, options, chosen):
    assert letter(reply, options) == chosen


@every(
    ("text", "options"),
    [
        (f"Which?\n\n{lettered(COLOURS)}", COLOURS),
        (f"Which?\n\n{lettered(TEN)}", TEN),
        (f"A list:\nA. no\nB. no\n\nWhich?\n\n{lettered(COLOURS)}", COLOURS),
        ("Which?\n\nA. two\nlines\nB. one", ("two\nlines", "one")),
        ("Which?\n\nA. only one", ()),
        ("Which?\n\nB. x\nC. y", ()),
        ("What is 2 + 2?", ()),
        ("", ()),
    ],
)
def test_options_are_found_in_the_question(text, options):
    assert options_in(text) == options


PIECES = ("\\boxed{", "}", "A", "B", "(", ")", " or ", "not ", "The answer is ", "Answer: ", "\n", ". ", "dark blue", "**", "<answer>", "</answer>", "I ", "is correct", "\u200b", "Ｂ", "\\text{", "$")  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_text_is_read(reply):
    found = read_choice(reply, COLOURS)
    assert found.letter is None or found.letter in "ABCD"
    assert found.why


@pytest.mark.parametrize("unit", ["A", "(", "**", "\\boxed{B} ", "Answer: B or ", "<answer>", "I choose ", "the answer is ", "\\text{", "A. red\n", "$\\(", "not "])  # fmt: skip
def test_a_megabyte_takes_no_time(unit):
    for size in (199_000, 1 << 20):
        began = time.process_time()
        read_choice(unit * (size // len(unit)), COLOURS)
        assert time.process_time() - began < 1.0


OFFICIAL = (
    r"answer is \(?([A-J])\)?",
    r".*[aA]nswer:\s*([A-J])",
    r"(?s)\b([A-J])\b(?!.*\b[A-J]\b)",
)  # MMLU-Pro's, in this order


def test_differences_from_the_official_script_are_documented():
    options = ("red", "blue", "green", "grey", *(f"colour {n}" for n in range(6)))
    section = (
        (ROOT / "docs" / "grading.md")
        .read_text(encoding="utf-8")
        .partition("## Multiple choice")[2]
        .partition("\n## ")[0]
    )
    rows = re.findall(r"^\| `(.+?)` \| (\S+) \| (\S+) \|$", section, re.MULTILINE)
    assert len(rows) > 20
    for reply, ours, official in rows:
        text = reply.replace("⏎", "\n")
        matches = (re.search(pattern, text) for pattern in OFFICIAL)
        theirs = next((found[1] for found in matches if found), "none")
        assert (letter(text, options) or "none", theirs) == (ours, official), reply
