"""A swarm as large as those that are reported from practice: 300 workers, 4,000 calls."""

from __future__ import annotations

from benchmarks.swarm import Costs, costs


def show(benchmark, ratio: float, label: str) -> None:
    benchmark.extra_info["ratio"] = ratio
    benchmark.pedantic(lambda: None, rounds=1)
    print(f"\n{label}: ratio {ratio:.3f}")


def test_replay_takes_no_longer_than_playing(benchmark):
    large = costs(300, 13)
    show(benchmark, large.replay / large.play, f"replay / play of {large.calls} calls")
    assert large.replay <= large.play


def test_export_takes_no_longer_than_playing_twice(benchmark):
    large = costs(300, 13)
    show(benchmark, large.export / large.play, f"export / play of {large.calls} calls")
    assert large.export <= 2 * large.play


def test_costs_grow_linearly(benchmark):
    """Per call, 16,000 calls cost no more than twice what 1,000 do."""
    small, large = costs(76, 12), costs(300, 53, times=3)
    worst = max(getattr(large, name) / getattr(small, name) for name in Costs._fields[1:])
    show(benchmark, worst, "per call, 16,000 calls / 1,000 calls, the worst of play, replay and export")
    assert worst < 2
