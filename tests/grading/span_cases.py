"""What the tests of short answers share: a second implementation of the measures, mutated answers, hostile replies."""

from __future__ import annotations

import random
import string
from fractions import Fraction


def second_normal(text: str) -> list[str]:
    """The tokens of the official normalisation, character by character, without a regular expression."""
    runs: list[str] = []
    for char in text.lower():
        if char in string.punctuation:
            continue
        in_word = char.isalnum() or char == "_"
        if runs and (runs[-1][-1].isalnum() or runs[-1][-1] == "_") == in_word:
            runs[-1] += char
        else:
            runs.append(char)
    tokens, token = [], ""
    for char in "".join(" " if run in ("a", "an", "the") else run for run in runs) + " ":
        if not char.isspace():
            token += char
        elif token:
            tokens, token = [*tokens, token], ""
    return tokens


def second_f1(prediction: str, gold: str) -> Fraction:
    ours, theirs = sorted(second_normal(prediction)), sorted(second_normal(gold))
    if ours != theirs and any(side in (["yes"], ["no"], ["noanswer"]) for side in (ours, theirs)):
        return Fraction(0)
    same, left = 0, list(theirs)
    for token in ours:
        if token in left:
            left.remove(token)
            same += 1
    if not same:
        return Fraction(0)
    precision, recall = Fraction(same, len(ours)), Fraction(same, len(theirs))
    return 2 * precision * recall / (precision + recall)


GOLDS = (
    "Rush", "the band Rush", "The The", "A", "yes", "no", "noanswer", "March 4, 1931", "U.S.", "N'Djamena", "1,250,000 people",
    "Saint Olm", "Beyoncé", "Vik & Sons", "“Low Tide” at Karsk", "3.5%", "the Duke of Schleswig-Holstein", "!!!", "東京都", "İstanbul",
)  # fmt: skip
WORDS = (
    "a",
    "an",
    "the",
    "The",
    "yes",
    "no",
    "not",
    "or",
    "Rush",
    "1931",
    "of",
    "_",
    "an_a",
    "-",
    "the’",
    "é",
    "\u0301a",
    "A\u200b",
)


def mutated(rng: random.Random, gold: str) -> str:
    """A gold answer with words put in, left out or doubled, letters changed, marks and odd spaces added."""
    words = gold.split(" ")
    for _ in range(rng.randrange(4)):
        i = rng.randrange(len(words) + 1)
        change = rng.randrange(6)
        if change == 0:
            words.insert(i, rng.choice(WORDS))
        elif change == 1 and i < len(words):
            del words[i]
        elif change == 2 and i < len(words):
            words.insert(i, words[i])
        elif change == 3 and i < len(words):
            words[i] = rng.choice((words[i].upper(), words[i].swapcase(), words[i] + rng.choice(string.punctuation)))
        elif change == 4:
            words.insert(i, rng.choice(("", "\t", "\u2003", "\u200b", "\x1c")))
        else:
            rng.shuffle(words)
    return " ".join(words)


def strange(rng: random.Random) -> str:
    """Random text: ASCII, words that matter, and characters of all planes, surrogates included."""
    parts = (
        lambda: rng.choice(WORDS) + " ",
        lambda: chr(rng.randrange(128)),
        lambda: chr(rng.randrange(0x3000)),
        lambda: chr(rng.randrange(0x110000)),
    )
    return "".join(rng.choice(parts)() for _ in range(rng.randrange(12)))


def pairs(count: int, golds: tuple[str, ...], seed: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        gold = rng.choice(golds) if rng.random() < 0.8 else strange(rng)
        found.append((mutated(rng, gold) if rng.random() < 0.8 else strange(rng), gold))
    return found


def hostile(golds: tuple[str, ...]) -> dict[str, str]:
    """Replies that are no answer to a question with these gold answers."""
    gold = golds[0]
    return {
        "empty": "",
        "blank": " \n\t\u2003",
        "a": "a",
        "articles": "a an the",
        "the": "the",
        "mark": "!",
        "every candidate": ", ".join((*golds, "Queen", "Genesis", "yes", "no")),
        "every candidate, tagged": "".join(f"<answer>{x}</answer>" for x in (*golds, "Queen", "yes and no")),
        "every candidate, in lines": "\n".join(f"Answer: {x}" for x in ("Queen", "yes and no", *golds)),
        "the context": f"{gold}: a paragraph about {gold} and other things. " * 200,
        "two answers": f"<answer>{gold}</answer> <answer>something else</answer>",
        "two boxes": f"\\boxed{{{gold}}} or \\boxed{{something else}}",
        "box and tag": f"\\boxed{{{gold}}} <answer>something else</answer>",
        "negated": f"not {gold}",
        "negated tag": f"It is not <answer>{gold}</answer>",
        "negated in a tag": f"<answer>not {gold}</answer>",
        "negated line": f"Answer: not {gold}",
        "longer name": f"{gold}more",
        "longer name, before": f"Mc{gold}",
        "longer name, words": f"{gold} Hour",
        "1 MB": "x" * 1_000_000,
        "1 MB of it": f"{gold} " * (1_000_000 // (len(gold) + 1)),
        "far apart": gold + " " * 2_000 + "something else",
        "1 MB behind it": gold + " " * 1_000_000,
        "1 MB around it": " " * 500_000 + gold + " " * 500_000,
        "1 MB around a tag": "x" * 500_000 + f"<answer>{gold}</answer>" + "x" * 500_000,
        "right to left": f"\u202e{gold}",
        "zero width": "\u200b".join(f" {gold}"),
        "zero width, tagged": f"<answer>{gold}\u200d</answer>",
        "open box": f"\\boxed{{{gold}",
        "open tag": f"<answer>{gold}",
        "open tags": "<answer>" * 20_000 + gold,
        "power": "9**9**9",
        "power, boxed": "\\boxed{9^{9^{9^{9}}}}",
        "digits": "9" * 199_000,
        "braces": "{" * 10_000 + gold + " Hour" + "}" * 10_000,
        "boxes": "\\boxed{" * 10_000 + gold + "}" * 10_000,
        "braces, then boxes": "{" * 90_000 + "\\boxed{x}" * 10_000,
        "closing": "}" * 199_000,
        "lines": "Answer:\n" * 20_000,
        "spaces": "answer" + " " * 150_000 + "x",
        "stars": "*" * 199_000 + "answer",
        "newlines": "\n" * 199_000 + "x y",
        "surrogates": "\ud800\udfff",
        "nul": f"\x00{gold}",
        "unknown": "unknown",
    }
