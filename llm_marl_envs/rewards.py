"""From a finished session to rewards: grade what was claimed, then apply a rule.

A rule is a function from an `Outcome` to one reward per agent of the roster. Rules compose: `minus_cost(own, per_call=0.01)`.
Rewards come once, at the end of the episode; nothing here flows back into a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llm_marl_envs.errors import UnknownName
from llm_marl_envs.protocol import Ask, Claim, Malformed
from llm_marl_envs.session import Session, Status
from llm_marl_envs.tasks.base import Problem, Score, Task


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an episode: the team's score, every claim with its grade in order, and what each agent spent."""

    status: Status
    team: Score
    claims: tuple[tuple[Claim, Score], ...]
    agents: tuple[str, ...]  # the whole roster
    calls: Mapping[str, int]  # agent -> replies
    tokens: Mapping[str, int]  # agent -> prompt and reply tokens
    malformed: int  # replies that their reader could not parse

    def own(self, agent: str) -> float | None:
        """The mean grade of an agent's own claims, or None if it claimed nothing."""
        grades = [score.value for claim, score in self.claims if claim.agent == agent]
        return sum(grades) / len(grades) if grades else None


Rule = Callable[[Outcome], dict[str, float]]


def outcome_of(session: Session, task: Task, problem: Problem) -> Outcome:
    """Grade a session that is over. A grader that crashes makes the episode FAILED, not wrong."""
    status = session.status
    if status is None:
        raise ValueError(f"{session!r} is not over; only finished episodes have an outcome")
    calls: dict[str, int] = {}
    tokens: dict[str, int] = {}
    answers: dict[str, Score] = {}  # drafts are often claimed, judged and returned: each text is graded once
    claims: list[tuple[Claim, Score]] = []
    malformed = 0
    try:
        call: Any
        reply: Any
        for call, reply, _ in session.events:
            kind = type(call)
            if kind is Ask:
                agent = call.agent
                if agent in calls:
                    calls[agent] += 1
                    tokens[agent] += reply[1] + reply[2]
                else:
                    calls[agent], tokens[agent] = 1, reply[1] + reply[2]
            elif kind is Claim:
                text = call.about if call.kind == "verdict" else call.text
                if call.kind == "evidence":
                    score = task.grade(problem, text, "evidence")
                elif (score := answers.get(text)) is None:
                    score = answers[text] = task.grade(problem, text)
                if call.kind == "verdict":
                    score = _VERDICTS.get((call.text, score.value >= 1.0), _NO_VERDICT)
                claims.append((call, score))
                if score.read is None:
                    malformed += 1
            elif kind is Malformed:
                malformed += 1
        answer = session.answer
        if answer is None:
            team = Score(0.0, session.why or "the team gave no answer")
        elif (team := answers.get(answer)) is None:
            team = task.grade(problem, answer)
    except Exception as bad:  # a grader's bug must not be paid or punished as an answer
        status, team, claims = Status.FAILED, Score(0.0, f"the grader failed: {type(bad).__name__}: {bad}"), []
    return Outcome(status, team, tuple(claims), session.play.workflow.roster.names, calls, tokens, malformed)


_VERDICTS = {
    ("right", True): Score(1.0, "said right, it was right", "right"),
    ("right", False): Score(0.0, "said right, it was wrong", "right"),
    ("wrong", False): Score(1.0, "said wrong, it was wrong", "wrong"),
    ("wrong", True): Score(0.0, "said wrong, it was right", "wrong"),
}
_NO_VERDICT = Score(0.0, "expected the verdict 'right' or 'wrong'")


def team(outcome: Outcome) -> dict[str, float]:
    """The team's score to everybody (R1, shared outcome).

    Worked example: the final answer is right -> {"generator_0": 1.0, "evaluator_0": 1.0}.
    """
    return dict.fromkeys(outcome.agents, outcome.team.value)


def own(outcome: Outcome) -> dict[str, float]:
    """Each agent's own claims where it made any (their mean), the team's score where it made none (R2).

    Worked example: drafts wrong then right, one verdict and it was true -> {"generator_0": 0.5, "evaluator_0": 1.0}.
    """
    graded = {agent: outcome.own(agent) for agent in outcome.agents}
    return {agent: outcome.team.value if value is None else value for agent, value in graded.items()}


def minus_cost(rule: Rule, *, per_call: float = 0.01, per_token: float = 0.0) -> Rule:
    """`rule` less what each agent spent.

    Worked example: minus_cost(team, per_call=0.1), right answer, the generator spoke twice -> generator_0 gets 0.8.
    """

    def costed(outcome: Outcome) -> dict[str, float]:
        calls, tokens = outcome.calls, outcome.tokens
        return {
            agent: reward - per_call * calls.get(agent, 0) - per_token * tokens.get(agent, 0)
            for agent, reward in rule(outcome).items()
        }

    return costed


def reward_rule(rule: str | Rule) -> Rule:
    """A rule by name (`team`, `own`, `minus_cost`: the team's score less 0.01 a call), or a rule itself."""
    if callable(rule):
        return rule
    named: dict[str, Rule] = {"team": team, "own": own, "minus_cost": minus_cost(team)}
    if rule not in named:
        raise UnknownName("reward rule", rule, named)
    return named[rule]


def rewards_of(outcome: Outcome, rule: Rule) -> dict[str, float]:
    """The rule's rewards; a FAILED episode pays nothing to anybody, since nothing is known about it."""
    return dict.fromkeys(outcome.agents, 0.0) if outcome.status is Status.FAILED else rule(outcome)
