"""Several arms over several seeds, in one table: the least that a meaningful comparison needs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from baselines.args import TrainArgs
from baselines.progress import Progress
from baselines.report import write_report
from baselines.runlog import RunLog, read_lines
from baselines.train import train
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.stats.intervals import Interval


def run_study(args: TrainArgs, arms: Sequence[str], seeds: Sequence[int], progress: Progress) -> Path:
    """Train every arm with every seed (those that are finished are kept); returns the report's path."""
    if not arms or not seeds:
        raise ConfigError("a study needs at least one arm and one seed, as in --arms shared shuffled --seeds 0 1 2")
    runs = [run_arm(args, arm, seed, progress) for seed in seeds for arm in arms]
    table = results_table(runs)
    RunLog(args.out).write("results.md", table)
    report = write_report(runs, args.out)
    for run in runs:
        first, *_, last = [line for line in read_lines(run / "metrics.jsonl") if line["kind"] == "eval"] * 2
        progress.console.print(f"{run.name:>24}: {_interval(first)} -> {_interval(last)}", markup=False, soft_wrap=True)
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
    """Markdown: one row per run (held-out accuracy before, at its best and after, with 95% intervals, and what training
    spent), then one row per arm over its seeds."""
    rows = [
        "| arm | seed | start | peak (step) | final | gain | calls/episode | training calls | training tokens |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    arms: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        args = json.loads((run / "args.json").read_text())
        lines = read_lines(run / "metrics.jsonl")
        evals = [line for line in lines if line["kind"] == "eval"]
        first, last = evals[0], evals[-1]
        peak = max(evals, key=lambda line: line["accuracy"])
        batch = args["problems"] * args["samples"]
        trained = [line for line in lines if line["kind"] == "train"]
        calls, tokens = (sum(line[k] for line in trained) * batch for k in ("calls", "tokens"))
        arm = f"{args['method']} {args['workflow']}"
        arms.setdefault(arm, []).append((100 * first["accuracy"], 100 * last["accuracy"]))
        rows.append(
            f"| {arm} | {args['seed']} | {_interval(first)} | {_interval(peak)} ({peak['step']}) | {_interval(last)} | "
            f"{100 * (last['accuracy'] - first['accuracy']):+.1f} | {first['calls']:.2f} -> {last['calls']:.2f} | "
            f"{calls / 1e3:.1f}k | {tokens / 1e6:.2f}M |"
        )
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
    return "\n".join(rows) + "\n"


def _interval(line: dict[str, float]) -> Interval:
    return Interval(line["accuracy"], line["accuracy_low"], line["accuracy_high"])
