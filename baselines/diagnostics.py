"""What a step's episodes and their credit look like, role by role. The learner's figures are its own (`learner.update`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from baselines.types import Credit, Episode, Sample, Signal

NO_SIGNAL = 1e-9  # an advantage below is that of equal rewards, rounded


def diagnose(episodes: Sequence[Episode], credit: Credit) -> dict[str, float]:
    """`reply_tokens/<role>`: mean length of what it sampled. `malformed/<role>`: share of its calls in which a reading failed.
    `own_score/<role>`: mean grade of what it claimed itself: answers, verdicts, evidence. All as the team plays: without forks and
    counterfactuals.

    `zero_variance/<role>`: the share of groups in which no reply of the role has an advantage, so that nothing is learned from them;
    `zero_variance`: of all roles' groups. A group is what is compared: a problem's episodes, or a reply and its forks.
    """
    tokens: dict[str, list[int]] = defaultdict(list)
    calls: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    grades: dict[str, list[float]] = defaultdict(list)
    for e in episodes:
        if e.origin is None:
            for turn in e.turns:
                if turn.completion.token_ids:
                    tokens[turn.role].append(len(turn.completion.token_ids))
            role = e.session.play.workflow.roster.role
            calls.update({role(agent): 0 for agent in e.outcome.calls})
            for agent, count in e.outcome.calls.items():
                calls[role(agent)] += count
                unread[role(agent)] += e.outcome.unread.get(agent, 0)
                if (grade := e.outcome.own(agent)) is not None:
                    grades[role(agent)].append(grade)
    found = {f"reply_tokens/{role}": fmean(lengths) for role, lengths in sorted(tokens.items())}
    found |= {f"malformed/{role}": unread[role] / count for role, count in sorted(calls.items()) if count}
    found |= {f"own_score/{role}": fmean(mine) for role, mine in sorted(grades.items())}
    signal: dict[tuple[str, object], bool] = defaultdict(bool)
    for key, advantage in _compared(episodes, credit):
        signal[key] |= advantage >= NO_SIGNAL
    silent: dict[str, list[bool]] = defaultdict(list)
    for (role, _), some in signal.items():
        silent[role].append(not some)
    found |= {f"zero_variance/{role}": fmean(groups) for role, groups in sorted(silent.items())}
    if silent:
        found["zero_variance"] = fmean(group for groups in silent.values() for group in groups)
    return found


def trained_tokens(samples: Sequence[Sample]) -> int:
    """The tokens that have credit, or are imitated."""
    return sum(span.end - span.start for sample in samples for span in sample.spans)


def speed(figures: Mapping[str, float], play_s: float, learn_s: float) -> dict[str, float]:
    """Seconds of a step, and tokens per second generated and trained."""
    played, learned = figures["sampled_tokens"] / play_s, figures["trained_tokens"] / learn_s
    return {"play_s": play_s, "learn_s": learn_s, "play_tokens_s": played, "learn_tokens_s": learned}


def _compared(episodes: Sequence[Episode], credit: Credit) -> Iterator[tuple[tuple[str, object], float]]:
    """(role, group) and the size of the advantage of every reply that is compared with others: those with credit, and forks' first
    ones, which a method leaves out where they are all worth the same."""
    forked = {(id(e.origin[0]), e.origin[1]): e.group for e in episodes if e.origin is not None}
    for i, e in enumerate(episodes):
        for turn in e.own_turns:
            first = e.origin is not None and turn.index == e.origin[1]
            if first or (i, turn.index) in credit:
                group = forked.get((id(e), turn.index), e.group)
                yield (turn.role, group), _size(credit.get((i, turn.index), 0.0))


def _size(signal: float | Signal) -> float:
    advantage = signal.advantage if isinstance(signal, Signal) else signal
    return max(map(abs, advantage), default=0.0) if isinstance(advantage, tuple) else abs(advantage)
