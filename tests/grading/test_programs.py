"""Programs in replies, and what programs print."""

from __future__ import annotations

import pytest
from cases import cpu_s, every
from hypothesis import given
from hypothesis import strategies as st

from llm_marl_envs.grading.programs import put_ahead, same_output
from llm_marl_envs.reading import find_program

FOUND = {
    "marked": ("```python\nx = 1\n```", "x = 1"),
    "not marked": ("```\nx = 1\n```", "x = 1"),
    "py": ("``` py\nx = 1\n```", "x = 1"),
    "Python3, with more in the line": ("```Python3 title=a.py\nx = 1\n```", "x = 1"),
    "tildes": ("~~~python\nx = 1\n~~~", "x = 1"),
    "text around": ("Here it is:\n\n```python\nx = 1\n```\nIt works.", "x = 1"),
    "carriage returns": ("```python\r\nx = 1\r\ny = 2\r\n```\r\n", "x = 1\ny = 2"),
    "old Mac": ("```python\rx = 1\r```", "x = 1"),
    "the last of two": ("```python\nx = 1\n```\nor\n```python\nx = 2\n```", "x = 2"),
    "the last of two, back to back": ("```python\nx = 1\n```\n```python\nx = 2\n```", "x = 2"),
    "another language is no program": ("```python\nx = 1\n```\nprints\n```text\n1\n```", "x = 1"),
    "indented in a list": ("1. So:\n   ```python\n   if a:\n       b()\n\n   c()\n   ```", "if a:\n    b()\n\nc()"),
    "a line less indented than its fence": ("    ```\n    x = 1\n  y = 2\n    ```", "x = 1\ny = 2"),
    "indented by a tab": ("\t```\n\tif a:\n\t\tb()\n\t```", "if a:\n\tb()"),
    "longer fences hold shorter ones": ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''"),
    "tildes hold backticks": ("~~~python\n```\n~~~", "```"),
    "backticks deep in a docstring": (
        '```python\ndef f():\n    """\n    ```\n    """\n```',
        'def f():\n    """\n    ```\n    """',
    ),
    "a marked fence that closes by mistake": ("```python\nx = 1\n```python\n```", "x = 1"),
    "a longer closing fence": ("```python\nx = 1\n`````", "x = 1"),
    "white space after the fences": ("```python  \nx = 1\n```  \t", "x = 1"),
    "empty": ("```python\n```", ""),
    "the last is not closed": ("```python\nx = 1\n```\nBetter:\n```python\nx = 2", "x = 1"),
    "line separators of other kinds are no lines": ("```python\nx = '\u2028\x0b'\n```", "x = '\u2028\x0b'"),
    "nothing but white space before it": ("\u200b\n```python\nx = 1\n```", "x = 1"),
}

NONE = {
    "no fence": "x = 1",
    "empty": "",
    "not closed": "```python\nx = 1",
    "two backticks": "``\nx = 1\n``",
    "closed in the line": "```python\nx = 1```",
    "opened in the line": "Here: ```python\nx = 1\n```",
    "inline": "```x = 1```",
    "only another language": "```json\n{}\n```",
    "closed by tildes": "```python\nx = 1\n~~~",
    "closed by fewer": "````python\nx = 1\n```",
}


@every("name", FOUND)
def test_the_last_block_is_the_program(name):
    text, program = FOUND[name]
    assert find_program(text) == program


@every("name", NONE)
def test_no_block(name):
    assert find_program(NONE[name]) is None


LINES = st.lists(
    st.text(alphabet='ab `~\t"#', max_size=8).filter(lambda s: "```" not in s and "~~~" not in s), max_size=8
)


@given(before=st.text(max_size=40), lines=LINES, after=LINES, fence=st.sampled_from(["```", "~~~", "`````"]))
def test_what_was_fenced_is_what_is_found(before, lines, after, fence):
    before = before.replace("`", "").replace("~", "")
    text = "\n".join([before, f"{fence}python", *lines, fence, *after])
    assert find_program(text) == "\n".join(lines)


