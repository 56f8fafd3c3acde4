"""Many sessions side by side, as one batch of texts in Gymnasium's vector protocol.

The sessions advance together: what partners are asked goes to them in one batch, tools and slow graders work at the same time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any, Protocol, TypeVar, Unpack, runtime_checkable

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from llm_marl_envs.envs.episodes import EnvOptions, asked
from llm_marl_envs.envs.role import Need, Partners, Seats, said
from llm_marl_envs.envs.spaces import UnicodeText, chat_space
from llm_marl_envs.errors import AgentFailed, ConfigError, InvalidAction, SessionOver
from llm_marl_envs.protocol import Workflow
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Message
from llm_marl_envs.task import Task

AT_ONCE = 32  # threads; tools wait for servers, and graders for processes, more than they compute
SLOW_S = 0.001  # from which a thread is worth its while
Batch = dict[str, tuple[tuple[Message, ...], ...]]
Asked = tuple[str, tuple[Message, ...], dict[str, Any]]
_T = TypeVar("_T")
_R = TypeVar("_R")


@runtime_checkable
class BatchPartner(Protocol):
    """A partner that answers many asks at once, as a model does: a batch of environments calls `many`."""

    def __call__(self, agent: str, messages: tuple[Message, ...], info: dict[str, Any]) -> str: ...

    def many(self, asks: Sequence[Asked]) -> Sequence[str | AgentFailed]:
        """One text for each (agent, messages, info), or an AgentFailed (not raised) for one that has none."""
        ...


class VecEnv(VectorEnv):
    """`num_envs` of what `Seats` describes. Observations: `{"messages": a tuple of chats}`; actions: a sequence of str.

    autoreset: when an episode that is over is followed by the next one: with the next step (whose action for it is ignored), in the
    same step (its end is in `final_obs` and `final_info`), or by `reset(options={"reset_mask": ...})`. An int as seed gives every
    environment a seed of its own that no other int gives.
    """

    def __init__(
        self,
        task: Task,
        workflow: Workflow,
        num_envs: int = 1,
        role: str | None = None,
        partners: Partners | None = None,
        *,
        autoreset: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **options: Unpack[EnvOptions],
    ):
        if num_envs < 1:
            raise ConfigError(f"num_envs starts at 1; got {num_envs}")
        first = Seats(task, workflow, role, partners, **options)
        options["spec"] = first.env_spec
        self.envs = [first, *(Seats(task, workflow, role, partners, **options) for _ in range(num_envs - 1))]
        self.num_envs, self.env_spec, self.render_mode = num_envs, first.env_spec, first.render_mode
        self.autoreset_mode = AutoresetMode(autoreset)
        self.metadata = {"render_modes": ["ansi", "human"], "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = chat_space(), UnicodeText()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._over = np.ones(num_envs, bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Batch, dict[str, Any]]:
        """Start an episode everywhere, or where `options["reset_mask"]` (num_envs bools) says. Other options go to all."""
        super().reset(seed=seed if isinstance(seed, int) else None)
        options = dict(options or {})
        where = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, bool)))
        if where.shape != (self.num_envs,) or where.dtype != bool or not where.any():
            raise ConfigError(f"reset_mask is {self.num_envs} bools, one of them True; got {where!r:.100}")
        seeds: Iterable[int | None]
        if seed is None or isinstance(seed, int):
            seeds = repeat(None) if seed is None else [seed_of("vector", seed, i) for i in range(self.num_envs)]
        elif len(seed) != self.num_envs:
            raise ConfigError(f"a list of seeds has one for each of {self.num_envs} environments; got {len(seed)}")
        else:
            seeds = seed
        begun = {i: env.start(s, options) for i, (env, s, here) in enumerate(zip(self.envs, seeds, where)) if here}  # noqa: B905
        self._drive(begun)
        self._over[where] = False
        return self._seen(), self._told(begun)

    def step(self, actions: Sequence[str]) -> tuple[Batch, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Give every learner's text: rewards (num_envs,) float64, terminations and truncations (num_envs,) bool. InvalidAction,
        and nothing is done, if one is no str."""
        self._check(actions)
        resumed = self._over.copy()
        self._drive(
            {i: env.start(None, None) if self._over[i] else env.act(actions[i]) for i, env in enumerate(self.envs)}
        )
        over = np.array([env.call is None for env in self.envs])
        rewards = np.array([0.0 if r else env.rewarded() for r, env in zip(resumed, self.envs, strict=True)])
        ends: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and over.any():
            done = over.nonzero()[0].tolist()
            ends = _columns({i: {"final_obs": self.envs[i].seen()} for i in done}, self.num_envs)
            ends |= {"final_info": self._told(done), "_final_info": over.copy()}
            self._drive({i: self.envs[i].start(None, None) for i in done})
            self._over[:] = False
        else:
            self._over = over.copy()
        return self._seen(), rewards, over, np.zeros(self.num_envs, bool), self._told(range(self.num_envs)) | ends

    def render(self) -> tuple[str | None, ...]:  # type: ignore[override]
        return tuple(env.render() for env in self.envs)

    def close_extras(self, **kwargs: Any) -> None:
        for env in self.envs:
            env.close()

    def _check(self, actions: Sequence[str]) -> None:
        if len(actions) != self.num_envs:
            raise InvalidAction(f"a step takes one str for each of {self.num_envs} environments; got {len(actions)}")
        if self.envs[0].session is None:
            raise SessionOver("call reset() before step()")
        for i, action in enumerate(actions):
            if not isinstance(action, str) and not self._over[i]:
                raise InvalidAction(f"action {i} is {type(action).__name__}; expected a str (any text, '' included)")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._over.any():
            over = self._over.nonzero()[0].tolist()
            raise SessionOver(f"episodes {over[:5]} are over: reset(options={{'reset_mask': ...}}) first")

    def _drive(self, playing: Mapping[int, Generator[Need, Any, bool]]) -> None:
        """Advance all until each waits for its learner or is over."""
        given: dict[int, Any] = dict.fromkeys(playing)
        while given:
            needs: dict[int, Need] = {}
            for i, answer in given.items():
                try:
                    needs[i] = playing[i].send(answer)
                except StopIteration:
                    continue
            given = self._answers(needs)

    def _answers(self, needs: Mapping[int, Need]) -> dict[int, Any]:
        """What all of them need: texts of partners that take batches at once, the rest one by one, at the same time if slow."""
        batches: dict[int, list[int]] = defaultdict(list)
        single: list[int] = []
        for i, need in needs.items():
            if isinstance(need, tuple) and isinstance(need[1], BatchPartner):
                batches[id(need[1])].append(i)
            else:
                single.append(i)
        found = dict(zip(single, _each(lambda i: self.envs[i].answer(needs[i]), single), strict=True))
        for mine in batches.values():
            call, partner = needs[mine[0]]  # type: ignore[misc]
            assert isinstance(partner, BatchPartner)
            asks = [self._asked(self.envs[i], needs[i][0]) for i in mine]  # type: ignore[index]
            texts = partner.many(asks)
            if len(texts) != len(asks):
                raise InvalidAction(f"the partner that plays {call.agent} gave {len(texts)} texts for {len(asks)} asks")
            found |= {i: said(text, ask[0]) for i, text, ask in zip(mine, texts, asks, strict=True)}
        return found

    def _asked(self, env: Seats, call: Any) -> Asked:
        assert env.session is not None
        return call.agent, env.session.messages(call), asked(call, env.session.turns)

    def _seen(self) -> Batch:
        return {"messages": tuple(env.seen()["messages"] for env in self.envs)}

    def _told(self, places: Iterable[int]) -> dict[str, Any]:
        return _columns({i: self.envs[i].told() for i in places}, self.num_envs)


