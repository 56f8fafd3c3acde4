"""How the suites here were drawn: `python -m llm_marl_envs.suites.freeze NAME` writes a suite's file from the data as it is.

A published suite stays as it is; this is for the next version, and for the test that the files are what they say.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from llm_marl_envs.session import Limits
from llm_marl_envs.spec import env_ids, make_task, split_id
from llm_marl_envs.suites import FOLDER, Suite, SuitePart, frozen

LIMITS = Limits(calls=64, turns=64)
ATLAS = {"max_hops": 2, "one_hop": 0.4, "worlds": 100, "size": 100, "plain": True, "top_k": 1}  # docs/tiny.md


def part(
    family: str,
    task: str,
    split: str,
    usual: str,
    count: int | None = None,
    knobs: Mapping[str, Any] = {},
    samples: int = 1,
) -> SuitePart:
    """A part that any workflow may play that the task has the tools for."""
    workflows = [workflow for of, workflow in map(split_id, env_ids()) if of == task and workflow != usual]
    made = make_task(task, **knobs)
    return frozen(task, family, made, task, split, (usual, *workflows), count, task_knobs=knobs, limits=LIMITS, samples=samples)  # fmt: skip


def smoke() -> Suite:
    return Suite(
        "smoke-v1",
        "Procedural tasks that fit the tiny model on a laptop: sums, questions with search, programs.",
        (
            part("mathematics", "arithmetic", "test", "eval_opt", 200),
            part("question answering", "atlas", "test", "search_answer", 100, ATLAS),
            part("code", "snippets", "test", "solo", 100, {"examples": 1}),
        ),
    )


def mathematics() -> Suite:
    return Suite(
        "math-v1",
        "Word problems and competition mathematics: GSM8K's test split, MATH-500, AIME 2024 and 2025 (four samples each).",
        (
            part("mathematics", "gsm8k", "test", "eval_opt"),
            part("mathematics", "math500", "test", "eval_opt"),
            part("mathematics", "aime24", "train", "eval_opt", samples=4),
            part("mathematics", "aime25", "test", "eval_opt", samples=4),
        ),
    )


def code() -> Suite:
    return Suite(
        "code-v1",
        "Functions from a signature or a sentence: HumanEval and the test split of MBPP.",
        (part("code", "humaneval", "test", "code_and_tests"), part("code", "mbpp", "test", "code_and_tests")),
    )


def qa() -> Suite:
    return Suite(
        "qa-v1",
        "Questions of several hops: samples of the validation splits of HotpotQA, 2WikiMultihopQA and MuSiQue, and Bamboogle. "
        "Teams that search are given a corpus.",
        tuple(
            part("question answering", task, split, "search_answer")
            for task, split in (("hotpotqa", "validation"), ("2wikimultihopqa", "validation"), ("musique", "validation"), ("bamboogle", "test"))
        ),
    )  # fmt: skip


def everything() -> Suite:
    parts = (*mathematics().parts, *code().parts, *qa().parts)
    return Suite("all-v1", "All parts of math-v1, code-v1 and qa-v1.", parts)


MADE: dict[str, Callable[[], Suite]] = {
    "smoke-v1": smoke,
    "math-v1": mathematics,
    "code-v1": code,
    "qa-v1": qa,
    "all-v1": everything,
}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        (FOLDER / f"{name}.json").write_text(MADE[name]().to_json(), encoding="utf-8")
