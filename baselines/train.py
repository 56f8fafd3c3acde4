"""THE loop: sample problems, play, assign credit, update, log, evaluate, checkpoint.

It never asks which method is running. All that is random is named by (seed, step, ...), so there is no generator state to
save: a run that is killed and resumed goes through the same steps with the same numbers.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, overload

import torch

from baselines.args import TrainArgs
from baselines.chat import Chat, continues
from baselines.engines.router import EngineRouter
from baselines.engines.transformers import TransformersEngine
from baselines.evaluate import Evaluation, evaluate, traces_of
from baselines.learner import Learner, Settings, to_samples
from baselines.methods import Method, make_method
from baselines.policies import Policies, PolicyRouter, load_tokenizer, stop_ids
from baselines.progress import Progress
from baselines.rollout import Start, groups, rollout
from baselines.runlog import RunLog
from baselines.tiny.warm_start import Recipe, tiny_model
from baselines.types import Episode, Player, Sampling
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.protocol import Workflow
from llm_marl_envs.rewards import Rule, reward_rule
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Limits, Status
from llm_marl_envs.spec import EnvSpec, check_tools, make_task, make_workflow
from llm_marl_envs.stats.figures import team_figures
from llm_marl_envs.stats.intervals import accuracy_of
from llm_marl_envs.task import Problem, Task
from llm_marl_envs.tasks.arithmetic import Arithmetic

PLAYERS = "players.json"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: the run was checkpointed and can be resumed."""


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
        self.trained = tuple(name for name in self.route.policies if name not in self.players)
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
        return resolve_model(self.args.model, self.args.workflow, self.task, self.args.seed, self.progress)

    @cached_property
    def policies(self) -> Policies:
        assert self.chat  # a template that does not fit is refused before a model is loaded
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
        models = dict.fromkeys(self.policies.names, TransformersEngine(self.policies, self.chat))
        return EngineRouter({**models, **self.players})

    @cached_property
    def held_out(self) -> Sequence[Problem]:
        split = self.eval_split
        return self.task.problems(split)[: self.args.eval_problems]

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

    def evaluate(self) -> Evaluation:
        """Greedy play on the held-out problems."""
        sampling = self.decoding(0.0)
        return evaluate(
            self.task, self.workflow, self.held_out, self.route, self.engine, sampling=sampling, limits=self.limits
        )

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


def train(args: TrainArgs, progress: Progress | None = None) -> Path:
    """Run the loop and return the run folder. Raises Interrupted after ctrl-C, with a checkpoint of the last whole step."""
    progress = progress or Progress()
    record = {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(args).items()}
    stored = {k: v for k, v in record.items() if k not in ("out", "resume", "threads", "device")}
    team = Team(args, progress)  # bad names and models are found before a folder is made,
    stored |= {"set": list(args.set), "per": list(args.per), "settings": team.plan.record()}
    assert team.held_out is not None  # and names before a model is made
    assert team.policies
    log = RunLog.start(args.out, stored, resume=args.resume)
    learner = Learner(team.policies, team.settings, team.method.loss, team.chat.pad_id)
    done = _restore(log, team, learner)
    steps = args.steps if team.method.learns else 0
    problems = team.task.problems("train")
    with progress.run(f"{args.method} {args.workflow} on {args.task}", steps, done), interruptible() as stop_asked:
        if done == 0:
            _evaluate(team, log, 0, progress)
        for step in range(done, steps):
            began = time.perf_counter()
            batch = pick_problems(problems, args.problems, step, args.seed)
            starts = groups(team.practice, batch, args.samples, seed_of("train", args.seed, step), team.limits)
            episodes = team.method.collect(starts, team.play, team.task)
            played = time.perf_counter()
            usable = [e for e in episodes if e.outcome.status is not Status.FAILED]
            credit = team.method.credit(usable, learner.values(usable), seed_of("credit", args.seed, step))
            stats = learner.update(to_samples(usable, credit) + team.method.lessons(usable), step)
            stats |= team.learn(usable, step)
            figures = _describe(episodes, usable)
            log.metrics({"step": step + 1, "kind": "train", **figures, **stats})
            log.timing({"step": step + 1, "play_s": played - began, "learn_s": time.perf_counter() - played})
            progress.step(step + 1, figures | stats)
            last, stop = step + 1 == steps, stop_asked()
            if args.trace_every and ((step + 1) % args.trace_every == 0 or last):
                log.traces(
                    f"train-{step + 1:06d}", traces_of(episodes, team.practised, "train", trace_meta(args, step + 1))
                )
            if (step + 1) % args.eval_every == 0 or last:
                _evaluate(team, log, step + 1, progress)
            if (step + 1) % args.checkpoint_every == 0 or last or stop:
                log.checkpoint(step + 1, lambda folder: _save(folder, team, learner))
            if stop and not last:
                raise Interrupted(f"stopped after step {step + 1} of {steps}; go on with --resume --out {args.out}")
    return args.out