def _each(function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """The function of every item: here while it is quick, by threads if the first turns out to be slow."""
    if not items:
        return []
    began = time.perf_counter()
    first = function(items[0])
    if len(items) < 3 or time.perf_counter() - began < SLOW_S:
        return [first, *map(function, items[1:])]
    with ThreadPoolExecutor(min(AT_ONCE, len(items) - 1)) as pool:
        return [first, *pool.map(function, items[1:])]


def _columns(infos: Mapping[int, Mapping[str, Any]], n: int) -> dict[str, Any]:
    """Infos in Gymnasium's vector form: an array (n,) for each key, and which of it is meant under `_key`. Mappings are columns again."""
    keys = dict.fromkeys(key for info in infos.values() for key in info)
    made: dict[str, Any] = {}
    for key in keys:
        values = {i: info[key] for i, info in infos.items() if key in info}
        kind = type(next(iter(values.values())))
        if kind is dict and key != "final_obs":
            made[key] = _columns(values, n)
        else:
            made[key] = np.zeros(n, kind if kind in (int, float, bool) else object)
            if made[key].dtype == object:
                made[key].fill(None)
            for i, value in values.items():
                made[key][i] = value
        made[f"_{key}"] = np.zeros(n, bool)
        made[f"_{key}"][list(values)] = True
    return made
