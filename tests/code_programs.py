"""Programs and problems of the code tasks' tests."""

from __future__ import annotations

import ast
import re

HELPED = {  # the tests use a function that the prompt gives, on cases that they draw
    "task_id": "HumanEval/0",
    "prompt": "import math\n\n\ndef coded(s: str):\n    # every letter one up\n    return ''.join(chr(ord(c) + 1) for c in s)\n\n\n"
    'def decoded(s: str):\n    """ The text that coded() made s of.\n    decoded("bc") => "ab"\n    """\n',
    "canonical_solution": "    return ''.join(chr(ord(c) - 1) for c in s)\n",
    "test": "def check(candidate):\n    from random import choice\n    for _ in range(20):\n"
    "        text = ''.join(choice('abcxyz') for _ in range(8))\n        assert candidate(coded(text)) == text\n",
    "entry_point": "decoded",
}
RIGHT_DECODED = "def decoded(s):\n    return ''.join(chr(ord(c) - 1) for c in s)"


def fenced(program: str) -> str:
    return f"```python\n{program}\n```"


def three_problems():
    """A function to complete, a function to write and a program to write, by name: the task, the problem, and a program
    that answers anything."""
    from llm_marl_envs.tasks.apps import APPS
    from llm_marl_envs.tasks.humaneval import HumanEval
    from llm_marl_envs.tasks.mbpp import MBPP

    helped, mbpp, apps = HumanEval(), MBPP(), APPS()
    rounded, mean = MBPP.card.examples[1].row, APPS.card.examples[0].row
    return {
        "humaneval": (helped, helped.read(HELPED, "humaneval/test/0"), "def decoded(s):\n    return {}"),
        "mbpp": (mbpp, mbpp.read(dict(rounded), "mbpp/test/0"), "def up(x):\n    return {}"),
        "apps": (apps, apps.read(dict(mean), "apps/test/0"), "input(); input(); print({})"),
    }


