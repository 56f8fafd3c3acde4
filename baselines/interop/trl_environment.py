"""TRL's GRPOTrainer for models that call tools: an `environment_factory` whose tools are the task's.

    team = ToolTeam("atlas/solo-v1")
    trainer = GRPOTrainer(model, team.reward, args, Dataset.from_list(team.rows("train")), environment_factory=team, ...)

A row is one conversation: the prompt is what the workflow asks the learner, in between the model calls tools, and its last message is its
reply. TRL offers every public method of an environment as a tool, so it gets a facade with these alone. The tools are beside the
workflow: they are in the row, and not in the episode's trace. For workflows with several conversations an episode: `baselines.interop.trl`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from llm_marl_envs.conversation import ConversationEnv, make_conversation
from llm_marl_envs.envs.episodes import REDRAWS
from llm_marl_envs.envs.role import Partners
from llm_marl_envs.errors import LLMMarlError, ToolFailed, UnknownName
from llm_marl_envs.protocol import UseTool
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.task import Tool
from llm_marl_envs.tools.run import run_tool

OVER = "The talk is over: nobody is waiting for a reply."


class ToolTeam:
    """Makes the environments, one for each row of a batch; TRL keeps and resets them.

    tools: names of the task's (None: all). A learner that may be asked again, in the same conversation, also gets the tool `reply`, which
    says something and returns what it is asked next; what it is asked after its last message is answered with that message. partners, knobs:
    those of `make_role`. ConfigError for a role with several conversations.
    """

    def __init__(
        self,
        env_id: str,
        role: str | None = None,
        partners: Partners | None = None,
        *,
        tools: Sequence[str] | None = None,
        seed: int = 0,
        **knobs: Any,
    ):
        self._make = lambda: make_conversation(env_id, role, partners, **knobs)
        env = self._make()
        offered = env.task.tools
        for name in tools or ():
            if name not in offered:
                raise UnknownName(f"tool of {type(env.task).__name__}", name, offered)
        methods = {name: _method(name, offered[name]) for name in (offered if tools is None else tools)}
        if env.continued:
            methods["reply"] = reply
        self.facade: type[_Row] = type("Row", (_Row,), methods)
        self.seed, self._count, self._task = seed, count(), env.task

    def rows(self, split: str = "train") -> list[dict[str, Any]]:
        """A row for each problem. What the model is asked comes from `reset`, which TRL writes behind the prompt."""
        return [
            {"prompt": [{"role": "user", "content": ""}], "problem": p.question.id} for p in self._task.problems(split)
        ]

    def __call__(self) -> _Row:
        return self.facade(self._make(), seed_of("row", self.seed, next(self._count)))

    @staticmethod
    def reward(completions: list[list[dict[str, Any]]], environments: list[_Row], **_: Any) -> list[float]:
        """The `reward_funcs` that goes with it. Raises ToolFailed if a tool that the model called did not run."""
        return [row._finish(said) for row, said in zip(environments, completions, strict=True)]


class _Row:
    """What TRL sees of an episode: `reset`, and the tools as methods."""

    def __init__(self, env: ConversationEnv, seed: int):
        self._env, self._seed, self._episodes = env, seed, count()
        self._over, self._reward = True, 0.0
        self._fault: LLMMarlError | None = None

    def reset(self, problem: str, **_: Any) -> str:
        """Begin an episode of a problem."""
        self._over, self._reward, self._fault = False, 0.0, None
        seen, _info = self._env.reset(seed=seed_of(self._seed, next(self._episodes)), options={"problem": problem})
        return "\n\n".join(message["content"] for message in seen["messages"])

    def _use(self, tool: str, args: dict[str, Any]) -> str:
        assert self._env.session is not None
        call = UseTool(
            "", tool, {name: value if isinstance(value, str) else str(value) for name, value in args.items()}
        )
        why = ""
        for _ in range(REDRAWS):
            try:
                return run_tool(call, self._env.session.play.question, self._env.task.tools).text
            except ToolFailed as bad:
                why = str(bad)
        self._fault = ToolFailed(f"{tool} could not run {REDRAWS} times in a row. The last: {why}")
        raise self._fault

    def _say(self, text: str) -> str:
        try:
            seen, self._reward, self._over, _, _ = self._env.step(text)
        except LLMMarlError as bad:
            self._fault = bad
            raise
        return OVER if self._over else seen["messages"][-1]["content"]

    def _finish(self, said: list[dict[str, Any]]) -> float:
        if self._fault is not None:  # TRL showed it to the model, as it does with all that a tool raises
            raise self._fault
        last = said[-1] if said and said[-1]["role"] == "assistant" else {}
        while not self._over:
            self._say(last.get("content") or "")
        return self._reward


def _method(name: str, tool: Tool) -> Callable[..., str]:
    """A task's tool as TRL wants it: of texts, with a Google docstring, and without what an agent cannot set."""
    names = [parameter for parameter in inspect.signature(tool).parameters if parameter != "question"]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    of_text = [inspect.Parameter(each, kind, annotation=str) for each in names]
    signature = inspect.Signature([inspect.Parameter("self", kind), *of_text], return_annotation=str)

    def method(self: _Row, **given: str) -> str:
        signature.bind(self, **given)
        return self._use(name, given)

    described = "".join(f"\n    {each}: The {each}." for each in names)
    method.__name__ = name
    method.__doc__ = f"{inspect.getdoc(tool) or f'The tool {name}.'}\n\nArgs:{described}"
    method.__signature__ = signature  # type: ignore[attr-defined]
    method.__annotations__ = {**dict.fromkeys(names, str), "return": str}
    return method


def reply(self, text: str) -> str:
    """Say something to the team.

    Args:
        text: The whole reply.

    Returns:
        What you are asked next.
    """
    return OVER if self._over else self._say(text)
