"""DAC: a searcher that is paid for evidence that convinces, a generator that may decline to answer from evidence that does not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from baselines.credit.gae import Progress, turn_level
from baselines.credit.group import group_relative
from baselines.methods.base import Method
from baselines.policies import PolicyRouter
from baselines.rollout import PlayFn, Start
from baselines.types import Credit, Episode, Place, Sample, Signal, Span, Turn, Values
from llm_marl_envs.errors import ConfigError, ToolFailed
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.protocol import Roster, UseTool, Workflow
from llm_marl_envs.reading import NOTHING_FOUND, is_abstention, passages_in
from llm_marl_envs.rewards import Rule, accepted_evidence, accepted_progress, by_role, justified_answer, progress, team
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Session, Status
from llm_marl_envs.task import Problem, Task
from llm_marl_envs.tools.run import run_tool
from llm_marl_envs.workflows.search_answer import SearchAnswer

if TYPE_CHECKING:
    from baselines.losses import Loss

RANKED = 15  # passages retrieved for the question itself, of which the distractors are taken (DAC)
SEARCHER, GENERATOR = "searcher", "generator"


def sufficient_evidence(outcome: Outcome) -> dict[str, float]:
    """1 if the last evidence is sufficient, whatever the generator makes of it (the ablation Decomp-SR)."""
    grades = [score.value for claim, score in outcome.claims if claim.kind == "evidence"]
    return dict.fromkeys(outcome.agents, float(bool(grades) and grades[-1] >= 1))


REWARDS: Mapping[str, tuple[Rule, Progress]] = {  # the searcher's: of an episode, and what each turn adds to it
    "accepted": (accepted_evidence, accepted_progress),
    "answer": (team, progress),
    "sufficient": (sufficient_evidence, lambda outcome: progress(outcome, "evidence")),
}


@dataclass(frozen=True)
class Dac(Method):
    """Divide and Cooperate (arXiv 2606.10684) on `search_answer`: a policy for each role.

    searcher: what it is paid for. "accepted": evidence is sufficient and the generator accepts it (r_S); "answer": the answer is
    right (Decomp-AR); "sufficient": evidence is sufficient (Decomp-SR). turn_reward: pay each search for what it added, for which
    the generator is asked after each; otherwise everything at the end. hard: distractors in a hard positive (0: no
    augmentation). answers: sampled for each prompt of the generator (G). sft: weight of imitating, on hard positives, answers that
    were right without the distractors (paper's appendix D: 0.05; its main results: 0). std, whiten: divide the generator's
    advantages by their group's standard deviation; whiten the searcher's over the batch. gamma, lam, clip, clip_value,
    value_weight: as in PPO.

    What the paper leaves open, decided here:
    - Every step updates both policies: the searcher plays, then the generator is asked. Its answers in these episodes only judge
      the searcher; it is trained on `answers` fresh samples for every distinct (question, final evidence E) of the step, and as
      many for (question, E') if E is sufficient. An episode that found nothing is asked with `No passage was found.` for E.
    - E' = E, then the three best-ranked of the 15 passages for the question that are not in E, the best of them last. A task
      whose search returns a fixed number of passages (it has no knob `top_k`) gives fewer.
    - s of E' is s of E, of which it is a superset.
    - `<stop>` and what is said after the last search is paid 0 with turn rewards; without them all is paid on the last token.
    - Advantages are whitened and divided by the standard deviation, as in verl, which the paper trains with.
    - The critic is a linear map of the searcher's last hidden state and learns at the searcher's rate, not a network of its own.
    - An imitated answer is the k-th on E where it is right and the k-th on E' is not. The sum over its tokens is averaged like
      the rest of the generator's loss: over all tokens that the generator is trained on in the step.
    - Normalisation of answers and evidence is the task's.

    Declining is worth 1 - evidence from the first step, and answering what the generator can answer: where that is less, the
    policy learns to decline everything and stays there. `warnings` says so before training; `figures` logs the paper's terms.
    """

    searcher: Literal["accepted", "answer", "sufficient"] = "accepted"
    turn_reward: bool = True
    hard: int = 3
    answers: int = 5
    sft: float = 0.0
    std: bool = True
    whiten: bool = True
    gamma: float = 1.0
    lam: float = 1.0
    clip: float = 0.2
    clip_value: float = 0.2
    value_weight: float = 0.25

    def __post_init__(self):
        if self.searcher not in REWARDS:
            raise ValueError(f"searcher is {', '.join(map(repr, REWARDS))}; got {self.searcher!r}")
        if self.answers < 2:
            raise ValueError(f"answers are compared within their prompt, so there are at least 2; got {self.answers}")
        if not 0 <= self.hard <= RANKED or self.sft < 0:
            raise ValueError(f"hard is from 0 to {RANKED}, sft at least 0; got {self.hard} and {self.sft}")
        if self.sft and not self.hard:
            raise ValueError("sft imitates answers on hard positives; with hard=0 there are none")

    def route(self, roster: Roster) -> PolicyRouter:
        return PolicyRouter.isolated(roster)

    @property
    def critics(self) -> tuple[str, ...]:
        return (SEARCHER,)

    def training(self, workflow: Workflow) -> Workflow:
        if not isinstance(workflow, SearchAnswer) or workflow.given:
            raise ConfigError(
                f"dac trains a searcher and a generator: its workflow is search_answer without given; got {workflow}"
            )
        return replace(workflow, abstain=True, every_turn=self.turn_reward)

    @property
    def rule(self) -> Rule:
        return by_role({SEARCHER: REWARDS[self.searcher][0], GENERATOR: justified_answer})

    def presets(self, roster: Roster) -> Mapping[str, Any]:
        return {"alpha": 16, "betas": (0.9, 0.999), "weight_decay": 0.01, "temperature": 1.0}

    def collect(self, starts: Sequence[Start], play: PlayFn, task: Task) -> list[Episode]:
        episodes = play(starts)
        asked: dict[tuple[str, tuple[str, ...]], list[Start]] = {}
        distractors = _Distractors(task, self.hard)
        for e in episodes:
            found, enough = evidence_of(e)
            if e.outcome.status is Status.FAILED or (e.problem.question.id, found) in asked:
                continue
            asked[e.problem.question.id, found] = self._asked(e, found)
            if enough and (more := distractors.beside(found, e.problem)):
                asked[e.problem.question.id, found] += self._asked(e, found + more)
        return episodes + play([start for group in asked.values() for start in group])

    def _asked(self, parent: Episode, given: tuple[str, ...]) -> list[Start]:
        """The generator alone, from these passages: a group of answers. No reply is the parent's, so the branch is at 0."""
        played = parent.session.play
        here = seed_of("dac", played.seed, given)
        flow = replace(played.workflow, given=given)  # type: ignore[type-var]
        seeds = [seed_of(here, k) for k in range(self.answers)]
        return [
            Start(Session(replace(played, workflow=flow, seed=s)), parent.problem, here, k, s, origin=(parent, 0))
            for k, s in enumerate(seeds)
        ]

    def credit(self, episodes: Sequence[Episode], values: Values, seed: int) -> Credit:
        gained = REWARDS[self.searcher][1]
        credit: dict[Place, float | Signal] = {}
        credit |= turn_level(
            episodes, values, SEARCHER, gained,
            gamma=self.gamma, lam=self.lam, each_turn=self.turn_reward, whiten=self.whiten,
        )  # fmt: skip
        answers = list(attempts(episodes))
        graded = [replace(a.episode, rewards=dict.fromkeys(a.episode.rewards, a.reward)) for a in answers]
        for (k, turn), advantage in group_relative(graded, std=self.std).items():
            credit[answers[k].place, turn] = advantage
        return credit

    def lessons(self, episodes: Sequence[Episode]) -> list[Sample]:
        if not self.sft:
            return []
        pairs: dict[tuple[int, int], dict[bool, Attempt]] = {}
        for answer in attempts(episodes):
            if answer.turn is not None:
                pairs.setdefault((answer.of, answer.episode.sample), {})[answer.hard] = answer
        made = []
        for pair in pairs.values():
            easy, hard = pair.get(False), pair.get(True)
            if easy and hard and easy.right and not hard.right:
                prompt, reply = hard.tokens[0], easy.tokens[1]
                span = Span(len(prompt), len(prompt) + len(reply), self.sft, ())
                made.append(Sample(GENERATOR, GENERATOR, prompt + reply, (span,)))
        return made

    def loss(self, policy: str) -> Loss:
        from baselines import losses

        if policy == SEARCHER:
            return losses.ppo(self.clip, self.clip_value, self.value_weight)
        return losses.grpo(self.clip, self.clip)

    def figures(self, episodes: Sequence[Episode]) -> Mapping[str, float]:
        """The paper's Stackelberg game as it stands: the shares of the generator's prompts with insufficient (alpha), sufficient
        (beta) and sufficient but hard evidence (gamma); c, how often an answer to the hard is right (of those that do not
        decline); and margin = gamma c - alpha, above 0 where the equilibrium is to answer, below where it is to decline all.
        `hard_missing`: the share of sufficient prompts without a hard positive. `declined`: of all answers."""
        answers = list(attempts(episodes))
        if not answers:
            return {}
        easy = [a for a in answers if a.sufficient and not a.hard]
        hard = [a for a in answers if a.hard]
        alpha, gamma = fmean(not a.sufficient for a in answers), len(hard) / len(answers)
        found = {"stackelberg_alpha": alpha, "stackelberg_beta": len(easy) / len(answers), "stackelberg_gamma": gamma}
        tried = [a.right for a in hard if not a.declines]
        if tried:
            found["stackelberg_c"] = fmean(tried)
        if tried or not hard:
            found["stackelberg_margin"] = gamma * found.get("stackelberg_c", 0.0) - alpha
        if self.hard and easy:
            found["hard_missing"] = 1 - len({a.of for a in hard}) / len({a.of for a in easy})
        return found | {"declined": fmean(a.declines for a in answers)}

    def warnings(self, held_out: Sequence[Episode]) -> Sequence[str]:
        """Whether declining everything pays more than answering does before training (where the generator cannot decline)."""
        played = [e for e in held_out if e.outcome.status is not Status.FAILED]
        if not played:
            return ()
        exact = fmean(e.outcome.team.value >= 1 for e in played)
        lacking = 1 - fmean(evidence_of(e)[1] for e in played)
        if exact >= lacking:
            return ()
        return (
            f"danger of collapse into abstention: held-out EM is {exact:.3f}, less than 1 - evidence = {lacking:.3f}. A "
            "generator that always says `unknown` is rewarded more than one that answers, and once all of its answers are "
            "alike nothing leads it back. Train it to answer first (a longer warm start, or method shared), or start from a "
            "searcher that finds more; watch `declined` and `stackelberg_margin` in the metrics.",
        )


class Attempt(NamedTuple):
    """One of the generator's answers to given passages, as it counts in r_G. `of` names the episode that found them."""

    place: int
    episode: Episode
    turn: Turn | None
    of: int
    hard: bool
    sufficient: bool
    declines: bool
    right: bool

    @property
    def reward(self) -> float:
        """r_G: right, or abstention from insufficient evidence."""
        return float(self.right or (self.declines and not self.sufficient))

    @property
    def tokens(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        assert self.turn is not None
        return self.turn.completion.prompt_ids, self.turn.completion.token_ids


def attempts(episodes: Sequence[Episode]) -> Iterator[Attempt]:
    """The generator's answers of a step, with their places in the batch."""
    for place, e in enumerate(episodes):
        if e.origin is not None:
            found, enough = evidence_of(e.origin[0])
            hard = len(e.session.play.workflow.given) > len(found)  # type: ignore[attr-defined]
            turn = e.turns[-1] if e.turns and e.turns[-1].completion.token_ids else None
            declines = e.session.answer is not None and is_abstention(e.session.answer)
            yield Attempt(place, e, turn, id(e.origin[0]), hard, enough, declines, e.outcome.team.value >= 1)


def evidence_of(episode: Episode) -> tuple[tuple[str, ...], bool]:
    """The passages that an episode ended with, and whether they are sufficient."""
    for claim, score in reversed(episode.outcome.claims):
        if claim.kind == "evidence" and claim.text:
            return tuple(claim.text.split("\n")), score.value >= 1
    return (NOTHING_FOUND,), False


class _Distractors:
    """Passages that a search for the question itself ranks high, looked up once a question."""

    def __init__(self, task: Task, count: int):
        self.count = count
        wide = any(f.name == "top_k" for f in fields(task))  # type: ignore[arg-type]
        self.tools = (replace(task, top_k=RANKED) if wide else task).tools if count else {}  # type: ignore[type-var]
        self.ranked: dict[str, list[str]] = {}

    def beside(self, found: Sequence[str], problem: Problem) -> tuple[str, ...]:
        """The best-ranked passages that are not among those found, in reverse order of rank."""
        question = problem.question
        if self.count and question.id not in self.ranked:
            self.ranked[question.id] = []
            with contextlib.suppress(ToolFailed):  # there is no hard positive then, which `hard_missing` counts
                call = UseTool("searcher_0", "search", {"query": question.text})
                self.ranked[question.id] = passages_in(run_tool(call, question, self.tools).text)
        others = [passage for passage in self.ranked.get(question.id, ()) if passage not in found]
        return tuple(reversed(others[: self.count]))
