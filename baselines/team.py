"""All that plays in a run: task, workflows, method, and the policies and players with their engines, made from the settings.

What people or authors of methods get wrong in the settings is said here, before a model is loaded.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

import torch

from baselines.args import TrainArgs
from baselines.chat import Chat, continues
from baselines.devices import pick_device, pick_dtype
from baselines.engines.router import EngineRouter
from baselines.engines.spoken import Spoken
from baselines.engines.transformers import MAX_ROWS, TransformersEngine
from baselines.evaluate import Evaluation, evaluate
from baselines.learner import Settings
from baselines.memory import CACHED, Fit, Shape, fitted, need
from baselines.methods import Method, make_method
from baselines.policies import Policies, PolicyRouter, load_config, load_tokenizer, stop_ids
from baselines.progress import Progress
from baselines.rollout import Start, rollout
from baselines.tiny.sizes import SIZES
from baselines.tiny.warm_start import tiny_model
from baselines.types import Episode, Player, Sampling
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.partners import make_team
from llm_marl_envs.protocol import Workflow
from llm_marl_envs.rewards import Rule, reward_rule
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Limits
from llm_marl_envs.spec import EnvSpec, check_tools, make_task, make_workflow
from llm_marl_envs.task import Problem, Task

PLAYERS = "players.json"
PARTNER = "partner of {}"  # the policy name of who plays a role of `--team`


@dataclass
class Team:
    """Everything that plays: task, workflow, method, and the policies with their engine, made from a run's settings."""

    args: TrainArgs
    progress: Progress

    def __post_init__(self):
        task, workflow, method = self.args.knobs()
        self.task: Task = make_task(self.args.task, **task)
        self.workflow: Workflow = make_workflow(self.args.workflow, **workflow)
        check_tools(self.task, self.workflow)
        self.method: Method = make_method(self.args.method, **method)
        self.practice: Workflow = self.method.training(self.workflow)
        check_tools(self.task, self.practice)
        roster = self.practice.roster
        self.route: PolicyRouter = self.method.route(roster)
        self.players: Mapping[str, Player] = self.method.players(roster, self.args.seed)
        self.partners = make_team(roster, self.args.team)
        self.route = self.route.given({role: PARTNER.format(role) for role in self.partners})
        self.spoken = Spoken({PARTNER.format(role): partner for role, partner in self.partners.items()})
        untrained = {*self.players, *self.spoken.partners}
        self.trained = tuple(name for name in self.route.policies if name not in untrained)
        self.plan = self.args.plan(self.method.presets(roster), self.route.by_role, self.trained)
        self.rule = self._rule()
        self.settings = self._settings()
        if lost := set(self.workflow.roster.roles) - set(self.route.by_role):
            raise ConfigError(
                f"{self.args.method} routes no policy to {', '.join(sorted(lost))}, roles of {self.args.workflow}"
            )
        for name in self.method.critics:
            if name not in self.trained:
                raise UnknownName(f"policy of {self.args.method} that could be a critic", name, self.trained)
        self.spec, self.practised = EnvSpec.of(self.task, self.workflow), EnvSpec.of(self.task, self.practice)
        self.limits = Limits(calls=self.args.max_calls)
        self.device = pick_device(self.args.device)
        torch.set_num_threads(self.args.threads)

    def _rule(self) -> Rule:
        if self.method.rule is not None and self.args.reward != TrainArgs.reward:
            raise ConfigError(f"{self.args.method} has a reward rule of its own; leave out --reward {self.args.reward}")
        return self.method.rule or reward_rule(self.args.reward)

    @cached_property
    def path(self) -> str:
        knobs = self.args.knobs()[1]
        return resolve_model(self.args.model, self.args.workflow, self.task, self.args.seed, self.progress, knobs)

    @cached_property
    def dtype(self) -> torch.dtype:
        return pick_dtype(self.args.dtype, self.device, load_config(self.path))

    @cached_property
    def fit(self) -> Fit:
        """The plan for the device's memory; on a card it is printed, and refused if it cannot fit."""
        args = self.args
        if self.device == "cpu":
            return Fit(args.checkpointing == "on", CACHED, "")
        by_policy = Counter(self.route.by_role[role] for role in self.route.by_role)
        shape = Shape.of(load_config(self.path), self.dtype, args.lora_rank)
        plain, saving = (
            need(
                shape, self.dtype, policies=len(self.trained), trained=len(self.trained) if self.method.learns else 0,
                micro_tokens=args.micro_tokens, rows=MAX_ROWS, reference=self.reference,
                roles=max((by_policy[name] for name in self.trained), default=1), checkpointing=checkpointing,
            )
            for checkpointing in (False, True)
        )  # fmt: skip
        found = fitted(torch.cuda.mem_get_info()[0], args.checkpointing, plain, saving)
        self.progress.say(f"memory: {found.said}")
        return found

    @property
    def reference(self) -> bool:
        """Whether some role is kept near the model that it began as."""
        return self.method.learns and any(terms.kl for terms in self.plan.terms.values())

    @cached_property
    def policies(self) -> Policies:
        assert self.chat  # a template that does not fit is refused before a model is loaded,
        assert self.fit  # and a plan that does not fit the card
        tuning = self.plan.tuning
        with torch.random.fork_rng():
            torch.manual_seed(seed_of("adapters", self.args.seed) % 2**63)
            return Policies(
                self.path,
                self.trained,
                lora_rank=self.args.lora_rank,
                alpha={name: t.alpha for name, t in tuning.items()},
                dropout={name: t.dropout for name, t in tuning.items()},
                critics=self.method.critics,
                device=self.device,
                dtype=self.dtype,
                checkpointing=self.fit.checkpointing,
                reference=self.reference,
                train=self.method.learns,
            )

    @cached_property
    def chat(self) -> Chat:
        chat = Chat(
            load_tokenizer(self.path), stop_ids(self.path), thinking=self.args.thinking, system=self.args.system
        )
        question = self.task.problems(self.task.splits[0])[0].question
        if continues(self.workflow, question) or continues(self.practice, question):
            chat.check_continuation()
        return chat

    @cached_property
    def engine(self) -> EngineRouter:
        others = {**self.players, **dict.fromkeys(self.spoken.partners, self.spoken)}
        if not self.trained:  # nobody needs a model of ours
            return EngineRouter(others)
        engine = TransformersEngine(self.policies, self.chat, self.fit.cached)
        return EngineRouter({**dict.fromkeys(self.policies.names, engine), **others})

    @cached_property
    def held_out(self) -> Sequence[Problem]:
        """The problems whose accuracy is reported."""
        return self.task.problems(self.eval_split)[: self.args.eval_problems]

    @cached_property
    def problems(self) -> tuple[Sequence[Problem], Sequence[Problem]]:
        """The problems to train on, and those that choose the best checkpoint: never any that are reported."""
        return with_validation(self.task, self.held_out, self.args.validated, self.eval_split)

    @property
    def eval_split(self) -> str:
        split = self.args.eval_split or "test"
        if split not in self.task.splits:
            raise UnknownName(f"split of {self.args.task}", split, self.task.splits)
        return split

    @overload
    def play(self, starts: Iterable[Start]) -> list[Episode]: ...
    @overload
    def play(self, starts: Iterable[Start], *, waves: int) -> list[Start]: ...
    def play(self, starts: Iterable[Start], *, waves: int | None = None) -> list[Episode] | list[Start]:
        """Rollouts as in training (a `PlayFn`)."""
        sampling, rule = self.plan.sampling, self.rule
        if waves is None:
            return rollout(starts, self.route, self.engine, self.task, sampling=sampling, rule=rule)
        return rollout(starts, self.route, self.engine, self.task, sampling=sampling, waves=waves)

    def evaluate(self, problems: Sequence[Problem]) -> Evaluation:
        """Play problems that are not trained on as the method wants: greedily, once each, unless it has another way."""

        def play(*, samples: int = 1, temperature: float = 0.0) -> Evaluation:
            return evaluate(
                self.task, self.workflow, problems, self.route, self.engine,
                sampling=self.decoding(temperature), samples=samples, limits=self.limits,
            )  # fmt: skip

        return self.method.evaluate(play)

    def _settings(self) -> dict[str, Settings]:
        """The optimizer's, of each policy that is trained."""
        args = self.args
        run = Settings(
            lr=args.learning_rate,
            steps=args.steps,
            schedule=args.schedule,
            warmup=args.warmup,
            clip=args.clip_grad,
            micro_tokens=args.micro_tokens,
            updates=args.updates,
            minibatches=args.minibatches,
            normaliser=self.method.normaliser,
        )
        return {
            name: dataclasses.replace(run, lr=own.lr, betas=own.betas, weight_decay=own.weight_decay)
            for name, own in self.plan.tuning.items()
        }

    def decoding(self, temperature: float) -> dict[str, Sampling]:
        """How each role decodes, at one temperature for all."""
        return {role: s._replace(temperature=temperature) for role, s in self.plan.sampling.items()}

    def learn(self, episodes: Sequence[Episode], step: int) -> dict[str, float]:
        """Have the players learn; returns their figures."""
        figures = {name: player.learn(episodes, step) for name, player in self.players.items()}
        return {f"{key}/{name}": value for name, found in figures.items() for key, value in found.items()}

    def save(self, folder: Path) -> None:
        """All that plays, as `restore` reads it. Raises ValueError if a player's state would not come back from JSON as it is."""
        self.policies.save(folder)
        self.chat.tokenizer.save_pretrained(folder)
        states = {name: player.state() for name, player in self.players.items()}
        for name, state in states.items():
            if json.loads(json.dumps(state)) != state:
                raise ValueError(
                    f"the state of player {name!r} is not plain JSON (texts as keys, lists, finite numbers)"
                )
        if states:
            (folder / PLAYERS).write_text(json.dumps(states))

    def restore(self, folder: Path) -> None:
        self.policies.restore(folder)
        states = json.loads((folder / PLAYERS).read_text()) if self.players else {}
        for name, player in self.players.items():
            player.load(states[name])


