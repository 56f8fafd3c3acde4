"""From a finished session to rewards: grade what was claimed, then apply a rule.

A rule is a function from an `Outcome` to one reward per agent of the roster. Rules compose: `minus_cost(own, per_call=0.01)`.
Rewards come once, at the end of the episode; nothing here flows back into a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llm_marl_envs.errors import UnknownName
from llm_marl_envs.protocol import Ask, Claim, Malformed
from llm_marl_envs.session import Session, Status
from llm_marl_envs.tasks.base import Problem, Score, Task

VERDICTS = {"right": True, "wrong": False}


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
    if session.status is None:
        raise ValueError(f"{session!r} is not over; only finished episodes have an outcome")
    status, calls, tokens, malformed = session.status, {}, {}, 0
    grades: dict[tuple[str, str], Score] = {}
    claims: list[tuple[Claim, Score]] = []

    def grade(text: str, kind: str = "answer") -> Score:
        if (found := grades.get((text, kind))) is None:
            found = grades[text, kind] = task.grade(problem, text, kind)
        return found

    try:
        for call, reply, _ in session.events:
            kind = type(call)
            if kind is Ask:
                agent = call.agent
                calls[agent] = calls.get(agent, 0) + 1
                tokens[agent] = tokens.get(agent, 0) + reply[1] + reply[2]
            elif kind is Claim:
                score = _grade_verdict(call, grade) if call.kind == "verdict" else grade(call.text, call.kind)
                claims.append((call, score))
                malformed += score.read is None
            elif kind is Malformed:
                malformed += 1
        if session.answer is None:
            team = Score(0.0, session.why or "the team gave no answer")
        else:
            team = grade(session.answer)
    except Exception as bad:  # a grader's bug must not be paid or punished as an answer
        status, team, claims = Status.FAILED, Score(0.0, f"the grader failed: {type(bad).__name__}: {bad}"), []
    return Outcome(status, team, tuple(claims), session.play.workflow.roster.names, calls, tokens, malformed)


def _grade_verdict(claim: Claim, grade: Callable[[str], Score]) -> Score:
    says = VERDICTS.get(claim.text)
    if says is None:
        return Score(0.0, f"expected the verdict 'right' or 'wrong', got {claim.text[:40]!r}")
    truth = grade(claim.about).value >= 1.0
    return Score(float(says is truth), f"said {claim.text}, it was {'right' if truth else 'wrong'}", claim.text)


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
