"""Topology: each agent picks how it communicates, the choices make a graph, and agents act along it (Agent Q-Mix, arXiv 2604.00344)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import ClassVar

from llm_marl_envs.protocol import Ask, Claim, DecisionSpace, Malformed, Roster, Talk
from llm_marl_envs.reading import chosen
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import solve

ACTIONS = ("solo_process", "broadcast_all", "selective_query", "aggregate_refine", "execute_verify", "debate_check")
LINK = "Problem: {question}\nRound {round} of {rounds}. {agent} said before: {before}\nHow should it communicate now? One of {actions}."
SEEN = "Your last answer: {before}\nYou are told:\n{told}"
DECIDE = "Your team's answers:\n{answers}\nDecide on the final answer."


@dataclass(frozen=True)
class Topology:
    """In each round a linker picks one of six actions for each agent; their edges, except those that would close a cycle, say who
    reads whom. Agents act in topological order, those at the same depth at the same time; each also sees its own last answer. A
    decider answers from all their answers.

    agents: the last is the analyzer, the others are solvers (release: 3). rounds: release 2 in training, 2 or 3 at test. An
    unreadable action is `solo_process`.
    """

    agents: int = 3
    rounds: int = 2
    topology: ClassVar[str] = "mixed"

    def __post_init__(self):
        if self.agents < 2 or self.rounds < 1:
            raise ValueError(f"agents starts at 2 and rounds at 1; got {self.agents} and {self.rounds}")

    @cached_property
    def roster(self) -> Roster:
        return Roster(solver=self.agents - 1, analyzer=1, linker=self.agents, decider=1)

    @property
    def decisions(self) -> Mapping[str, DecisionSpace]:
        """The infoset: which linker, which round, whether its agent has spoken before."""
        return {"linker": DecisionSpace(ACTIONS, (int, int, bool))}

    def talk(self, question: Question, rng: Random) -> Talk:
        names = (*self.roster.of("solver"), "analyzer_0")
        last = [""] * self.agents
        for round in range(1, self.rounds + 1):
            picks = yield tuple(self._link(question, i, names[i], last[i], round) for i in range(self.agents))
            actions = [chosen(pick, ACTIONS) for pick in picks]
            for i, action in enumerate(actions):
                if action is None:
                    yield Malformed(f"linker_{i}", " or ".join(ACTIONS))
            edges = graph_of([action or ACTIONS[0] for action in actions])
            said = [""] * self.agents
            sources = sources_of(edges, self.agents)
            for layer in layers_of(edges, self.agents):
                told = {i: "\n".join(f"{names[j]}: {said[j]}" for j in sources[i]) for i in layer}
                replies = yield tuple(Ask(names[i], solve(question, self._seen(last[i], told[i]))) for i in layer)
                for i, reply in zip(layer, replies, strict=True):
                    yield Claim(names[i], reply)
                    said[i] = reply
            last = said
        answers = "\n".join(f"{name}: {text}" for name, text in zip(names, last, strict=True))
        answer = yield Ask("decider_0", solve(question, DECIDE.format(answers=answers)), kind="aggregate")
        yield Claim("decider_0", answer)
        return answer

    def _link(self, question: Question, i: int, name: str, before: str, round: int) -> Ask:
        prompt = LINK.format(
            question=question.text, round=round, rounds=self.rounds, agent=name, before=before or "(nothing)", actions=", ".join(ACTIONS)
        )  # fmt: skip
        return Ask(f"linker_{i}", prompt, choices=ACTIONS, infoset=(i, round, bool(before)), kind="decision")

    def _seen(self, before: str, told: str) -> str:
        return SEEN.format(before=before or "(none)", told=told or "(nothing)") if before or told else ""


def graph_of(actions: Sequence[str]) -> list[tuple[int, int]]:
    """The edges (from, to) of agents' actions, in the agents' order, without those that would close a cycle."""
    n = len(actions)
    wanted: list[tuple[int, int]] = []
    for i, action in enumerate(actions):
        others, following, opposite = [j for j in range(n) if j != i], (i + 1) % n, (i + n // 2) % n
        wanted += {
            "broadcast_all": [(i, j) for j in others],
            "selective_query": [(i, following)],
            "aggregate_refine": [(j, i) for j in others],
            "execute_verify": [(i, following)],
            "debate_check": [(i, opposite), (opposite, i)],
        }.get(action, [])
    edges: dict[tuple[int, int], None] = {}
    before = [1 << i for i in range(n)]  # for each agent, those from which it is reached, itself included, as bits
    for source, target in wanted:
        if source != target and (source, target) not in edges and not before[source] >> target & 1:
            edges[source, target] = None
            if before[source] & ~before[target]:
                before = [had | before[source] if had >> target & 1 else had for had in before]
    return list(edges)


def layers_of(edges: Sequence[tuple[int, int]], n: int) -> list[list[int]]:
    """Agents 0 to n - 1 by depth: each layer reads only earlier ones."""
    sources = sources_of(edges, n)
    layers: list[list[int]] = []
    done: set[int] = set()
    while len(done) < n:
        layers.append([i for i in range(n) if i not in done and done.issuperset(sources[i])])
        done.update(layers[-1])
    return layers


def sources_of(edges: Iterable[tuple[int, int]], n: int) -> list[list[int]]:
    """Whom each agent reads, in the order of the edges."""
    sources: list[list[int]] = [[] for _ in range(n)]
    for source, target in edges:
        sources[target].append(source)
    return sources
