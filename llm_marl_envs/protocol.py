"""What a workflow is, and what it may yield.

A workflow is a plain generator. It yields what it needs (a *call*) or what the record should say (a *note*), is sent the
answers to its calls, and returns the team's answer. It does no I/O, sees no gold answer and knows no tokens, so the list of
answers it was sent is its whole state: snapshot, fork, pickle and verification are all replay.

Five rules hold this up (`llm_marl_envs.testing.check_workflow` enforces them):
1. A talk is a function of (knobs, question, seeded rng, replies): no clock, no globals, no I/O, no iteration over sets.
2. Tools are answered by the driver and recorded; replay never runs one. Tools are stateless.
3. One Ask per agent per wave; a wave's prompts are fixed before any of its replies is seen.
4. Agent names are never reused within an episode, and the roster bounds who may ever exist.
5. Budgets belong to the driver; when one runs out, the generator is closed (TRUNCATED) and sees no other exception.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from llm_marl_envs.errors import WorkflowError

if TYPE_CHECKING:
    from llm_marl_envs.task import Question

# Calls and notes are values: nothing changes them after they are made. But they are not `frozen`, which would make their
# constructors twice as slow: with ten of them in a short episode, that is an eighth of the time of an environment's step.

AskKind = Literal["message", "decision", "return", "aggregate"]
ClaimKind = Literal["answer", "verdict", "evidence"]


@dataclass(slots=True, unsafe_hash=True)
class Ask:
    """A call to an agent, answered with its text.

    `fresh=False` continues that agent's own conversation: all messages so far, including its own replies, then `prompt`;
    `system` opens a conversation and is ignored when one is continued. `choices` is a closed menu, if there is one.
    `infoset` is the small tuple that a tabular or neural controller may condition on instead of the prompt.
    """

    agent: str
    prompt: str
    system: str = ""
    fresh: bool = True
    choices: tuple[str, ...] = ()
    infoset: tuple[Any, ...] = ()
    kind: AskKind = "message"


@dataclass(slots=True, unsafe_hash=True)
class UseTool:
    """A call to one of the task's tools on behalf of `agent`, answered with the tool's text."""

    agent: str
    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, unsafe_hash=True)
class Spawn:
    """Note: `agent` exists from here on (its name must be in the roster's `spawned` part)."""

    agent: str
    by: str


@dataclass(slots=True, unsafe_hash=True)
class Stop:
    """Note: `agent` is dismissed and its name is never used again."""

    agent: str
    by: str


@dataclass(slots=True, unsafe_hash=True)
class Claim:
    """Note: grade `text` as `agent`'s own work. The grade never flows back into a prompt.

    answer: a solution of the problem. verdict: "right" or "wrong", said about the answer `about`. evidence: passages.
    """

    agent: str
    text: str
    kind: ClaimKind = "answer"
    about: str = ""


@dataclass(slots=True, unsafe_hash=True)
class Malformed:
    """Note: `agent`'s last reply could not be read as what was `expected`; the workflow continued without it."""

    agent: str
    expected: str


Call = Ask | UseTool
Note = Spawn | Stop | Claim | Malformed
CALLS = frozenset((Ask, UseTool))
NOTES = frozenset((Spawn, Stop, Claim, Malformed))
Talk = Generator[Call | tuple[Call, ...] | Note, Any, str | None]


class Roster:
    """Who may ever exist in an episode: `Roster(solver=1, voter=3)` names solver_0, voter_0, voter_1 and voter_2.

    Roles in `spawned` exist only after a `Spawn`; the others are there from the start.
    """

    __slots__ = ("_role", "names", "present", "roles", "spawned")

    def __init__(self, *, spawned: Mapping[str, int] | None = None, **roles: int):
        def named(counts: Mapping[str, int]) -> dict[str, str]:
            for role, count in counts.items():
                if not role.isidentifier() or count < 1:
                    raise ValueError(f"a roster takes role=count with count >= 1; got {role}={count}")
            return {f"{role}_{i}": role for role, count in counts.items() for i in range(count)}

        if not roles:
            raise ValueError("a roster needs at least one role that is there from the start")
        late = spawned or {}
        if both := sorted(set(roles) & set(late)):
            raise ValueError(f"role {both[0]!r} is both present and spawned; give it two names")
        self.present: tuple[str, ...] = tuple(named(roles))
        self.spawned: tuple[str, ...] = tuple(named(late))
        self._role: dict[str, str] = named(roles) | named(late)
        self.names: tuple[str, ...] = tuple(self._role)
        self.roles: tuple[str, ...] = tuple(roles) + tuple(late)

    def role(self, agent: str) -> str:
        """The role of an agent: 'voter' for 'voter_2'."""
        return self._role[agent]

    def of(self, role: str) -> tuple[str, ...]:
        """The agents of a role, in order."""
        return tuple(name for name, its in self._role.items() if its == role)

    def __contains__(self, agent: object) -> bool:
        return agent in self._role

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Roster) and (self.present, self.spawned) == (other.present, other.spawned)

    def __hash__(self) -> int:
        return hash((self.present, self.spawned))

    def __repr__(self) -> str:
        return f"Roster(present={self.present}, spawned={self.spawned})"


