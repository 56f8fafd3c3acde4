"""Several arms over several seeds, in one table: the least that a meaningful comparison needs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from baselines.args import TrainArgs, sort_knobs
from baselines.held_out import Line, gain, peak
from baselines.methods import find_method
from baselines.progress import Progress
from baselines.report import in_points, write_report
from baselines.runlog import RunLog, read_lines
from baselines.train import train
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.stats.intervals import Interval

NEAR = 0.05  # how far budgets may be apart and still be called equal


def run_study(
    args: TrainArgs, arms: Sequence[str], seeds: Sequence[int], progress: Progress, equal: bool = True
) -> Path:
    """Train every arm with every seed (those that are finished are kept); returns the report's path. `equal`: with the budgets of
    the seed's first arm."""
    if not arms or not seeds:
        raise ConfigError("a study needs at least one arm and one seed, as in --arms shared shuffled --seeds 0 1 2")
    check_knobs(args, arms)
    runs = []
    for seed in seeds:
        first = run_arm(args, arms[0], seed, progress)
        runs += [first, *(run_arm(args, arm, seed, progress, first if equal else None) for arm in arms[1:])]
    table = results_table(runs)
    RunLog(args.out).write("results.md", table)
    report = write_report(runs, args.out)
    progress.console.print(table, markup=False, soft_wrap=True)
    progress.console.print(
        f"report: {report}\ncurves: {args.out / 'learning_curve.png'}\ntable:  {args.out / 'results.md'}"
    )
    return report


def run_arm(args: TrainArgs, arm: str, seed: int, progress: Progress, first: Path | None = None) -> Path:
    """Train one arm ("method" or "method:workflow") with one seed, or finish it, or keep it; at the cost of the run `first`."""
    method, workflow, kind = _named(arm, args)
    out = args.out / f"{arm.replace(':', '-')}-seed{seed}"
    resume = (out / "args.json").exists()
    changes: dict[str, Any] = {"method": method, "workflow": workflow, "seed": seed, "out": out}
    changes["set"] = tuple(knob for knob in args.set if _has(knob, args.task, workflow, method))
    if first is not None and kind.learns and Result.read(first).trained:
        changes["match"] = first.name
    if first is not None and any(f.name == "tokens" for f in dataclasses.fields(kind)):
        changes["set"] += (f"tokens={Result.read(first).tested!r}",)
    return train(dataclasses.replace(args, **changes, resume=resume), progress)


def _named(arm: str, args: TrainArgs) -> tuple[str, str, Any]:
    """An arm's method, workflow, and the method's class."""
    method, _, workflow = arm.partition(":")
    kind: Any = find_method(method)
    return method, workflow or kind.plays or args.workflow, kind


def check_knobs(args: TrainArgs, arms: Sequence[str]) -> None:
    """An arm takes the knobs that it has, as solo has no rounds; UnknownName for one that no arm has."""
    for knob in args.set:
        for arm in arms:
            method, workflow, _ = _named(arm, args)
            if _has(knob, args.task, workflow, method):
                break
        else:
            sort_knobs((knob,), args.task, args.workflow, args.method)


