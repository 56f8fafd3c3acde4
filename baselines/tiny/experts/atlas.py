"""Experts for questions over the encyclopaedia, which know the articles that a question rests on.

The slip: in most questions of two hops the one who answers names what the first article leads to, not what was asked for.
Evidence is then found more often than it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from llm_marl_envs.protocol import Ask, Claim, UseTool
from llm_marl_envs.reading import passages_in
from llm_marl_envs.session import Session
from llm_marl_envs.task import Problem, Task


@dataclass(frozen=True)
class Readers:
    """How often each expert errs. noise: any random reply. slip: the last article's name as the answer of a question of several
    hops."""

    noise: float = 0.1
    slip: float = 0.0

    def say(self, session: Session, call: Ask, task: Task, problem: Problem, rng: Random) -> str:
        """This call's reply, in the role's manner."""
        titles = [paragraph.title for paragraph in problem.gold.supporting]
        noisy = rng.random() < self.noise
        match session.play.workflow.roster.role(call.agent):
            case "searcher":
                searches = sum(type(event.call) is UseTool for event in session.events)
                if noisy:
                    return rng.choice(("<stop>", _search(titles[0]), _search(titles[-1])))
                return _search(titles[searches]) if searches < len(titles) else "<stop>"
            case "rewriter":
                return _search(titles[-1] if noisy else titles[0])
            case "reranker":
                passages = passages_in(
                    next(e.reply.text for e in reversed(session.events) if type(e.call) is UseTool and e.reply)
                )
                useful = [
                    i for i, passage in enumerate(passages, 1) if any(f'"{title}"' in passage for title in titles)
                ]
                kept = useful if useful and not noisy else [rng.randint(1, len(passages))]
                return f"<keep>{', '.join(map(str, kept))}</keep>"
        evidence = [e.call.text for e in session.events if type(e.call) is Claim and e.call.kind == "evidence"]
        found = bool(evidence) and task.grade(problem, evidence[-1], "evidence").value >= 1
        if not found and "answer unknown" in call.prompt and not noisy:
            return "<answer>unknown</answer>"
        if len(titles) > 1 and rng.random() < self.slip:
            return f"<answer>{titles[-1]}</answer>"
        return f"<answer>{problem.gold.answers[0] if found and not noisy else rng.choice(titles)}</answer>"


def _search(query: str) -> str:
    return f"<search>{query}</search>"
