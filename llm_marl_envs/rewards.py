"""From an outcome to rewards: the eight families of the survey of RL for LLM teams (arXiv 2605.02801, R1 to R8) as functions.

A rule is a function from an `Outcome` to one reward per agent of the roster. Rules compose:
`hybrid((team, 0.5), (by_role({"evaluator": verifier}), 0.5))`, `minus_cost(own, per_call=0.01)`. Rewards come once, at the end
of the episode; nothing here flows back into a prompt. For rewards per turn see `progress`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import NamedTuple

from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.protocol import Ask, Claim, ClaimKind, UseTool
from llm_marl_envs.reading import is_abstention
from llm_marl_envs.session import Status
from llm_marl_envs.stats.figures import speed_up
from llm_marl_envs.task import Score

Rule = Callable[[Outcome], dict[str, float]]


def team(outcome: Outcome) -> dict[str, float]:
    """R1, shared outcome: the team's score to everybody (as in MAGRPO, MAPoRL, Dr. MAS).

    Worked example: the final answer is right -> {"generator_0": 1.0, "evaluator_0": 1.0}.
    """
    return dict.fromkeys(outcome.agents, outcome.team.value)


def own(outcome: Outcome) -> dict[str, float]:
    """R2, individual: each agent's own claims where it made any (their mean), the team's score where it made none.

    Worked example: drafts wrong then right, one verdict and it was true -> {"generator_0": 0.5, "evaluator_0": 1.0}.
    """
    return _or_team(outcome, {agent: outcome.own(agent) for agent in outcome.agents})


def by_role(rules: Mapping[str, Rule], otherwise: Rule = team) -> Rule:
    """R3, role-specific: each role is rewarded by its own rule, roles without one by `otherwise`.

    Worked example: by_role({"evaluator": verifier}), drafts wrong then right, the one verdict true
    -> {"generator_0": 1.0 (the team's), "evaluator_0": 1.0 (its verdict's)}.
    """

    def rewards(outcome: Outcome) -> dict[str, float]:
        found = {role: rule(outcome) for role, rule in rules.items()}
        rest = otherwise(outcome)
        return {agent: found.get(agent.rpartition("_")[0], rest)[agent] for agent in outcome.agents}

    return rewards


def accepted_evidence(outcome: Outcome) -> dict[str, float]:
    """1 if the last evidence is sufficient and the last answer does not abstain (DAC, arXiv 2606.10684, r_S).

    Worked example: the passages hold the answer, but the generator says unknown -> 0 (the evidence must convince).
    """
    sufficient, abstained, _ = _evidence_and_answer(outcome)
    return dict.fromkeys(outcome.agents, float(sufficient and not abstained))


def justified_answer(outcome: Outcome) -> dict[str, float]:
    """1 if the last answer is right, or abstains where the evidence is insufficient (DAC, arXiv 2606.10684, r_G).

    Worked example: nothing useful was found, and the generator says unknown -> 1.
    """
    sufficient, abstained, right = _evidence_and_answer(outcome)
    return dict.fromkeys(outcome.agents, float(right or (abstained and not sufficient)))


def dac(outcome: Outcome) -> dict[str, float]:
    """R3 as in DAC (arXiv 2606.10684): the searcher is rewarded for accepted evidence, the generator for justified answers.

    Worked example: insufficient passages, answer unknown -> {"searcher_0": 0.0, "generator_0": 1.0}.
    """
    return by_role({"searcher": accepted_evidence, "generator": justified_answer})(outcome)


class TurnProgress(NamedTuple):
    """By how much a turn changed the grade of the current claim. `turn` is the reply's place among the session's replies."""

    turn: int
    agent: str
    value: float


def progress(outcome: Outcome, kind: ClaimKind = "answer") -> list[TurnProgress]:
    """Per turn: the grade of its claim minus the grade of the claim before, starting from 0.

    The values add up to the last claim's grade, so rewarding them per turn moves credit in time without changing what is
    rewarded (DAC's turn-level difference, section 3.3; potential-based shaping, Ng et al. 1999, with discount 1).

    Worked example: drafts wrong, right, wrong -> 0, +1, -1.
    """
    found, stood = [], 0.0
    for turn, (claim, score) in _claims_in_time(outcome):
        if claim.kind == kind:
            found.append(TurnProgress(turn, claim.agent, score.value - stood))
            stood = score.value
    return found


def accepted_progress(outcome: Outcome) -> list[TurnProgress]:
    """Per search turn: whether the evidence so far was sufficient and accepted, minus the same for the turn before (DAC, arXiv
    2606.10684, the searcher's turn-level reward). Needs an answer after each turn, `search_answer(every_turn=True)`; otherwise the
    last turn gets everything. The values add up to `accepted_evidence`.

    Worked example: insufficient, then sufficient but answered unknown, then sufficient and answered -> 0, 0, 1.
    """
    found: list[TurnProgress] = []
    searched, sufficient, stood = None, False, 0.0
    for turn, (claim, score) in _claims_in_time(outcome):
        if claim.kind == "evidence":
            searched, sufficient = (turn, claim.agent), score.value >= 1.0
        elif claim.kind == "answer" and searched:
            accepted = float(sufficient and not is_abstention(claim.text))
            found.append(TurnProgress(*searched, accepted - stood))
            searched, stood = None, accepted
    return found


def process(outcome: Outcome) -> dict[str, float]:
    """R4, process: the progress that each agent's own answers made, summed; the team's score where an agent claims no answers.

    Worked example: a debater answers wrong, the next one right, then the first repeats the right answer
    -> {"debater_0": 0.0, "debater_1": 1.0}: the agent that corrected it is rewarded, not the one that repeats it.
    """
    sums: dict[str, float | None] = dict.fromkeys(outcome.agents)
    for _, agent, value in progress(outcome):
        sums[agent] = (sums[agent] or 0.0) + value
    return _or_team(outcome, sums)


def tool_use(
    *, success: float = 0.1, cost: float = 0.02, worked: Callable[[UseTool, str], float] | None = None
) -> Rule:
    """R5, tool use: for each use `success` times how well it worked, minus `cost`. Agents that used no tool get 0.

    worked: a function from the call and the tool's text to a number from 0 to 1; by default the tool's own number (`ToolResult`).
    Combine this rule with one about the answer by `hybrid`: alone, it only rewards using tools.

    Worked example: two searches, one of which found nothing -> 0.1 - 2 * 0.02 = 0.06.
    """

    def rewards(outcome: Outcome) -> dict[str, float]:
        sums = dict.fromkeys(outcome.agents, 0.0)
        for call, reply, _ in outcome.events:
            if isinstance(call, UseTool) and reply is not None:
                how_well = reply.worked if worked is None else worked(call, reply.text)
                sums[call.agent] += success * how_well - cost
        return sums

    return rewards


def verifier(outcome: Outcome) -> dict[str, float]:
    """R6, debate and verification: the accuracy of each agent's verdicts; the team's score where it gave none.

    A verdict is graded by the truth about the answer it is about, so a judge that is persuaded by a wrong answer is not
    rewarded for agreeing.

    Worked example: the evaluator calls one wrong draft wrong and another wrong draft right, the team's answer is wrong
    -> {"generator_0": 0.0, "evaluator_0": 0.5}.
    """
    grades: dict[str, list[float]] = {}
    for claim, score in outcome.claims:
        if claim.kind == "verdict":
            grades.setdefault(claim.agent, []).append(score.value)
    return _or_team(outcome, {agent: sum(of) / len(of) for agent, of in grades.items()})


def orchestration(*, faster: float = 0.1, coverage: float = 0.1, gain: float = 0.1) -> Rule:
    """R7, orchestration: agents that decide or aggregate get the team's score and a bonus for how the work was organised,
    faster * (speed_up - 1) + coverage * split_coverage + gain * aggregation_gain; the others get the team's score.

    Worked example: right (1.0); 4 calls with 2 on the critical path (speed-up 2); all words of the question were handed
    out (coverage 1); the best worker was right too (gain 0) -> 1 + 0.1 * 1 + 0.1 * 1 + 0 = 1.2 for the orchestrator.
    """

    def rewards(outcome: Outcome) -> dict[str, float]:
        shared, leading = team(outcome), leads(outcome)
        if leading:
            bonus = faster * (speed_up(outcome) - 1.0) + coverage * split_coverage(outcome)
            bonus += gain * aggregation_gain(outcome)
            shared |= {agent: shared[agent] + bonus for agent in leading}
        return shared

    return rewards


def leads(outcome: Outcome) -> frozenset[str]:
    """The agents that were asked to decide or to aggregate."""
    calls = (event.call for event in outcome.events)
    return frozenset(call.agent for call in calls if isinstance(call, Ask) and call.kind in ("decision", "aggregate"))


def split_coverage(outcome: Outcome) -> float:
    """The share of the question's words (numbers, and words of four letters or more) that occur in the decisions: whether the
    parts that an orchestrator hands out cover the problem. 0 without decisions. Copying the question covers it, too, so combine
    this with a rule that has a cost.

    Worked example: "How many legs have 3 cats?" has many, legs, have, 3, cats; "count the legs of 3 cats" covers 3 of 5 -> 0.6.
    """
    if outcome.session is None:
        return 0.0
    asked = _words(outcome.session.play.question.text)
    said = [e.reply.text for e in outcome.events if isinstance(e.call, Ask) and e.reply and e.call.kind == "decision"]
    return len(asked & _words("\n".join(said))) / len(asked) if asked else 0.0


def aggregation_gain(outcome: Outcome) -> float:
    """The team's score minus the best member's last answer's. Agents asked to aggregate are not members. 0 if no member answered.

    Worked example: workers wrong, wrong and right, the team wrong -> -1: the right answer was available and was lost.
    """
    voices = {e.call.agent for e in outcome.events if isinstance(e.call, Ask) and e.call.kind == "aggregate"}
    last = {c.agent: score.value for c, score in outcome.claims if c.kind == "answer" and c.agent not in voices}
    return outcome.team.value - max(last.values()) if last else 0.0


def hybrid(*parts: tuple[Rule, float]) -> Rule:
    """R8, hybrid local and global: the weighted sum of rules.

    Worked example: hybrid((team, 0.5), (own, 0.5)), the team right, the generator's drafts wrong then right
    -> generator_0 gets 0.5 * 1 + 0.5 * 0.5 = 0.75.
    """
    if not parts:
        raise ValueError("hybrid takes at least one (rule, weight)")

    def mixed(outcome: Outcome) -> dict[str, float]:
        sums = dict.fromkeys(outcome.agents, 0.0)
        for rule, weight in parts:
            for agent, reward in rule(outcome).items():
                sums[agent] += weight * reward
        return sums

    return mixed


def minus_cost(rule: Rule, *, per_call: float = 0.01, per_token: float = 0.0) -> Rule:
    """`rule` minus what each agent spent.

    Worked example: minus_cost(team, per_call=0.1), right answer, the generator spoke twice -> generator_0 gets 0.8.
    """

    def costed(outcome: Outcome) -> dict[str, float]:
        calls, tokens = outcome.calls, outcome.tokens
        return {
            agent: reward - per_call * calls.get(agent, 0) - per_token * tokens.get(agent, 0)
            for agent, reward in rule(outcome).items()
        }

    return costed


RULES: Mapping[str, Rule] = {
    "team": team,
    "own": own,
    "minus_cost": minus_cost(team),
    "dac": dac,
    "process": process,
    "tool_use": hybrid((team, 1.0), (tool_use(), 1.0)),
    "verifier": verifier,
    "orchestration": orchestration(),
    "hybrid": hybrid((team, 0.5), (own, 0.5)),
}


def reward_rule(rule: str | Rule) -> Rule:
    """A rule by its name in `RULES` (families with settings at their defaults), as `your.module:rule`, or a rule itself."""
    if callable(rule):
        return rule
    module, colon, name = rule.partition(":")
    if colon:
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError) as bad:
            raise ConfigError(f"no reward rule {rule!r} ({bad}); expected module:function, importable here") from bad
    if rule not in RULES:
        raise UnknownName("reward rule", rule, RULES)
    return RULES[rule]


def rewards_of(outcome: Outcome, rule: Rule) -> dict[str, float]:
    """The rule's rewards; all are 0 in a FAILED episode, since nothing is known about it."""
    return dict.fromkeys(outcome.agents, 0.0) if outcome.status is Status.FAILED else rule(outcome)


def _or_team(outcome: Outcome, found: Mapping[str, float | None]) -> dict[str, float]:
    values = {agent: found.get(agent) for agent in outcome.agents}
    return {agent: outcome.team.value if value is None else value for agent, value in values.items()}


def _claims_in_time(outcome: Outcome) -> Iterator[tuple[int, tuple[Claim, Score]]]:
    """Each claim with the place of its agent's latest reply among the session's replies."""
    graded, replied, latest = iter(outcome.claims), 0, {}
    for call, reply, _ in outcome.events:
        if reply is not None:
            if isinstance(call, Ask):
                latest[call.agent] = replied
            replied += 1
        elif isinstance(call, Claim) and (pair := next(graded, None)):
            yield latest.get(call.agent, max(0, replied - 1)), pair


def _evidence_and_answer(outcome: Outcome) -> tuple[bool, bool, bool]:
    """Whether the last evidence is sufficient, and whether the last answer abstains and is right."""
    sufficient = abstained = right = False
    for claim, score in outcome.claims:
        if claim.kind == "evidence":
            sufficient = score.value >= 1.0
        elif claim.kind == "answer":
            abstained, right = is_abstention(claim.text), score.value >= 1.0
    return sufficient, abstained, right


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.casefold()) if len(word) >= 4 or word.isdigit()}