def _has(knob: str, task: str, workflow: str, method: str) -> bool:
    try:
        sort_knobs((knob,), task, workflow, method)
    except UnknownName:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run as the table has it."""

    args: dict[str, Any]
    evals: Sequence[Line]
    trained: Sequence[Line]

    @classmethod
    def read(cls, run: Path) -> Result:
        lines = read_lines(run / "metrics.jsonl")
        found = {kind: [line for line in lines if line["kind"] == kind] for kind in ("eval", "train")}
        return cls(json.loads((run / "args.json").read_text()), found["eval"], found["train"])

    @property
    def arm(self) -> str:
        return f"{self.args['method']} {self.args['workflow']}"

    @property
    def generated(self) -> float:
        """Tokens that it generated in training."""
        return sum(line["sampled_tokens"] for line in self.trained)

    @property
    def tested(self) -> float:
        """Tokens (prompts and replies) that a problem costs at the end."""
        return self.evals[-1].get("tokens", 0.0)


def results_table(runs: Sequence[Path]) -> str:
    """Markdown: one row per run (held-out accuracy before, at its peak and after, the difference with its paired interval, and the
    two budgets beside those of its seed's first run), one row per arm over its seeds, and what is not at equal cost."""
    results = [Result.read(run) for run in runs]
    rows = [
        "| arm | seed | start | peak (step) | final | final - start | calls/problem | problems trained on | generated in training "
        "| tokens/problem when tested |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    firsts: dict[int, Result] = {}
    notes, arms = [], dict[str, list[tuple[float, float]]]()
    for result in results:
        first = firsts.setdefault(result.args["seed"], result)
        start, final = result.evals[0], result.evals[-1]
        best = peak(result.evals) or max(result.evals, key=lambda line: line["accuracy"])
        arms.setdefault(result.arm, []).append((100 * start["accuracy"], 100 * final["accuracy"]))
        training = f"{result.generated / 1e6:.3f}M ({_share(result.generated, first.generated)})"
        rows.append(
            f"| {result.arm} | {result.args['seed']} | {_interval(start)} | {_interval(best)} ({best['step']}) | {_interval(final)} | "
            f"{_gain(result)} | {start['calls']:.2f} -> {final['calls']:.2f} | {len(result.trained) * result.args['problems']} | "
            f"{training if result.trained else 'not trained'} | {result.tested:.0f} ({_share(result.tested, first.tested)}) |"
        )
        notes += _unequal(result, first)
    rows += [
        "",
        "| arm | seeds | start, mean | final, mean | gain, mean (lowest to highest seed) |",
        "|---|---|---|---|---|",
    ]
    for arm, pairs in arms.items():
        start, final = (fmean(pair[i] for pair in pairs) for i in (0, 1))
        gains = [last - first for first, last in pairs]
        spread = f"{fmean(gains):+.1f} ({min(gains):+.1f} to {max(gains):+.1f})"
        rows.append(f"| {arm} | {len(pairs)} | {start:.1f}% | {final:.1f}% | {spread} |")
    chosen = (
        "on validation problems"
        if all(peak(r.evals) or not r.trained for r in results)
        else "on validation problems where there are any"
    )
    rows += [
        "",
        f"Brackets are 95% intervals; final - start is in points, paired over the same problems. The peak is chosen {chosen}. "
        "Percentages beside tokens are of the first arm's with the same seed: trained arms are to be compared at equal generated "
        "tokens, untrained ones at equal tokens per problem when tested.",
        *notes,
    ]
    return "\n".join(rows) + "\n"


def _unequal(result: Result, first: Result) -> list[str]:
    """What is not at equal cost: an arm that is trained in training, one that is not where it is tested."""
    if result.trained and first.trained:
        what, share = "generated tokens in training", result.generated / max(1, first.generated)
    elif not result.trained:
        what, share = "tokens per problem when tested", result.tested / max(1e-9, first.tested)
    else:
        return []
    if abs(share - 1) <= NEAR:
        return []
    votes = result.evals[-1].get("votes")
    why = " (as near as whole votes come)" if votes and abs(share - 1) <= share / votes / 2 + 1e-9 else ""
    return [
        f"\n{result.arm}, seed {result.args['seed']}, is not at equal cost: {share:.0%} of the first arm's {what}{why}."
    ]


def _share(mine: float, first: float) -> str:
    return f"{mine / first:.0%}" if first else "-"


def _gain(result: Result) -> str:
    return in_points(gain(result.evals[0], result.evals[-1]) if result.trained else None)


def _interval(line: Line) -> Interval:
    return Interval(line["accuracy"], line["accuracy_low"], line["accuracy_high"])
