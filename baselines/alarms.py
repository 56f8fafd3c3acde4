"""What a person should be told about a run that goes on, in plain words. Pure functions over its metrics lines.

An alarm is silent where its figures are absent. It is about means or medians of several steps, not about one that stands out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

from baselines.held_out import Line, cliff, peak

WINDOW = 10  # steps
DOMINANT = 0.8  # of a shared policy's squared gradient norm
CLOSER = 0.5  # of the distance between two roles' lengths that is left, as a ratio of lengths
LONGER = 2.0  # or shorter: times as long
UNREADABLE = 0.2  # more malformed replies than at first
GROWTH = 4.0  # times the gradient at first
SILENT = 0.9  # of groups
FALL = 0.05  # of accuracy
ROUNDING = 1e-4  # between the log-probs of engine and learner where both compute in float32
STALE = 5.0  # times the gap of the first step, when both had the weights that they began with
DECLINED = 0.2  # more of the answers than there is reason for
FOREIGN = 0.1  # nats a token: more than rounding to bfloat16 makes


class Alarm(NamedTuple):
    """`kind` and `about` name it: each is said once in a run."""

    step: int
    kind: str
    about: str
    text: str


def new_alarms(
    lines: Sequence[Line],
    by_role: Mapping[str, str],
    known: Sequence[Mapping[str, Any]] = (),
    dropped: Collection[str] = (),
) -> list[Alarm]:
    """What the last line gives cause for that is not among the alarms `known`. by_role: which policy speaks for each role. dropped:
    policies that are trained with dropout, which changes the learner's log-probs: their gap says nothing."""
    said = {(alarm["kind"], alarm["about"]) for alarm in known}
    kind = lines[-1]["kind"]
    some = [line for line in lines if line["kind"] == kind]
    found = falls(some) if kind == "eval" else [a for alarm in OF_STEPS for a in alarm(some, by_role)]
    found = [alarm for alarm in found if not (alarm.kind == "stale" and alarm.about in dropped)]
    return [alarm for alarm in found if not {(alarm.kind, alarm.about), (alarm.kind, "")} & said]  # "": of all


def captured(trains: Sequence[Line], by_role: Mapping[str, str]) -> Iterator[Alarm]:
    """A role captures a policy that it shares: it has most of the gradient, and another role begins to reply as it does, in
    length, or in ways that cannot be read (shared-policy capture, arXiv 2605.24202). A large share alone is no alarm: it is what
    a role with long replies has in a run that goes well."""
    first, last = trains[:1], trains[-WINDOW:]
    for policy, roles in _sharing(by_role):
        shares = _shares(trains, policy, roles)
        if len(trains) <= WINDOW or not shares:
            continue
        strong = max(shares, key=shares.__getitem__)
        for role in roles:
            if role == strong or shares[strong] < DOMINANT:
                continue
            how = _alike(first, last, role, strong) or _unreadable(first, last, role)
            if how:
                yield Alarm(
                    trains[-1]["step"], "capture", role,
                    f"{strong} is capturing the policy {policy!r}: it has {shares[strong]:.0%} of the squared gradient norm, and "
                    f"{how}. Try a lower learning rate, --set normalise=sequences, or a policy of its own for each role (method isolated).",
                )  # fmt: skip


def grows(trains: Sequence[Line], by_role: Mapping[str, str]) -> Iterator[Alarm]:
    """A role's gradient is several times what it was at first. Of roles that share a policy, the policy's norm is split by their
    shares of the squares."""
    for role, policy in by_role.items():
        roles = [other for other, its in by_role.items() if its == policy]
        norms = [norm for line in trains if (norm := _norm(line, policy, role, roles))]
        if len(norms) < 2 * WINDOW:
            continue
        before, now = median(norms[:WINDOW]), median(norms[-WINDOW:])
        if now >= GROWTH * before:
            yield Alarm(
                trains[-1]["step"], "gradient", role,
                f"the gradient of {role} has grown {now / before:.1f}-fold since the first steps (norm {before:.2g} then, {now:.2g} now). "
                "Steps are clipped, so a larger gradient means more noise, not faster learning: try a lower learning rate for "
                f"{policy}, or a KL term.",
            )  # fmt: skip


def silent(trains: Sequence[Line], by_role: Mapping[str, str]) -> Iterator[Alarm]:
    """Hardly any group has replies of different worth, so there is nothing to learn from."""
    keys = {"": "zero_variance"} | {role: f"zero_variance/{role}" for role in by_role}
    for role, key in keys.items():
        last = [line[key] for line in trains[-WINDOW:] if key in line]
        if len(last) == WINDOW and (share := fmean(last)) >= SILENT:
            right = fmean(line.get("accuracy") or 0.0 for line in trains[-WINDOW:])
            why = (
                "the problems are solved: there is little left to learn"
                if right >= SILENT
                else "try problems that it solves sometimes, more --samples, or a higher --temperature"
            )
            yield Alarm(
                trains[-1]["step"], "no signal", role,
                f"groups carry no signal{f' for {role}' if role else ''}: in {share:.0%} of them all replies are worth the same, in the last "
                f"{WINDOW} steps; {right:.0%} of episodes are right, so {why}.",
            )  # fmt: skip
            if not role:
                return  # it holds for all


