"""Several arms over several seeds, in one table: what a comparison needs before it means anything."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from baselines.args import TrainArgs
from baselines.progress import Progress
from baselines.report import write_report
from baselines.runlog import RunLog, read_lines
from baselines.train import train
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.stats import Interval


def run_study(args: TrainArgs, arms: Sequence[str], seeds: Sequence[int], progress: Progress) -> Path:
    """Train every arm with every seed (those that are finished are kept); returns the report's path."""
    if not arms or not seeds:
        raise ConfigError("a study needs at least one arm and one seed, as in --arms shared shuffled --seeds 0 1 2")
    runs = [run_arm(args, arm, seed, progress) for seed in seeds for arm in arms]
    table = results_table(runs)
    RunLog(args.out).write("results.md", table)
    report = write_report(runs, args.out)
    progress.console.print(table, markup=False, highlight=False)
    progress.console.print(
        f"report: {report}\ncurves: {args.out / 'learning_curve.png'}\ntable:  {args.out / 'results.md'}"
    )
    return report


def run_arm(args: TrainArgs, arm: str, seed: int, progress: Progress) -> Path:
    """Train one arm ("method" or "method:workflow") with one seed, or finish it, or keep it."""
    method, _, workflow = arm.partition(":")
    out = args.out / f"{arm.replace(':', '-')}-seed{seed}"
    resume = (out / "args.json").exists()
    changes = {"method": method, "workflow": workflow or args.workflow, "seed": seed, "out": out, "resume": resume}
    return train(dataclasses.replace(args, **changes), progress)


def results_table(runs: Sequence[Path]) -> str:
    """A Markdown table: one row per run, held-out accuracy before, at its best and after, with 95% intervals, and budgets."""
    rows = [
        "| arm | seed | start | peak (step) | final | gain | calls/episode | training calls | training tokens |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        args = json.loads((run / "args.json").read_text())
        lines = read_lines(run / "metrics.jsonl")
        evals = [line for line in lines if line["kind"] == "eval"]
        first, last = evals[0], evals[-1]
        peak = max(evals, key=lambda line: line["accuracy"])
        batch = args["problems"] * args["samples"]
        trained = [line for line in lines if line["kind"] == "train"]
        calls, tokens = (sum(line[k] for line in trained) * batch for k in ("calls", "tokens"))
        rows.append(
            f"| {args['method']} {args['workflow']} | {args['seed']} | {_interval(first)} | {_interval(peak)} "
            f"({peak['step']}) | {_interval(last)} | {100 * (last['accuracy'] - first['accuracy']):+.1f} | "
            f"{first['calls']:.2f} -> {last['calls']:.2f} | {calls / 1e3:.1f}k | {tokens / 1e6:.2f}M |"
        )
    return "\n".join(rows) + "\n"


def _interval(line: dict[str, float]) -> Interval:
    return Interval(line["accuracy"], line["accuracy_low"], line["accuracy_high"])