def pick_problems(problems: Sequence[Problem], count: int, step: int, seed: int) -> list[Problem]:
    """The problems of a step: the split in a new order each epoch, `count` at a time."""
    picked = []
    orders: dict[int, list[int]] = {}
    for i in range(step * count, (step + 1) * count):
        epoch, place = divmod(i, len(problems))
        if epoch not in orders:
            orders[epoch] = list(range(len(problems)))
            Random(seed_of("epoch", seed, epoch)).shuffle(orders[epoch])
        picked.append(problems[orders[epoch][place]])
    return picked


def pick_device(wanted: str) -> str:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "--device cuda, but torch finds no CUDA device. Use --device cpu or auto, or install a CUDA build."
        )
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def resolve_model(model: str, workflow: str, task: Task, seed: int, progress: Progress) -> str:
    """A path or hub name; `tiny` becomes the folder of the warm-started model, made now if it is not cached."""
    if model != "tiny":
        return model
    lessons = task if isinstance(task, Arithmetic) else Arithmetic()
    return str(tiny_model(workflow, lessons, Recipe(seed=seed), progress=progress.warm_start))


def _describe(episodes: Sequence[Episode], usable: Sequence[Episode]) -> dict[str, Any]:
    """How the team plays (forks and counterfactuals left out), and all that was played and sampled for the step."""
    usable = [e for e in usable if e.origin is None]
    rewards = [sum(e.rewards.values()) / len(e.rewards) for e in usable]
    sampled = sum(len(turn.completion.token_ids) for e in episodes for turn in e.own_turns)
    return {
        "reward": sum(rewards) / len(rewards) if rewards else 0.0,
        "accuracy": accuracy_of((e.problem.question.id, e.outcome.team.value) for e in usable).mean if usable else 0.0,
        **team_figures([e.outcome for e in episodes if e.origin is None]),
        "episodes": len(episodes),
        "sampled_tokens": sampled,
    }


def _evaluate(team: Team, log: RunLog, step: int, progress: Progress) -> None:
    evaluation = team.evaluate()
    log.metrics({"step": step, "kind": "eval", **evaluation.record()})
    log.traces(
        f"eval-{step:06d}", traces_of(evaluation.episodes, team.spec, team.eval_split, trace_meta(team.args, step))
    )
    progress.evaluated(step, evaluation)


def trace_meta(args: TrainArgs, step: int) -> dict[str, Any]:
    return {
        "entry": f"{args.method} {args.workflow} seed {args.seed}",
        "model": args.model,
        "step": step,
        "seed": args.seed,
    }


def _save(folder: Path, team: Team, learner: Learner) -> None:
    team.save(folder)
    learner.save(folder / "optimizer.pt")


def _restore(log: RunLog, team: Team, learner: Learner) -> int:
    """Go back to the last complete checkpoint; returns the steps already done."""
    steps = log.checkpoints()
    if not steps:
        log.rewind(-1)
        return 0
    folder = log.checkpoint_folder(steps[-1])
    team.restore(folder)
    learner.restore(folder / "optimizer.pt")
    log.rewind(steps[-1])
    return steps[-1]


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within it the first ctrl-C only requests a stop (the loop ends after the current step); the second stops at once."""
    asked = False

    def ask(signum: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt("at once; the last checkpoint is kept: go on with --resume")
        asked = True

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not the main thread: ctrl-C is handled elsewhere
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