class DecisionSpace(NamedTuple):
    """What the asks of a role that decides may hold, declared before any episode so that arrays have a shape: the entries of its menu,
    of which an ask may offer some, in this order; and of each entry of its infoset the type, or the values that it may have."""

    choices: tuple[str, ...] = ()
    infoset: tuple[type | tuple[Any, ...], ...] = ()

    def check(self, ask: Ask) -> None:
        """Raises WorkflowError if an ask holds anything else. One that has neither is no decision."""
        if not ask.choices and not ask.infoset:
            return
        offered = iter(self.choices)
        if not all(choice in offered for choice in ask.choices):
            raise WorkflowError(f"{ask.agent} is offered {ask.choices}; declared are, in this order, {self.choices}")
        same = len(ask.infoset) == len(self.infoset)
        if not same or not all(map(_fits, ask.infoset, self.infoset)):
            raise WorkflowError(f"{ask.agent} is asked with the infoset {ask.infoset}; declared is {self.infoset}")


def _fits(value: Any, declared: type | tuple[Any, ...]) -> bool:
    return value in declared if isinstance(declared, tuple) else type(value) is declared


def decision_of(workflow: Workflow, role: str) -> DecisionSpace:
    """What a workflow declares of a role's asks; nothing, if it never decides."""
    return getattr(workflow, "decisions", {}).get(role, DecisionSpace())


class Workflow(Protocol):
    """A frozen dataclass: its fields are the knobs, `roster` says who may exist, `talk` what they do. If its agents use
    tools, it also has `needs`, the names of these tools; if any are asked with `choices` or an `infoset`, `decisions`, a mapping
    from their roles to what they may hold."""

    @property
    def roster(self) -> Roster: ...

    def talk(self, question: Question, rng: Random) -> Talk: ...


def together(*talks: Talk) -> Generator[Any, Any, list[Any]]:
    """Play talks side by side, wave by wave, and return their results in order (`yield from together(a, b)`).

    Each round combines the calls of all unfinished talks into one wave; its answers are passed on when all are there, so the
    order in which agents finish cannot matter. Talks may themselves yield waves, and may be nested.
    """
    results: list[Any] = [None] * len(talks)
    inbox: dict[int, Any] = dict.fromkeys(range(len(talks)))
    while inbox:
        wants: dict[int, Call | tuple[Call, ...]] = {}
        for i, value in inbox.items():
            try:
                event: Any = talks[i].send(value)
                while type(event) in NOTES:
                    yield event
                    event = talks[i].send(None)
                wants[i] = event
            except StopIteration as stop:
                results[i] = stop.value
        if not wants:
            break
        answers: Iterator[str] = iter((yield tuple(call for want in wants.values() for call in _calls(want))))
        inbox = {
            i: tuple(next(answers) for _ in want) if isinstance(want, tuple) else next(answers)
            for i, want in wants.items()
        }
    return results


def _calls(want: Call | tuple[Call, ...]) -> tuple[Call, ...]:
    return want if isinstance(want, tuple) else (want,)