STEPS = {  # each step's words, as somebody else would write them in Python
    r"reverse the list": "value[::-1]",
    r"sort the numbers from small to large": "sorted(value)",
    r"sort the numbers from large to small": "sorted(value)[::-1]",
    r"keep the even numbers": "[x for x in value if not x & 1]",
    r"keep the odd numbers": "[x for x in value if x & 1]",
    r"keep the positive numbers": "list(filter(lambda x: x >= 1, value))",
    r"keep every second \w+, beginning with the first": "value[0::2]",
    r"keep only the first of equal numbers": "[x for i, x in enumerate(value) if x not in value[:i]]",
    r"square every number": "[x ** 2 for x in value]",
    r"negate every number": "[0 - x for x in value]",
    r"replace every number by its distance from zero": "[max(x, -x) for x in value]",
    r"replace every number by the sum of it and all before it": "list(__import__('itertools').accumulate(value))",
    r"take the differences .*": "[value[i + 1] - value[i] for i in range(len(value) - 1)]",
    r"move the first \w+ to the end": "value[1:] + value[:1]",
    r"drop the first (\d) of the \w+": "value[{0}:]",
    r"add (\d) to every number": "[x + {0} for x in value]",
    r"multiply every number by (\d)": "[{0} * x for x in value]",
    r"keep only the first (\d) of the \w+": "value[:{0}]",
    r"return the sum of the numbers .*": "sum(value)",
    r"return how many numbers there are": "len(value)",
    r"return the largest number .*": "sorted(value)[-1] if value else 0",
    r"return the smallest number .*": "sorted(value)[0] if value else 0",
    r"reverse the string": "''.join(reversed(value))",
    r"make all letters large": "value.upper()",
    r"make all letters small": "value.lower()",
    r"swap large and small letters": "value.swapcase()",
    r"remove the vowels .*": "__import__('re').sub('(?i)[aeiou]', '', value)",
    r"keep only the letters": "__import__('re').sub('[^a-zA-Z]', '', value)",
    r"keep only the digits": "__import__('re').sub('[^0-9]', '', value)",
    r"write every character twice": "__import__('re').sub('(.)', r'\\1\\1', value)",
    r"sort the characters by their code points": "''.join(sorted(value, key=ord))",
    r"keep only the first of equal characters": "''.join(c for i, c in enumerate(value) if c not in value[:i])",
    r"put the words .*": "' '.join(reversed(value.split(' ')))",
    r"reverse each word .*": "' '.join(''.join(reversed(w)) for w in value.split(' '))",
    r"replace spaces by hyphens": "'-'.join(value.split(' '))",
    r"return the length of the string": "len(value)",
    r"return the number of spaces": "len(value.split(' ')) - 1",
    r"return the number of vowels .*": "len(__import__('re').findall('(?i)[aeiou]', value))",
    r"return the sum of its digits": "sum(map(int, __import__('re').findall('[0-9]', value)))",
    r"negate it": "-value",
    r"take its distance from zero": "abs(value)",
    r"square it": "value ** 2",
    r"take the sum of its decimal digits .*": "sum(int(c) for c in str(value) if c != '-')",
    r"take the number of its decimal digits .*": "len(str(value).strip('-'))",
    r"take its distance from zero with the decimal digits reversed": "int(str(value).strip('-')[::-1])",
    r"take its largest decimal digit": "max(int(c) for c in str(value) if c != '-')",
    r"if it is odd, add 1": "value + (value & 1)",
    r"if it is even, halve it": "value if value & 1 else value >> 1",
    r"if it is below 0, take 0": "value if value > 0 else 0",
    r"add (\d+)": "value + {0}",
    r"subtract it from (\d+)": "{0} - value",
    r"multiply it by (\d)": "value * {0}",
    r"divide it by (\d), rounding down": "__import__('math').floor(__import__('fractions').Fraction(value, {0}))",
    r"take the remainder of dividing it by (\d) .*": "((value % {0}) + {0}) % {0}",
    r"return it as a string of binary digits .*": "bin(value).replace('0b', '')",
    r"make the keys upper case": "dict((k.upper(), x) for k, x in value.items())",
    r"reverse each key": "dict((''.join(reversed(k)), x) for k, x in value.items())",
    r"negate the values": "dict((k, 0 - x) for k, x in value.items())",
    r"square the values": "dict((k, x ** 2) for k, x in value.items())",
    r"add to each value the length of its key": "dict((k, len(k) + x) for k, x in value.items())",
    r"keep the entries with even values": "dict((k, x) for k, x in value.items() if not x & 1)",
    r"keep the entries with positive values": "dict((k, x) for k, x in value.items() if x >= 1)",
    r"keep the entries whose keys contain .*": "dict((k, x) for k, x in value.items() if set(k) & set('aA'))",
    r"keep the entries with keys longer than (\d)": "dict((k, x) for k, x in value.items() if len(k) >= {0} + 1)",
    r"add (\d) to each value": "dict((k, x + {0}) for k, x in value.items())",
    r"multiply each value by (\d)": "dict((k, x * {0}) for k, x in value.items())",
    r"return the sum of the values": "sum(value[k] for k in value)",
    r"return the number of entries": "len(value)",
    r"return the list of the keys, .*": "sorted(value.keys())",
    r"return the list of the values .*": "sorted(value[k] for k in value)",
    r"return the largest value .*": "max([value[k] for k in value] or [0])",
    r"return the keys joined by commas, .*": "','.join(k for _, k in sorted((-value[k], k) for k in value))",
}


def expression_of(words: str) -> str:
    for pattern, expression in STEPS.items():
        if match := re.fullmatch(pattern, words):
            return expression.format(*match.groups())
    raise AssertionError(words)


def program_of(problem) -> str:
    words = re.search(r"It must do this: (.*)\.\nExamples", problem.question.text)[1]
    lines = [f"    value = {expression_of(step)}" for step in words.split("; then ")]
    return "\n".join(("def solve(value):", *lines, "    return value"))


def cases_of(text: str) -> list[tuple[object, object]]:
    """The inputs and results in asserts."""
    found = [
        (node.left.args[0], node.comparators[0]) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Compare)
    ]
    return [(ast.literal_eval(given), ast.literal_eval(wanted)) for given, wanted in found]


def shown_of(problem) -> list[tuple[object, object]]:
    return cases_of(re.search(r"```python\n(.*)\n```", problem.question.text, re.S)[1])


def dict_program(cases) -> str:
    return f"def solve(value):\n    for given, wanted in {cases!r}:\n        if given == value:\n            return wanted\n    return 0"
