"""Turn-level rewards and GAE: by hand, and against the sum that the recursion abbreviates."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace

import pytest

from baselines.credit.gae import gae, turn_level, whitened
from baselines.types import Completion, Signal, Turn
from llm_marl_envs.rewards import TurnProgress


def turn(index: int, tokens: int, agent: str = "searcher_0") -> Turn:
    return Turn(index, agent, agent[:-2], agent[:-2], Completion("", (1,), tuple(range(tokens))))


def episode(*turns: Turn, origin=None) -> SimpleNamespace:
    own = [t for t in turns if origin is None or t.index >= origin]
    return SimpleNamespace(turns=turns, own_turns=own, outcome=None)


def paying(*changes: tuple[int, str, float]):
    return lambda outcome: [TurnProgress(*change) for change in changes]


TALK = episode(turn(0, 2), turn(2, 1, "generator_0"), turn(3, 3), turn(5, 1, "generator_0"), turn(6, 1))
FOUND = paying((0, "searcher_0", 0.0), (3, "searcher_0", 1.0))
VALUES = {(0, 0): (0.5, 0.25), (0, 3): (0.5, 0.0, 1.0), (0, 6): (0.25,)}


def second_gae(rewards, values, gamma, lam):
    """The definition: A_t = sum over l of (gamma lam)^l delta_{t+l}."""
    after = [*values[1:], 0.0]
    delta = [r + gamma * n - v for r, n, v in zip(rewards, after, values, strict=True)]
    return [sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, len(delta))) for t in range(len(delta))]


def test_gae_by_hand():
    assert gae([0.0, 1.0], [0.5, 0.25], 0.5, 0.5) == ([-0.1875, 0.75], [0.3125, 1.0])
    assert gae([], []) == ([], [])
    with pytest.raises(ValueError, match="2 rewards and 1 values"):
        gae([0.0, 1.0], [0.5])


def test_gae_equals_the_sum_that_defines_it():
    rng = Random(0)
    for gamma, lam in [(1.0, 1.0), (0.99, 0.95), (0.9, 0.0), (0.0, 0.9), (1.0, 0.5)]:
        for length in (1, 2, 17):
            rewards, values = ([rng.gauss(0, 1) for _ in range(length)] for _ in range(2))
            advantages, returns = gae(rewards, values, gamma, lam)
            assert advantages == pytest.approx(second_gae(rewards, values, gamma, lam), abs=1e-9)
            assert returns == pytest.approx([a + v for a, v in zip(advantages, values, strict=True)])
    assert gae(rewards, values, 0.9, 0.5)[0] != pytest.approx(second_gae(rewards, values, 0.5, 0.9)), "they differ"


def test_each_turn_is_paid_at_its_last_token():
    """gamma = lam = 1: returns are what is to come, 1 up to the second search's last token and 0 for `<stop>`."""
    credit = turn_level([TALK], VALUES, "searcher", FOUND, whiten=False)
    assert credit == {
        (0, 0): Signal((0.5, 0.75), (0.5, 0.25), (1.0, 1.0)),
        (0, 3): Signal((0.5, 1.0, 0.0), (0.5, 0.0, 1.0), (1.0, 1.0, 1.0)),
        (0, 6): Signal((-0.25,), (0.25,), (0.0,)),
    }


def test_what_is_between_replies_is_no_step():
    """gamma .5, lam 0: A = r + .5 V' - V, and V' after a reply's last token is the value before the next reply's first."""
    credit = turn_level([TALK], VALUES, "searcher", FOUND, gamma=0.5, lam=0.0, whiten=False)
    assert credit[0, 0].advantage == (0.125 - 0.5, 0.25 - 0.25)
    assert credit[0, 3].advantage == (0.0 - 0.5, 0.5 - 0.0, 1.0 + 0.125 - 1.0)
    assert credit[0, 6].advantage == (-0.25,)


def test_without_turn_rewards_all_is_paid_at_the_end():
    """So `<stop>` is paid, too; and a progress that falls and rises adds up to the final grade."""
    wavering = paying((0, "searcher_0", 1.0), (3, "searcher_0", -1.0), (3, "searcher_0", 1.0))
    credit = turn_level([TALK], VALUES, "searcher", wavering, each_turn=False, whiten=False)
    assert [r for signal in credit.values() for r in signal.returns] == [1.0] * 6


def test_an_answers_progress_goes_to_the_search_before_it():
    """Answer correctness (Decomp-AR) changes at the generator's turns 2 and 5; one before any search is nobody's doing."""
    answered = paying((2, "generator_0", 1.0), (5, "generator_0", -1.0))
    credit = turn_level([TALK], VALUES, "searcher", answered, whiten=False)
    assert [credit[0, k].returns[-1] for k in (0, 3, 6)] == [0.0, -1.0, 0.0]
    late = episode(turn(2, 1, "generator_0"), turn(3, 3))
    assert turn_level([late], VALUES, "searcher", answered, whiten=False)[0, 3].returns == (-1.0,) * 3


def test_agents_of_a_role_have_trajectories_of_their_own():
    both = episode(turn(0, 1), turn(1, 1, "searcher_1"), turn(2, 1))
    found = paying((0, "searcher_0", 1.0), (1, "searcher_1", 3.0))
    credit = turn_level([both], {(0, k): (0.0,) for k in range(3)}, "searcher", found, whiten=False)
    assert [credit[0, k].returns for k in range(3)] == [(1.0,), (3.0,), (0.0,)]


def test_what_is_not_credited():
    silent, forked = episode(turn(0, 0), turn(3, 3)), episode(turn(0, 2), turn(3, 3), origin=3)
    for made in (silent, forked):
        credit = turn_level([made], VALUES, "searcher", FOUND, whiten=False)
        assert set(credit) == {(0, 3)}
        assert credit[0, 3].returns == (1.0, 1.0, 1.0)
    assert turn_level([episode(turn(2, 1, "generator_0"))], {}, "searcher", FOUND) == {}
    with pytest.raises(ValueError, match=r"reply 3 has 3 tokens and 0 values; is 'searcher' one of the"):
        turn_level([TALK], {(0, 0): (0.5, 0.25)}, "searcher", FOUND)


def test_whitening_is_over_all_tokens_of_the_batch():
    """Advantages 1, 2 and 6 of two replies: mean 3, sample variance (4 + 1 + 9) / 2 = 7."""
    credit = {(0, 0): Signal((1.0, 2.0), (5.0,) * 2, (6.0,) * 2), (1, 0): Signal((6.0,), (5.0,), (6.0,))}
    white = whitened(credit)
    assert white[0, 0].advantage + white[1, 0].advantage == pytest.approx([x / 7**0.5 for x in (-2.0, -1.0, 3.0)])
    assert white[0, 0][1:] == ((5.0,) * 2, (6.0,) * 2), "values and returns stay"
    assert whitened({(1, 0): credit[1, 0]}) == {(1, 0): credit[1, 0]}
    alike = whitened({(0, 0): Signal((2.0, 2.0), (0.0,) * 2, (2.0,) * 2)})
    assert alike[0, 0].advantage == (0.0, 0.0), "no difference, nothing to learn"
