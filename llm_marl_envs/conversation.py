"""One conversation of an episode, for libraries whose rows only grow: what they append to a row, its model has seen before.

An ask with `fresh=True` begins a new conversation, so a learner that gets a second one has two in an episode, and such roles are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Unpack

from llm_marl_envs.envs.episodes import REDRAWS, EnvOptions
from llm_marl_envs.envs.make import parts
from llm_marl_envs.envs.role import Need, Partners, RoleEnv
from llm_marl_envs.envs.spaces import Observation
from llm_marl_envs.errors import AgentFailed, ConfigError, ToolFailed
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.partners import make_team
from llm_marl_envs.protocol import Ask, Workflow
from llm_marl_envs.session import Limits, Status
from llm_marl_envs.task import Question, Task, ToolResult
from llm_marl_envs.testing import WELL_FORMED, play_randomly, random_reply


class ConversationEnv(RoleEnv):
    """A `RoleEnv` whose learner is one seat with one conversation: its first ask opens it and every later one continues it.

    Raises ConfigError for a seat with fresh asks, as far as `later_asks` shows, and when such an ask comes. `continued`: whether there may
    be a second ask. A tool, a partner or a grader that FAILED is tried again where it stands, up to 10 times, then ToolFailed says why;
    so a row is never cut. An episode in which the learner is not asked is drawn again with the same problem, as often.
    """

    def __init__(
        self,
        task: Task,
        workflow: Workflow,
        role: str | None = None,
        partners: Partners | None = None,
        **options: Unpack[EnvOptions],
    ):
        super().__init__(task, workflow, role, partners, **options)
        if len(self.seats) != 1:
            raise ConfigError(
                f"a row is one agent's conversation; got {' and '.join(self.seats)}. Give one seat as role, as in {self.seats[0]!r}"
            )
        later = list(later_asks(workflow, self.seats[0], self.task.problems(self.split)[0].question, self.limits))
        for call in later:
            self._check(call)
        self.continued = bool(later)

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Give the learner's text. If it is asked again, the last message is new and those before are as they were."""
        found = super().step(action)
        if self.call is not None:
            self._check(self.call)
        return found

    def answer(self, need: Need) -> str | AgentFailed | ToolResult | ToolFailed | Outcome:
        why = ""
        for _ in range(REDRAWS):
            found = super().answer(need)
            if isinstance(found, Outcome) and found.status is Status.FAILED:
                why = found.team.why
            elif isinstance(found, AgentFailed | ToolFailed):
                why = str(found)
            else:
                return found
        raise ToolFailed(f"{REDRAWS} tries in a row failed. The last: {why}")

    def _skip(self) -> None:
        self.skipped += 1
        assert self.problem is not None
        if self.skipped >= REDRAWS:
            raise ConfigError(
                f"{self.seats[0]} was not asked in {REDRAWS} episodes of {self.problem.question.id} in a row; "
                f"train a role that always is"
            )
        self.begin(options={"problem": self.problem.question.id})

    def _check(self, call: Ask) -> None:
        if call.fresh:
            raise ConfigError(
                f"{self.workflow} asks {call.agent} again with fresh=True: that is a second conversation, and a row is one. Use a "
                f"workflow that continues conversations (for eval_opt: memory=True), or train a role that is asked once"
            )


def later_asks(workflow: Workflow, seat: str, question: Question, limits: Limits = Limits()) -> Iterator[Ask]:
    """What a seat is asked after its first ask, in episodes of random texts and in others in which all say one thing all the time (so
    that a verifier that keeps saying no is among them)."""
    for i, text in enumerate((None,) * len(WELL_FORMED) + WELL_FORMED):

        def reply(rng: Random, choices: Sequence[str], text: str | None = text) -> str:
            return random_reply(rng, choices) if text is None else rng.choice(choices) if choices else text

        events = play_randomly(workflow, i, question, limits, reply).events
        yield from [call for call, _, _ in events if isinstance(call, Ask) and call.agent == seat][1:]


def make_conversation(
    env_id: str,
    role: str | None = None,
    team: Partners | Sequence[str] | None = None,
    *,
    data_dir: str | Path | None = None,
    **knobs: Any,
) -> ConversationEnv:
    """`make_role` with one conversation a row. team: the partners, also as texts such as `evaluator=run:runs/first`, for libraries that are set
    up by files."""
    task, workflow, options = parts(env_id, data_dir, knobs)
    partners = team if team is None or callable(team) or isinstance(team, Mapping) else make_team(workflow.roster, team)
    return ConversationEnv(task, workflow, role, partners, **options)
