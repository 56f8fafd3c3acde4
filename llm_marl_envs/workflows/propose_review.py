"""Propose and review: proposers and reviewers take turns, each gated by its own controller (TRACER, arXiv 2605.28699)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import ClassVar, Literal, NamedTuple

from llm_marl_envs.protocol import Ask, Claim, DecisionSpace, Malformed, Roster, Talk
from llm_marl_envs.reading import chosen, final_answer, verdict_of
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import options_of, solve

CONTROL = "Question: {question}\n{state}\nYou decide for {agent}: {choices}? Reply with one word."
PROPOSE = (
    "Current solution: {pending}\n{history}\nWrite a complete solution, better than the current one if there is one."
)
REVIEW = (
    "Question: {question}\nCurrent solution: {pending}\n{history}\nCheck it. First line: RIGHT or WRONG. Second line: one "
    "short reason."
)


class Pending(NamedTuple):
    """The current solution: its text, its answer if it can be read, and the votes on it."""

    text: str
    answer: str | None
    vote: int = 0


@dataclass(frozen=True)
class ProposeReview:
    """Odd rounds propose, even rounds review; in round t, bundle (t - 1) mod N is active. A bundle is a proposer, a reviewer and
    a controller for each.

    The controller of a proposer chooses to `keep` the pending solution or to `refresh` it (it must refresh while there is no
    answer); a new solution has vote 0. The controller of a reviewer chooses to `skip` or to `speak`; RIGHT is a vote for the
    pending solution, WRONG a vote against it. The answer is the pending solution at the end.

    bundles, rounds: N and T (release: 2 and 5). controllers: which agents have one; the others always refresh or speak.
    review: False leaves the even rounds out. state: what a controller's infoset contains. history: turns shown in prompts
    (release: 4). feedback: reviews are shown to proposers. keep_answer: a refresh without a readable answer is dropped.
    stop_votes: the episode ends when the pending solution has this many votes (release: never).
    """

    bundles: int = 2
    rounds: int = 5
    controllers: Literal["both", "proposer", "reviewer", "none"] = "both"
    review: bool = True
    state: Literal["both", "vote", "time"] = "both"
    history: int = 4
    feedback: bool = True
    keep_answer: bool = False
    stop_votes: int | None = None
    topology: ClassVar[str] = "debate"

    def __post_init__(self):
        if self.bundles < 1 or self.rounds < 1 or self.history < 0:
            raise ValueError(f"bundles and rounds start at 1, history at 0; got {self}")
        if self.controllers not in ("both", "proposer", "reviewer", "none") or self.state not in (
            "both",
            "vote",
            "time",
        ):
            raise ValueError("controllers is 'both', 'proposer', 'reviewer' or 'none', state 'both', 'vote' or 'time'")

    @cached_property
    def roster(self) -> Roster:
        n = self.bundles
        return Roster(proposer=n, reviewer=n, proposercontroller=n, reviewercontroller=n)

    @property
    def decisions(self) -> Mapping[str, DecisionSpace]:
        most = self.rounds // 2  # reviews
        signs = [f"vote_minus_{k}" for k in range(most, 0, -1)], [f"vote_plus_{k}" for k in range(1, most + 1)]
        vote = ("no_pending", "invalid_pending", *signs[0], "vote_0", *signs[1])
        time = ("not_last", "last")
        infoset = {"both": (vote, time), "vote": (vote,), "time": (time,)}[self.state]
        return {
            "proposercontroller": DecisionSpace(("keep", "refresh"), infoset),
            "reviewercontroller": DecisionSpace(("skip", "speak"), infoset),
        }

    def talk(self, question: Question, rng: Random) -> Talk:
        pending: Pending | None = None
        options = options_of(question)
        turns: list[tuple[bool, str]] = []  # (was it a review?, what was said)
        for round in range(1, self.rounds + 1):
            bundle, odd = (round - 1) % self.bundles, round % 2 == 1
            if odd:
                agent, choices, forced = (
                    f"proposer_{bundle}",
                    ("keep", "refresh"),
                    pending is None or pending.answer is None,
                )
            elif pending is None or not self.review:
                continue
            else:
                agent, choices, forced = f"reviewer_{bundle}", ("skip", "speak"), False
            if not forced and self.controllers in ("both", agent.partition("_")[0]):
                controller = agent.replace("_", "controller_")
                reply = yield self._control(controller, agent, choices, question, pending, round)
                choice = chosen(reply, choices)
                if choice is None:
                    yield Malformed(controller, " or ".join(choices))
                if choice != choices[1]:
                    continue
            if odd:
                text = yield Ask(agent, self._proposal(question, pending, turns))
                yield Claim(agent, text)
                answer = final_answer(text, options)
                if answer is None:
                    yield Malformed(agent, "a final answer")
                if pending is None or answer is not None or not self.keep_answer:
                    pending = Pending(text, answer)
            else:
                assert pending is not None
                said = self._shown(turns, reviews=True)
                text = yield Ask(agent, REVIEW.format(question=question.text, pending=pending.text, history=said))
                right = verdict_of(text)
                if right is None:
                    yield Malformed(agent, "RIGHT or WRONG in the first line")
                else:
                    yield Claim(agent, "right" if right else "wrong", "verdict", pending.text)
                    pending = pending._replace(vote=pending.vote + (1 if right else -1))
            turns.append((not odd, f"Round {round}, {agent}: {text}"))
            if self.stop_votes is not None and pending is not None and pending.vote >= self.stop_votes:
                break
        return pending.text if pending else None

    def infoset(self, pending: Pending | None, round: int) -> tuple[str, ...]:
        """What a controller may condition on: the vote bucket, the time bucket, or both (release: controllers.py)."""
        if pending is None:
            vote = "no_pending"
        elif pending.answer is None:
            vote = "invalid_pending"
        else:
            sign = "plus_" if pending.vote > 0 else "minus_" if pending.vote < 0 else ""
            vote = f"vote_{sign}{abs(pending.vote)}"
        proposals_left = len([r for r in range(round, self.rounds + 1) if r % 2 == 1])
        time = "last" if proposals_left <= 1 else "not_last"
        return {"both": (vote, time), "vote": (vote,), "time": (time,)}[self.state]

    def _control(
        self,
        controller: str,
        agent: str,
        choices: tuple[str, ...],
        question: Question,
        pending: Pending | None,
        round: int,
    ) -> Ask:
        infoset = self.infoset(pending, round)
        state = f"Current solution: {pending.text if pending else '(none)'}\nState: {', '.join(infoset)}"
        prompt = CONTROL.format(question=question.text, state=state, agent=agent, choices=" or ".join(choices))
        return Ask(controller, prompt, choices=choices, infoset=infoset, kind="decision")

    def _proposal(self, question: Question, pending: Pending | None, turns: list[tuple[bool, str]]) -> str:
        if pending is None:
            return solve(question)
        said = self._shown(turns, reviews=self.feedback)
        return solve(question, PROPOSE.format(pending=pending.text, history=said))

    def _shown(self, turns: list[tuple[bool, str]], *, reviews: bool) -> str:
        said = [text for is_review, text in turns if reviews or not is_review]
        return "\n".join(said[-self.history :] if self.history else []) or "(nothing was said yet)"