def with_validation(
    task: Task, held_out: Sequence[Problem], count: int, eval_split: str
) -> tuple[Sequence[Problem], Sequence[Problem]]:
    """The training problems and `count` validation problems: the first of the split `validation`, where a task has one that is not
    evaluated, else the last of the training problems (at most a tenth), which are then not trained on. No held-out problem is
    among them. Without problems to spare there are none."""
    train = task.problems("train")
    reported = {problem.question.id for problem in held_out}
    if count and "validation" in task.splits and eval_split != "validation":
        return train, task.problems("validation")[:count]
    spare = [problem for problem in train if problem.question.id not in reported] if count else []
    chosen = spare[len(spare) - min(count, len(train) // 10) :]
    if not chosen:
        return train, ()
    taken = {problem.question.id for problem in chosen}
    return [problem for problem in train if problem.question.id not in taken], chosen


def resolve_model(
    model: str,
    workflow: str,
    task: Task,
    seed: int,
    progress: Progress,
    knobs: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """A path or hub name; `tiny` (or another of `SIZES`) becomes the folder of the model that was warm-started for this task and
    workflow with its knobs, made now if it is not cached."""
    if model not in SIZES:
        return model
    made = progress.warm_start
    return str(tiny_model(workflow, task, progress=made, knobs=knobs, size=model, seed=seed))