@given(st.text(alphabet="`~\n\r python#\ud800\u202e", max_size=200))
def test_any_text_has_a_program_or_none(text):
    program = find_program(text)
    assert program is None or len(program) <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        "`" * 1_000_000,
        "```\n" * 250_000,
        "```python\n" * 100_000,
        "~~~\n```\n" * 125_000,
        " " * 999_000 + "```",
        ("`" * 1000 + "\n") * 1000,
        "\n" * 1_000_000,
        "``` `" * 200_000,
        ("\t " * 500 + "```\n") * 999,
        "```python\n" + "x" * 1_000_000 + "\n```",
    ],
    ids=["backticks", "fences", "openings", "both", "spaces", "wide", "lines", "ticks", "deep", "one line"],
)
def test_a_megabyte_takes_no_time(text):
    assert cpu_s(lambda: find_program(text)) < 1.0


def test_what_is_put_ahead():
    assert put_ahead("", "x = 1") == "x = 1"
    assert put_ahead("import a", "x = 1") == "import a\nx = 1"
    program = "x = 1\nfrom __future__ import annotations\ny = 2"
    assert put_ahead("import a", program).split("\n") == [
        "from __future__ import annotations",
        "import a",
        "x = 1",
        "",
        "y = 2",
    ]
    compile(put_ahead("import os", '"""Doc."""\nfrom __future__ import (annotations,\n  division)\nz = 3'), "p", "exec")


SAME = [
    ("7\n", "7"),
    ("1 2\n3", "1 2\n3\n\n"),
    (" 1   2 \r\n3\t4\n", "1 2\n3 4"),
    ("\n\nYES\n", "YES"),
    ("", "\n"),
    ("3.0", "3"),
    ("3", "3.00"),
    ("1e3", "1000"),
    ("+5", "5"),
    ("x", "x"),
    ("nan", "nan"),
    ("9" * 10_000, "9" * 10_000),
]
DIFFERENT = [
    ("7", "8"),
    ("1 2 3", "1 2\n3"),  # lines count
    ("1\n\n2", "1\n2"),
    ("1 2", "12"),
    ("yes", "YES"),
    ("", "0"),
    ("7 8", "7"),
    ("7", "7 8"),
    ("007", "7"),  # a string of digits may be no number
    ("0010", "10"),
    ("10", "0010"),
    ("1_000", "1000"),
    ("\u0667", "7"),
    ("0x10", "16"),
    ("inf", "1e999"),
    ("nan", "0.5"),
    ("1e999", "1e998"),
    ("9" * 61, "9" * 60 + "8"),
    ("1e999999999999", "1"),
    ("[1, 2]", "1 2"),
    ("0.5000000001", "0.5"),
]


@every(("got", "expected"), SAME)
def test_the_same_output(got, expected):
    assert same_output(got, expected)


@every(("got", "expected"), DIFFERENT)
def test_another_output(got, expected):
    assert not same_output(got, expected)
    assert not same_output(got, expected, 1e-12)


def test_tolerance_is_absolute_or_relative_and_not_for_whole_numbers():
    assert same_output("0.5000009", "0.5", 1e-6)
    assert not same_output("0.5000011", "0.5", 1e-6)
    assert same_output("1234567.9", "1234567.0", 1e-6)
    assert not same_output("1234569.0", "1234567.0", 1e-6)
    assert not same_output("1234568", "1234567", 1e-6)
    assert not same_output("1234567.5", "1234567", 1e-6)
    assert not same_output("0", "1e-5", 1e-6)
    assert same_output("3e-7", "0.0", 1e-6)


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=4), min_size=1, max_size=5))
def test_numbers_printed_in_any_spacing(rows):
    plain = "\n".join(" ".join(map(str, row)) for row in rows)
    assert same_output("\n".join("  ".join(map(str, row)) + " " for row in rows) + "\n\n", plain)
    rows[-1][-1] += 1
    assert not same_output("\n".join(" ".join(map(str, row)) for row in rows), plain)


@pytest.mark.parametrize("text", ["1 " * 500_000, "1e308 " * 160_000, "\n" * 1_000_000, "9" * 1_000_000])
def test_a_megabyte_of_output_takes_no_time(text):
    assert cpu_s(lambda: same_output(text, text[:-2] + "2", 1e-6)) < 2.0
