"""THE loop: sample problems, play, assign credit, update, log, evaluate, checkpoint.

It never asks which method is running. All that is random is named by (seed, step, ...), so there is no generator state to
save: a run that is killed and resumed goes through the same steps with the same numbers.
"""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from baselines.alarms import new_alarms
from baselines.args import TrainArgs
from baselines.batch import to_samples
from baselines.budgets import TokenBudget
from baselines.diagnostics import diagnose, speed, trained_tokens
from baselines.evaluate import traces_of
from baselines.held_out import peak
from baselines.learner import Learner
from baselines.progress import Progress
from baselines.rollout import groups, libraries_kept
from baselines.runlog import RunLog
from baselines.team import Team
from baselines.types import Episode
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Status
from llm_marl_envs.stats.figures import team_figures
from llm_marl_envs.stats.intervals import accuracy_of
from llm_marl_envs.task import Problem


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: the run was checkpointed and can be resumed."""


def train(args: TrainArgs, progress: Progress | None = None) -> Path:
    """Run the loop and return the run folder. Raises Interrupted after ctrl-C, with a checkpoint of the last whole step."""
    progress = progress or Progress()
    record = {k: _plain(v) for k, v in dataclasses.asdict(args).items()}
    stored = {k: v for k, v in record.items() if k not in ("out", "resume", "threads", "device")}
    team = Team(args, progress)  # bad names and models are found before a folder is made,
    stored["settings"] = team.plan.record()
    assert team.held_out is not None  # and names before a model is made
    if team.method.learns and not team.trained and not team.players:
        raise ConfigError(
            "nobody is left to train: every role is played by somebody of --team. To play them: llm-marl evaluate"
        )
    problems = team.problems[0] if team.method.learns else []
    steps = args.steps if team.method.learns else 0
    budget = TokenBudget.of(args.samples, steps, args.out.parent / args.match if args.match and steps else None)
    assert team.policies
    log = RunLog.start(args.out, stored, resume=args.resume)
    learner = Learner(team.policies, team.settings, team.method.loss, team.chat.pad_id, team.plan.terms)
    done = _restore(log, team, learner)
    name = f"{args.method} {args.workflow} on {args.task}"
    with progress.run(name, steps, done), interruptible() as stop_asked, libraries_kept():
        if done == 0:
            for warning in team.method.warnings(_evaluate(team, log, 0, progress)):
                progress.warn(warning)
        for step in range(done, steps):
            began = time.perf_counter()
            batch = pick_problems(problems, args.problems, step, args.seed)
            samples = budget.episodes(log.of("train"))
            starts = groups(team.practice, batch, samples, seed_of("train", args.seed, step), team.limits)
            episodes = team.method.collect(starts, team.play, team.task)
            played = time.perf_counter()
            usable = [e for e in episodes if e.outcome.status is not Status.FAILED]
            credit = team.method.credit(usable, learner.values(usable), seed_of("credit", args.seed, step))
            taught = to_samples(usable, credit) + team.method.lessons(usable)
            stats = learner.update(taught, step)
            stats |= team.learn(usable, step) | dict(team.method.figures(usable))
            figures = _describe(episodes, usable) | {"samples": samples, "trained_tokens": trained_tokens(taught)}
            figures |= diagnose(usable, credit)
            _log(team, log, {"step": step + 1, "kind": "train", **figures, **stats}, progress)
            log.timing({"step": step + 1, **speed(figures, played - began, time.perf_counter() - played)})
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


def _plain(setting: Any) -> Any:
    """A setting as JSON has it."""
    return str(setting) if isinstance(setting, Path) else list(setting) if isinstance(setting, tuple) else setting


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


def _log(team: Team, log: RunLog, line: dict[str, Any], progress: Progress) -> None:
    """A line of metrics, and the alarms that it gives cause for."""
    log.metrics(line)
    dropped = [name for name, tuning in team.plan.tuning.items() if tuning.dropout and team.args.lora_rank]
    for alarm in new_alarms(log.lines, team.route.by_role, log.alarms, dropped):
        log.alarm(alarm._asdict())
        progress.warn(f"step {alarm.step}: {alarm.text}")


def _evaluate(team: Team, log: RunLog, step: int, progress: Progress) -> Sequence[Episode]:
    """Play the held-out problems, and those of validation; the policies that are best on these are kept."""
    evaluation = team.evaluate(team.held_out)
    line = {"step": step, "kind": "eval", **evaluation.record()}
    line["scores"] = [evaluation.scores.get(problem.question.id) for problem in team.held_out]
    if team.method.learns and team.problems[1]:
        line["validation"] = team.evaluate(team.problems[1]).accuracy.mean
    _log(team, log, line, progress)
    best = peak(log.of("eval"))
    if best is not None and best["step"] == step:
        log.best(step, team.save)
    log.traces(
        f"eval-{step:06d}", traces_of(evaluation.episodes, team.spec, team.eval_split, trace_meta(team.args, step))
    )
    progress.evaluated(step, evaluation)
    return evaluation.episodes


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
