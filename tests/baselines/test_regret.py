"""Regret matching against games whose solution is known, its rate, and sums taken by hand."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from random import Random

import pytest

from baselines.players.regret import RegretTables

HANDS = ("rock", "paper", "scissors")
BEATS = {("paper", "rock"), ("scissors", "paper"), ("rock", "scissors")}


def payoff(mine: str, other: str) -> float:
    return ((mine, other) in BEATS) - ((other, mine) in BEATS)


def test_a_visit_by_hand():
    """Values 1, 0 against p = 1/2, 1/2: regrets .5, -.5, so p = 1, 0. Then -1, 1 twice, both against p = 1, 0: the first has regret
    0, the second 2, and both visits count with p = 1, 0, for it is what was played."""
    tables = RegretTables()
    assert tables.current("s", "ab") == tables.average("s", "ab") == [0.5, 0.5]
    assert tables.rows == {}, "what was only looked up is not kept"
    tables.update("s", "ab", [[1, 0]])
    row = tables.rows["s"]
    assert (row.regret, row.current, row.average, row.visits) == ([0.5, -0.5], [1, 0], [0.5, 0.5], 1)
    tables.update("s", "ab", [[-1, 1]] * 2)
    assert (row.regret, row.current) == ([0.5, 3.5], [0.125, 0.875])
    assert row.played == [2.5, 0.5]
    assert row.average == pytest.approx([5 / 6, 1 / 6])
    assert row.average_regret == pytest.approx(3.5 / 3)
    tables.update("t", "ab", [[0, -1]], reach=0.5)
    assert tables.rows["t"].played == [0.25, 0.25]
    assert str(tables).splitlines() == [
        "state  visits  regret  current        average",
        "s      3       1.167   a 0.12 b 0.88  a 0.83 b 0.17",
        "t      1       0.500   a 1.00 b 0.00  a 0.50 b 0.50",
    ]


def test_no_positive_regret_is_uniform():
    """One choice: its regret is always 0. Three of equal values too."""
    tables = RegretTables()
    tables.update("one", ["only"], [[3.0]])
    tables.update("three", HANDS, [[-2.0] * 3])
    assert tables.current("one", ["only"]) == [1.0]
    assert tables.current("three", HANDS) == pytest.approx([1 / 3] * 3)
    assert tables.rows["three"].average_regret == 0


def test_saved_and_loaded_it_goes_on_with_the_same_bytes():
    rng = Random(0)
    visits = [(rng.choice("xyz"), [rng.uniform(-1, 1) for _ in HANDS]) for _ in range(200)]
    straight, first, second = RegretTables(), RegretTables(), RegretTables()
    for n, (key, values) in enumerate(visits):
        if n == 100:
            second.load(json.loads(json.dumps(first.state())))
        for tables in (straight, first if n < 100 else second):
            tables.update(key, HANDS, [values])
    assert json.dumps(second.state()) == json.dumps(straight.state())
    assert json.loads(json.dumps(straight.state())) == straight.state()
    second.update("x", HANDS, [[1.0, 0.0, 0.0]])
    assert first.state() != second.state(), "what was loaded is a copy"


def test_mistakes_are_said():
    tables = RegretTables()
    tables.update("s", ("keep", "refresh"), [[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"s had the choices \('keep', 'refresh'\) before"):
        tables.current("s", ("skip", "speak"))
    for wrong in ([1.0], [1.0, math.nan], [0.0, 1.0, 2.0]):
        with pytest.raises(ValueError, match="expected a finite value for each, got"):
            tables.update("s", ("keep", "refresh"), [wrong])


def test_rock_paper_scissors():
    """Two players, each valuing its hands against the other's sampled one: averages go to 1/3 each, from a lopsided start."""
    tables, rng = RegretTables(), Random(0)
    tables.update("0", HANDS, [[5.0, 0.0, 0.0]])
    for _ in range(4000):
        played = [rng.choices(HANDS, tables.current(me, HANDS))[0] for me in "01"]
        for me, other in (("0", played[1]), ("1", played[0])):
            tables.update(me, HANDS, [[payoff(hand, other) for hand in HANDS]])
    for me in "01":
        assert tables.average(me, HANDS) == pytest.approx([1 / 3] * 3, abs=0.05)


