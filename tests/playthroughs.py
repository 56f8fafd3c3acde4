"""One short, typical episode of every workflow, as scripted replies: the golden playthroughs are made from them."""

from __future__ import annotations

from typing import NamedTuple

from llm_marl_envs.task import Question

CATS = Question("q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.")
BIRTH = Question("q/1", "In which village was the author of Emma born?", "qa", "Write <answer>...</answer>.")
DOUBLE = Question("q/2", "Write double(x), twice a number.", "code", "Write one ```python block.")
LETTERS = Question(
    "q/3",
    "Who wrote to whom?",
    "qa",
    "Answer in one line.",
    materials=("[1] Ann bought a stamp.", "[2] Bob moved to Rome.", "[3] A letter from Ann came to Rome."),
)
EMMA = 'Doc 1(Title: "Emma") A novel by Jane Austen.\nDoc 2(Title: "Oslo") A city.'
AUSTEN = 'Doc 1(Title: "Jane Austen") Born in Steventon.\nDoc 2(Title: "Oslo") A city.'


class Script(NamedTuple):
    question: Question
    replies: tuple[str, ...]  # of agents and tools, in order


SCRIPTS = {
    "solo": Script(CATS, ("A cat has 4 legs and 3 x 4 = 12. \\boxed{12}",)),
    "eval_opt": Script(
        CATS,
        (
            "A cat has 3 legs and 3 x 3 = 9. \\boxed{9}",
            "Look at the number of legs of one cat. \\boxed{Incorrect}",
            "A cat has 4 legs and 3 x 4 = 12. \\boxed{12}",
            "I think this is fine.",
            "3 x 4 = 12 it stays. \\boxed{12}",
        ),
    ),
    "voting": Script(
        CATS, ("\\boxed{9}", "4 + 4 + 4 = 12\nSo: \\boxed{12}", "", "Solution 2 counts all legs. \\boxed{2}")
    ),
    "orch_workers": Script(
        CATS,
        (
            "STRATEGY 1: add the legs cat by cat\nSTRATEGY 2: multiply",
            "4, 8, 12. \\boxed{12}",
            "3 x 4 = 14. \\boxed{14}",
            "The second one slipped: 3 x 4 = 12. \\boxed{12}",
        ),
    ),
    "search_answer": Script(
        BIRTH,
        (
            "<think>Who wrote it?</think><search>author of Emma</search>",
            EMMA,
            "<think>Now her birthplace.</think><search>Jane Austen born</search>",
            AUSTEN,
            "<think>That is it.</think><stop>",
            "<think>Passage 3.</think><answer>Steventon</answer>",
        ),
    ),
    "route_search": Script(
        BIRTH,
        (
            "Nothing is known yet. <verify>no</verify>",
            "The author first. <search>author of Emma</search>",
            EMMA,
            "The birthplace is missing. <verify>no</verify>",
            "<search>Jane Austen born</search>",
            AUSTEN,
            "All there. <verify>yes</verify>",
            "<answer>Steventon</answer>",
        ),
    ),
    "rewrite_rerank_answer": Script(
        BIRTH,
        (
            "<search>author of Emma</search>\n<search>Jane Austen born</search>",
            EMMA,
            AUSTEN,
            "The third says it all. <keep>3, 1</keep>",
            "<answer>Steventon</answer>",
        ),
    ),
    "solve_verify": Script(
        CATS, ("3 x 3 = 9. \\boxed{9}", "Cats have four legs. <verify>reject</verify>", "\\boxed{12}")
    ),
    "debate": Script(
        CATS,
        (
            "\\boxed{9}",
            "Each has 4: \\boxed{12}",
            "\\boxed{10}",
            "Agent 2 is right. \\boxed{12}",
            "\\boxed{12}",
            "\\boxed{10}",
        ),
    ),
    "chain": Script(
        LETTERS,
        (
            "Ann has a stamp.",
            "Ann has a stamp; Bob is in Rome.",
            "Ann's letter came to Rome, where Bob is.",
            "Ann to Bob.",
        ),
    ),
    "mixture": Script(CATS, ("9", "12", "4 x 3", "12", "12, as 4 x 3", "12", "All say so: \\boxed{12}")),
    "propose_review": Script(
        CATS,
        (
            "Three legs each. \\boxed{9}",
            "speak",
            "WRONG\nA cat has four legs.",
            "refresh",
            "Four legs each. \\boxed{12}",
            "speak",
            "RIGHT\n3 x 4 = 12.",
            "keep",
        ),
    ),
    "code_and_tests": Script(
        DOUBLE,
        (
            "```python\ndef double(x):\n    return x ** 2\n```",
            "```python\nassert double(3) == 6\n```",
            "AssertionError",
            "I squared it.\n```python\ndef double(x):\n    return 2 * x\n```",
            "```python\nassert double(3) == 6\nassert double(0) == 0\n```",
            "all tests passed",
        ),
    ),
    "topology": Script(
        CATS,
        (
            "broadcast_all",
            "solo_process",
            "solo_process",
            "\\boxed{9}",
            "\\boxed{12}",
            "9 forgets a leg.",
            "solo_process",
            "solo_process",
            "aggregate_refine",
            "\\boxed{12}",
            "\\boxed{12}",
            "Both say 12 now.",
            "\\boxed{12}",
        ),
    ),
    "swarm": Script(
        CATS,
        (
            "2",
            "worker_0: how many legs has a cat?\nworker_1: how many cats are there?",
            "Four.",
            "TO worker_0: there are 3 cats\nThree.",
            "continue",
            "worker_0 -> worker_1",
            "0",
            "worker_0: multiply",
            "3 x 4 = 12. \\boxed{12}",
            "stop",
            "\\boxed{12}",
        ),
    ),
}
