"""OpenEnv: a team, or a role of it, behind a server, whose clients play one ask after another.

    app = team_app(make_role("gsm8k/eval_opt-v1"))  # uvicorn.run(app), or `uvicorn my_module:app`
    with TeamClient("http://127.0.0.1:8000").sync() as client:
        result = client.reset(seed=0)
        while not result.done:
            result = client.step(TeamAction(text=my_model(result.observation.messages)))

Every session has an environment of its own. What is played is a `RoleEnv`: `make_role(id)` asks the client for the whole team,
`make_role(id, role, partners)` for one role, and the server plays the others.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

from copy import copy
from typing import Any

from fastapi import FastAPI
from openenv.core import Action, EnvClient, Environment, Observation, State
from openenv.core.client_types import StepResult
from openenv.core.env_server import create_fastapi_app

from llm_marl_envs.envs.role import RoleEnv
from llm_marl_envs.envs.spaces import Observation as SeenChat
from llm_marl_envs.errors import ConfigError, InvalidAction
from llm_marl_envs.session import Message


class TeamAction(Action):
    """What the agent that is asked says. agent: its name, for a client that wants to be refused when somebody else is asked."""

    text: str
    agent: str = ""


class TeamObservation(Observation):
    """Who is asked (nobody at the end), its chat, and what `RoleEnv` says of the ask; at the end status, score, why and rewards."""

    agent: str = ""
    messages: list[Message] = []  # noqa: RUF012
    info: dict[str, Any] = {}  # noqa: RUF012


class TeamState(State):
    """trace: the record of the episode so far, for `Trace.from_json`."""

    trace: str = ""


class TeamServer(Environment[TeamAction, TeamObservation, TeamState]):
    """A `RoleEnv` as one session of a server. In OpenEnv's Task API, tasks are the problems of its split, without their golds."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, env: RoleEnv):
        super().__init__()
        self.env, self.episode_id, self.steps = env, "", 0

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        problem: str | int | None = None,
        split: str | None = None,
        index: int | None = None,
        **unknown: Any,
    ) -> TeamObservation:
        """Begin an episode. problem: an id or a place in the split, as index is in OpenEnv's Task API."""
        if unknown:
            raise ConfigError(f"reset takes seed, episode_id, problem, split, index; got {', '.join(sorted(unknown))}")
        self._check(split)
        wanted = index if problem is None else problem
        seen, info = self.env.reset(seed=seed, options=None if wanted is None else {"problem": wanted})
        self.episode_id, self.steps = episode_id or "", 0
        return _observed(seen, info)

    def step(self, action: TeamAction, timeout_s: float | None = None, **unknown: Any) -> TeamObservation:
        """Give the text of the agent that is asked. InvalidAction, and nothing is done, if the action names another one."""
        call = self.env.call
        if call is not None and action.agent not in ("", call.agent):
            raise InvalidAction(f"{action.agent} says something, and {call.agent} is asked")
        seen, reward, over, _, info = self.env.step(action.text)
        self.steps += 1
        return _observed(seen, info, reward, over)

    @property
    def state(self) -> TeamState:
        trace = self.env.trace().to_json() if self.env.session else ""
        return TeamState(episode_id=self.episode_id, step_count=self.steps, trace=trace)

    def list_splits(self) -> list[str]:
        return [self.env.split]

    def num_tasks(self, split: str) -> int:
        self._check(split)
        return len(self.env.task.problems(split))

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        self._check(split)
        return {"id": self.env.task.problems(split)[index].question.id, "index": index}

    def _check(self, split: str | None) -> None:
        if split not in (None, self.env.split):
            raise ConfigError(f"this server plays the split {self.env.split!r}; got {split!r}")


def team_app(env: RoleEnv, *, sessions: int = 64) -> FastAPI:
    """A server of an environment, a copy of which every session plays, up to `sessions` at once. Partners, tools and the task are shared,
    and called from several threads."""
    if env.session is not None or env.recorders:
        raise ConfigError(
            "give team_app an environment that was not reset and records nothing: sessions play copies of it, and a "
            "client finds the record of an episode in state().trace"
        )
    name = env.env_spec.env_id.replace("/", "-")
    return create_fastapi_app(
        lambda: TeamServer(copy(env)), TeamAction, TeamObservation, sessions, env_name=name, state_cls=TeamState
    )


class TeamClient(EnvClient[TeamAction, TeamObservation, TeamState]):
    """A client of such a server."""

    def _step_payload(self, action: TeamAction) -> dict[str, Any]:
        return action.model_dump()

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[TeamObservation]:
        ended = {"reward": payload["reward"], "done": payload["done"]}
        return StepResult(TeamObservation(**payload["observation"], **ended), **ended)

    def _parse_state(self, payload: dict[str, Any]) -> TeamState:
        return TeamState(**payload)


def _observed(seen: SeenChat, info: dict[str, Any], reward: float | None = None, over: bool = False) -> TeamObservation:
    """In what JSON can say: half of a character that some text holds is shown as \\ud800."""
    chat = [{key: text.encode(errors="backslashreplace").decode() for key, text in m.items()} for m in seen["messages"]]
    return TeamObservation(done=over, reward=reward, agent=info.get("agent", ""), messages=chat, info=info)