ENDS = {"pp", "bp", "bb", "pbp", "pbb"}  # pass and bet
CHOICES = ("p", "b")


def showdown(cards: tuple[int, int], said: str) -> float:
    """What the first player wins in Kuhn poker (ante 1, bets 1)."""
    if said == "bp":
        return 1.0
    if said == "pbp":
        return -1.0
    return (1 if cards[0] > cards[1] else -1) * (2 if said.endswith("bb") else 1)


def kuhn(cards, said, reach, strategy, found) -> float:
    """The first player's value of a history; in `found` the values of each information set's choices."""
    if said in ENDS:
        return showdown(cards, said)
    me = len(said) % 2
    key = f"{cards[me]}{said}"
    p = strategy(key)
    below = []
    for choice, share in zip(CHOICES, p, strict=True):
        ways = list(reach)
        ways[me] *= share
        below.append(kuhn(cards, said + choice, ways, strategy, found))
    found[key, reach[me]].append([(-1) ** me * reach[1 - me] / 6 * value for value in below])
    return p[0] * below[0] + p[1] * below[1]


DEALS = [(a, b) for a in range(3) for b in range(3) if a != b]


def test_kuhn_poker():
    """Its value is -1/18; the second player's part is known: with the lowest card it bets after a pass one time in three, with
    the middle one it calls one time in three (Kuhn 1950)."""
    tables = RegretTables()
    for _ in range(800):
        found = defaultdict(list)
        for cards in DEALS:
            kuhn(cards, "", (1.0, 1.0), lambda key: tables.current(key, CHOICES), found)
        for (key, reach), values in found.items():
            tables.update(key, CHOICES, values, reach)
    average = {key: row.average for key, row in tables.rows.items()}
    value = sum(kuhn(c, "", (1.0, 1.0), average.get, defaultdict(list)) for c in DEALS) / 6
    assert len(average) == 12
    assert value == pytest.approx(-1 / 18, abs=0.01)
    for key, bets in {"0p": 1 / 3, "1b": 1 / 3, "2p": 1, "2b": 1, "0b": 0, "1p": 0}.items():
        assert average[key][1] == pytest.approx(bets, abs=0.06), key


def test_average_regret_falls_as_one_over_the_root_of_the_visits():
    """Against noise, where no choice is better: the bound of regret matching, 2 sqrt(2 / M), holds at every M, and four times
    the visits halve the mean over many tables."""
    rng, seen = Random(0), {32: 0.0, 128: 0.0, 512: 0.0}
    for _ in range(40):
        tables = RegretTables()
        for m in range(1, 513):
            tables.update("s", "ab", [[rng.choice((-1, 1)), rng.choice((-1, 1))]])
            regret = tables.rows["s"].average_regret
            assert regret <= 2 * math.sqrt(2 / m) + 1e-9
            if m in seen:
                seen[m] += regret / 40
    assert seen[128] / seen[32] == pytest.approx(1 / 2, abs=0.15)
    assert seen[512] / seen[128] == pytest.approx(1 / 2, abs=0.15)


def test_the_drawn_curves_fall_at_least_as_the_root():
    """From 64 to 1,024 visits by 4, give or take a fifth, where hands are sampled; faster where the whole tree is walked through."""
    from draw_regret import hands, mean_of, poker

    sampled = mean_of([hands([64, 1024], seed) for seed in range(12)])
    assert sampled[64] / sampled[1024] == pytest.approx(4, rel=0.2)
    whole = poker([16, 256])
    assert whole[16] / whole[256] > 4
