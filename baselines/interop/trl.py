"""TRL's GRPOTrainer on any workflow: a `rollout_func` that plays whole episodes and returns one conversation of each.

    rollout = TeamRollout(make_task("arithmetic"), make_workflow("eval_opt"), tokenizer)
    trainer = GRPOTrainer(model, rollout.reward, args, Dataset.from_list(rollout.rows("train")), rollout_func=rollout, ...)

TRL takes one row for each prompt and compares the rewards of rows with the same prompt; a team's episode is several conversations, for
an ask with `fresh=True` begins a new one. Written one after the other into a row they would be trained on prompts that no model ever saw.
So a row is one conversation of its episode, drawn among those of the trained roles, with the reward of the agent that had it; over
the rows of a group all turns are trained. What somebody else wrote inside a conversation is masked (`env_mask`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import torch
from trl import GRPOTrainer  # type: ignore[attr-defined]

from baselines.batch import conversations
from baselines.chat import Chat
from baselines.engines.router import EngineRouter
from baselines.engines.spoken import Spoken
from baselines.engines.transformers import TransformersEngine
from baselines.policies import PolicyRouter
from baselines.rollout import groups, rollout
from baselines.types import Episode, Sampling, Turn
from llm_marl_envs.envs.episodes import REDRAWS
from llm_marl_envs.envs.role import Partner
from llm_marl_envs.errors import ConfigError, ToolFailed, UnknownName
from llm_marl_envs.protocol import Workflow
from llm_marl_envs.rewards import Rule, reward_rule
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Limits, Status
from llm_marl_envs.task import Problem, Task

ID = "problem"  # the column, and what stands before a problem's id in a prompt


class OneModel:
    """The trainer's model, behind the one name that the engine asks for."""

    def __init__(self, model: Any):
        self.of_all = model

    def model(self, name: str) -> Any:
        return self.of_all


class TeamRollout:
    """A `rollout_func` for GRPOTrainer.

    roles: those that are trained (None: all that no partner plays). partners: who plays others, by role; they are not trained. max_tokens:
    of a reply; TRL's max_completion_length bounds the whole conversation. reward: a rule or its name. Episodes that FAILED are
    played again with another seed, up to 10 times, then ToolFailed names the reason.
    """

    def __init__(
        self,
        task: Task,
        workflow: Workflow,
        tokenizer: Any,
        *,
        roles: Sequence[str] | None = None,
        partners: Mapping[str, Partner] | None = None,
        max_tokens: int = 40,
        reward: str | Rule = "team",
        limits: Limits = Limits(),
        seed: int = 0,
    ):
        self.task, self.workflow, self.chat = task, workflow, Chat(tokenizer)
        self.partners = {f"partner of {role}": partner for role, partner in (partners or {}).items()}
        own = PolicyRouter.shared(workflow.roster)
        self.route = own.given({role: f"partner of {role}" for role in partners or {}})
        mine = [role for role, policy in self.route.by_role.items() if policy == "shared"]
        self.roles = tuple(roles) if roles is not None else tuple(mine)
        for role in self.roles:
            if role not in mine:
                raise UnknownName("role that could be trained", role, mine)
        if not self.roles:
            raise ConfigError("nobody is left to train: every role has a partner")
        self.max_tokens, self.rule, self.limits, self.seed = max_tokens, reward_rule(reward), limits, seed
        self.problems: dict[str, Problem] = {}
        self.calls = 0

    def rows(self, split: str) -> list[dict[str, Any]]:
        """A row for each problem of a split. Its prompt is only the problem's name: what models see is made while they play."""
        problems = self.task.problems(split)
        self.problems |= {problem.question.id: problem for problem in problems}
        return [{"prompt": [{"role": "user", "content": problem.question.id}]} for problem in problems]

    def __call__(self, prompts: Sequence[Any], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        """One row for each prompt, in order."""
        settings: Any = trainer.args  # a GRPOConfig
        problems = [self._problem(prompt) for prompt in prompts]
        model = trainer.accelerator.unwrap_model(trainer.model)
        was = model.training
        model.eval()
        self.calls += 1
        try:
            episodes = self._play(model, problems, float(settings.temperature))
        finally:
            model.train(was)
        rows = [self.row(episode) for episode in episodes]
        longest = max(len(row["completion_ids"]) for row in rows)
        if longest > (most := settings.max_completion_length or longest):
            raise ConfigError(
                f"a conversation has {longest} tokens after its first prompt; raise max_completion_length from {most}"
            )
        return {key: [row[key] for row in rows] for key in rows[0]}

    @staticmethod
    def reward(completions: Any, episode_reward: list[float], **_: Any) -> list[float]:
        """The `reward_funcs` that goes with it."""
        return episode_reward

    def row(self, episode: Episode) -> dict[str, Any]:
        """One conversation of an episode in TRL's form: prompt_ids, completion_ids, and of each of these logprobs and env_mask (1 where
        the model wrote it), with the reward of its agent."""
        turns = self._drawn(episode)
        first, last = turns[0].completion, turns[-1].completion
        start = len(first.prompt_ids)
        ids = last.prompt_ids + last.token_ids
        logprobs, mask = [0.0] * (len(ids) - start), [0] * (len(ids) - start)
        for turn in turns:
            here = len(turn.completion.prompt_ids) - start
            for place, logprob in enumerate(turn.completion.logprobs, here):
                logprobs[place], mask[place] = logprob, 1
        return {
            "prompt_ids": list(first.prompt_ids),
            "completion_ids": list(ids[start:]),
            "logprobs": logprobs,
            "env_mask": mask,
            "episode_reward": episode.rewards[turns[0].agent],
        }

    def _drawn(self, episode: Episode) -> list[Turn]:
        mine = [turns for _, turns in conversations([episode]) if turns[0].role in self.roles]
        if not mine:
            raise ConfigError(f"{' and '.join(self.roles)} was not asked in an episode; train a role that always is")
        return Random(seed_of("conversation", episode.session.play.seed)).choice(mine)

    @torch.no_grad()
    def _play(self, model: Any, problems: Sequence[Problem], temperature: float) -> list[Episode]:
        spoken = Spoken(self.partners)
        engine = EngineRouter(
            {"shared": TransformersEngine(OneModel(model), self.chat), **dict.fromkeys(self.partners, spoken)}  # type: ignore[arg-type]
        )
        sampling = Sampling(temperature, self.max_tokens)
        found: dict[int, Episode] = {}
        episodes: list[Episode] = []
        for again in range(REDRAWS):
            left = [i for i in range(len(problems)) if i not in found]
            starts = groups(
                self.workflow, [problems[i] for i in left], 1, seed_of(self.seed, self.calls, again), self.limits
            )
            episodes = rollout(starts, self.route, engine, self.task, sampling=sampling, rule=self.rule)
            found |= {i: e for i, e in zip(left, episodes, strict=True) if e.outcome.status is not Status.FAILED}
            if len(found) == len(problems):
                return [found[i] for i in range(len(problems))]
        raise ToolFailed(f"{REDRAWS} episodes in a row could not be played. The last: {episodes[-1].outcome.team.why}")

    def _problem(self, prompt: Any) -> Problem:
        name = prompt[-1]["content"] if not isinstance(prompt, str) else prompt
        if name not in self.problems:
            raise UnknownName("problem (make the dataset with rows(split))", str(name)[:80], list(self.problems)[:3])
        return self.problems[name]
