"""Partners that are engines: a model, the team of a run folder, an endpoint. They answer many asks at once and are never trained.

Modules that need torch are imported when a partner is made, so that listing partners is quick.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.types import Engine, Request, Sampling
from llm_marl_envs.errors import AgentFailed, ConfigError
from llm_marl_envs.protocol import Ask
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Message

GREEDY = Sampling(temperature=0.0, max_tokens=1024)
Asked = tuple[str, tuple[Message, ...], dict[str, Any]]


@dataclass
class EnginePartner:
    """An engine as a partner: greedy unless `sampling` says otherwise, and then the same text to the same chat. policy: which of the
    engine's policies plays an agent."""

    engine: Engine
    policy: Callable[[str], str] = lambda agent: "partner"
    sampling: Sampling = GREEDY

    def __call__(self, agent: str, messages: tuple[Message, ...], info: dict[str, Any]) -> str:
        text = self.many([(agent, messages, info)])[0]
        if isinstance(text, AgentFailed):
            raise text
        return text

    def many(self, asks: Sequence[Asked]) -> list[str | AgentFailed]:
        """One text for each (agent, messages, info), or why there is none."""
        requests = [self._request(*ask) for ask in asks]
        return [AgentFailed(done.failure) if done.failure else done.text for done in self.engine.generate(requests)]

    def _request(self, agent: str, messages: tuple[Message, ...], info: Mapping[str, Any]) -> Request:
        ask = Ask(agent, messages[-1]["content"], choices=info["choices"], infoset=info["infoset"], kind=info["kind"])
        return Request(
            self.policy(agent),
            messages,
            seed_of("partner", agent, messages),
            ask,
            sampling=self.sampling,
            new=len(messages),
        )


def openai(argument: str) -> EnginePartner:
    """`URL` or `URL#model`: an endpoint (see `OpenAIEngine`)."""
    try:
        from baselines.engines.openai import OpenAIEngine
    except ImportError as bad:
        from llm_marl_envs.errors import MissingExtra

        raise MissingExtra("an endpoint", "openai") from bad
    url, _, name = argument.partition("#")
    return EnginePartner(OpenAIEngine(url, name))


def model(argument: str) -> EnginePartner:
    """A hub name or a local folder of a model with a chat template, as it is."""
    return _team({"model": argument, "method": "prompted"}, None)


def run(argument: str) -> EnginePartner:
    """A run folder: its last checkpoint, or `folder#best` or `folder#step`. Each role is played by the policy that was trained for it; a
    role that the run does not have, by its first policy."""
    folder, _, step = argument.partition("#")
    path = Path(folder) / "args.json"
    if not path.is_file():
        raise ConfigError(f"{folder!r} is no run folder: it has no args.json")
    from baselines.args import TrainArgs

    known = {f.name for f in dataclasses.fields(TrainArgs)}
    stored = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(path.read_text()).items() if k in known}
    return _team(stored | {"out": Path(folder)}, step)


def _team(settings: dict[str, Any], step: str | None) -> EnginePartner:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see `baselines.cli`
    from baselines.args import TrainArgs
    from baselines.progress import Progress
    from baselines.runlog import RunLog
    from baselines.team import Team

    team = Team(TrainArgs(**settings), Progress(quiet=True))
    if step is not None and team.method.learns:
        team.restore(RunLog(team.args.out).chosen(step))
    by_role, first = team.route.by_role, team.route.policies[0]
    longest = max(sampling.max_tokens for sampling in team.plan.sampling.values())
    sampling = Sampling(temperature=0.0, max_tokens=longest if step is not None else 1024)
    return EnginePartner(team.engine, lambda agent: by_role.get(agent.rpartition("_")[0], first), sampling)