def stale(trains: Sequence[Line], by_role: Mapping[str, str]) -> Iterator[Alarm]:
    """The engine's log-probs are not the learner's: it samples from other weights, those of a step before or of the base model.

    At the first step both have the weights that they began with, so that the gap is rounding: what is later several times that,
    in most of five steps, is not. A gap that rounding never makes is said at once.
    """
    for policy in dict.fromkeys(by_role.values()):
        key = f"logprob_gap/{policy}"
        gaps = [line[key] for line in trains if line.get(key) is not None]
        if not gaps:
            continue
        usual = max(ROUNDING, STALE * gaps[0])
        foreign = gaps[-1] > FOREIGN
        if foreign or sum(gap > usual for gap in gaps[1:][-5:]) >= 3:
            most = FOREIGN if foreign else usual
            yield Alarm(
                trains[-1]["step"], "stale", policy,
                f"the rollout samples {policy!r} from another policy than the one that is trained: their log-probs differ by {gaps[-1]:.2g} a "
                f"token, where rounding makes at most {most:.2g}. Does the engine get the new weights, or the right adapter, after each step?",
            )  # fmt: skip


def declines(trains: Sequence[Line], by_role: Mapping[str, str]) -> Iterator[Alarm]:
    """A generator that may abstain does so far more often than its evidence is insufficient (the figures of method dac): it is on its
    way to declining everything, from where no gradient leads back."""
    last = [line for line in trains[-WINDOW // 2 :] if "declined" in line and "stackelberg_alpha" in line]
    if len(last) < WINDOW // 2:
        return
    declined, reason = (fmean(line[key] for line in last) for key in ("declined", "stackelberg_alpha"))
    if declined >= reason + DECLINED:
        yield Alarm(
            trains[-1]["step"], "abstention", "generator",
            f"the generator declines {declined:.0%} of its prompts, and in only {reason:.0%} the evidence is insufficient: it is collapsing "
            "into abstention. Start from a generator that answers better or a searcher that finds more, or try a lower --temperature.",
        )  # fmt: skip


def falls(evals: Sequence[Line]) -> Iterator[Alarm]:
    """The terminal cliff: accuracy is more than 5 points below its peak, and the paired interval excludes 0."""
    best, fall = peak(evals), cliff(evals)
    if best is not None and fall is not None and fall.mean > FALL and fall.low > 0:
        yield Alarm(
            evals[-1]["step"], "cliff", "team",
            f"accuracy fell off: it is {100 * fall.mean:.1f} points [{100 * fall.low:.1f}, {100 * fall.high:.1f}] below that of step "
            f"{best['step']}, the best on validation problems, whose policies are in checkpoints/best.",
        )  # fmt: skip


OF_STEPS: Sequence[Callable[[Sequence[Line], Mapping[str, str]], Iterator[Alarm]]] = (
    captured,
    grows,
    silent,
    stale,
    declines,
)


def _sharing(by_role: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    for policy in dict.fromkeys(by_role.values()):
        roles = [role for role, its in by_role.items() if its == policy]
        if len(roles) > 1:
            yield policy, roles


def _shares(trains: Sequence[Line], policy: str, roles: Sequence[str]) -> dict[str, float]:
    """Each role's share of the policy's squared gradient, summed over the last steps that had one: if the first step ruins a
    policy, and no later one has a gradient, it is the first that counts."""
    sums = dict.fromkeys(roles, 0.0)
    moved = [line for line in trains if any(line.get(f"grad_share/{role}") for role in roles)]
    for line in moved[-2 * WINDOW :]:
        of_policy = sum(line.get(f"grad_share/{role}", 0.0) for role in roles)
        square = (line.get(f"grad_norm/{policy}") or 0.0) ** 2
        for role in roles:
            sums[role] += square * line.get(f"grad_share/{role}", 0.0) / of_policy
    total = sum(sums.values())
    return {role: square / total for role, square in sums.items()} if total else {}


def _norm(line: Line, policy: str, role: str, roles: Sequence[str]) -> float | None:
    norm, shares = line.get(f"grad_norm/{policy}"), [line.get(f"grad_share/{other}", 0.0) for other in roles]
    if norm is None or not sum(shares):
        return None
    return norm * (line.get(f"grad_share/{role}", 0.0) / sum(shares)) ** 0.5


def _mean(lines: Sequence[Line], key: str) -> float | None:
    values = [line[key] for line in lines if line.get(key) is not None]
    return fmean(values) if values else None


def _alike(first: Sequence[Line], last: Sequence[Line], role: str, strong: str) -> str:
    """How a role's replies came to be as long as those of another."""
    then, now = (_mean(lines, f"reply_tokens/{role}") for lines in (first, last))
    other = _mean(last, f"reply_tokens/{strong}")
    if not then or not now or not other or not (now >= LONGER * then or now <= then / LONGER):
        return ""
    if abs(now - other) > CLOSER * abs(then - other):
        return ""
    return f"the replies of {role} went from {then:.0f} to {now:.0f} tokens, towards the {other:.0f} of {strong}"


def _unreadable(first: Sequence[Line], last: Sequence[Line], role: str) -> str:
    then, now = (_mean(lines, f"malformed/{role}") for lines in (first, last))
    if then is None or now is None or now < then + UNREADABLE:
        return ""
    return f"{now:.0%} of the replies of {role} cannot be read, {then:.0%} at first"
