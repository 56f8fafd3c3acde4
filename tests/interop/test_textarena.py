"""TextArena, both ways: what players see and are rewarded with is TextArena's, and a game is replayed as any episode is."""

from __future__ import annotations

import dataclasses
import pickle
import random
import re
from random import Random
from typing import Any

import numpy as np
import pytest

ta = pytest.importorskip("textarena", reason="TextArena is a test-only dependency (the dev extra)")

from toys import Capitals, Lookup  # noqa: E402

from llm_marl_envs import Claim, Limits, Malformed, Play, Session, WorkflowEnv, make, make_parallel, make_role  # noqa: E402
from llm_marl_envs.errors import ConfigError, InvalidAction, ReplayMismatch, ToolFailed  # noqa: E402
from llm_marl_envs.interop.textarena import GAME, REPLAYED, ArenaDeals, ArenaGame, TeamGame, team_game  # noqa: E402
from llm_marl_envs.outcome import outcome_of  # noqa: E402
from llm_marl_envs.seeds import seed_of  # noqa: E402
from llm_marl_envs.session import Event  # noqa: E402
from llm_marl_envs.testing import GARBAGE, _check_elsewhere, check_task, random_reply  # noqa: E402
from llm_marl_envs.traces.trace import Trace  # noqa: E402
from llm_marl_envs.traces.verify import Verified, Verifier  # noqa: E402

DEAL = ArenaDeals(train_size=20).problems("train")[3]
PLUGIN = "llm_marl_envs.interop.textarena"


class Dice(ta.Env):
    """Each of two players names a number and sees one that both global generators draw; `luck` is state that outlives a game."""

    luck = 0

    def __init__(self, fair: bool = True):
        self.fair = fair

    def reset(self, num_players: int, seed: int | None = None) -> None:
        self.state = ta.TwoPlayerState(num_players, seed, max_turns=4)
        self.state.reset(player_prompt_function=lambda player_id, game_state: f"You are {player_id}.")

    def step(self, action: str) -> tuple[bool, Any]:
        if not self.fair:
            Dice.luck += 1
        drawn = random.randint(1, 999) + np.random.randint(1, 999) + Dice.luck
        self.state.add_observation(f"{int(action)} and {drawn}", ta.ObservationType.GAME_MESSAGE)
        if self.state.turn == 3:
            self.state.set_draw("over")
        return self.state.step()


ta.register("Dice-v0-raw", Dice)
ta.register("Loaded-v0-raw", Dice, fair=False)


def played(game: ArenaGame, seed: int = 0, deal: Any = DEAL, limits: Limits = Limits()) -> Session:
    """Moves as the prompts show them, numbers, and garbage."""
    rng, session = Random(seed_of("moves", seed)), Session(Play(game, deal.question, seed, limits))
    while (call := session.call) is not None:
        shown = re.findall(r"\[[^\[\]\n]{1,30}\]", call.prompt[-1500:])
        numbers = "[" + " ".join(str(rng.randrange(9)) for _ in range(rng.randrange(1, 4))) + "]"
        pick = rng.random()
        session.reply(rng.choice(shown) if shown and pick < 0.6 else numbers if pick < 0.9 else random_reply(rng))
    return session


def scripted(moves: str, **knobs: Any) -> WorkflowEnv:
    env = make(GAME, game="TicTacToe-v0", reward="own", **knobs)
    env.reset(seed=0)
    for move in moves:
        env.step(f"I take [{move}]")
    return env


# A team as a game.


def test_a_team_is_played_as_textarena_plays():
    game = team_game(make("arithmetic/eval_opt-v1", digits=1, train_size=20, rounds=2))
    game.reset(num_players=2, seed=0)
    gold = game.env.team.problem.gold
    player, first = game.get_observation()
    assert (player, first) == (0, f"\n[GAME] {game.env.team.last()[0]['messages'][0]['content']}")
    assert game.get_observation() == (0, first)  # looking again changes nothing
    assert game.step(r"\boxed{-1}") == (False, {})
    player, seen = game.get_observation()
    assert player == 1
    assert r"\boxed{-1}" in seen
    assert game.close()[0] is None
    game.step(r"\boxed{Incorrect}")
    player, seen = game.get_observation()  # a new conversation: the first prompt is not in it
    assert player == 0
    assert first not in seen
    assert seen.count("[GAME]") == 1
    assert game.step(rf"\boxed{{{gold}}}") == (True, {})
    rewards, info = game.close()
    assert rewards == {0: 1.0, 1: 1.0}
    assert {k: info[0][k] for k in ("role", "turn_count", "invalid_move", "status", "score")} == {
        "role": "generator", "turn_count": 2, "invalid_move": False, "status": "finished", "score": 1.0,
    }  # fmt: skip
    assert info[1]["turn_count"] == 1
    assert game.step("more") == (True, {})
    game.reset(num_players=2, seed=1)
    assert game.get_observation()[1].count("[GAME]") == 1


def test_a_conversation_goes_on_with_what_is_new():
    game = TeamGame(WorkflowEnv(Capitals(), Lookup()))
    shown, kind = team_game(WorkflowEnv(Capitals(), Lookup())), ta.ObservationType
    for one in (game, shown):
        one.reset(num_players=1, seed=0)
    first = game.get_observation()[1]
    assert [(who, what) for who, _, what in first] == [(-1, kind.PROMPT)] * 2  # the system prompt and the ask
    shown.get_observation()
    for one in (game, shown):
        one.step("Peru")
    assert game.get_observation()[1] == [
        (0, "Peru", kind.PLAYER_ACTION),
        (-1, "Found: Lima. Answer?", kind.GAME_MESSAGE),
    ]
    assert shown.get_observation()[1] == "".join(
        f"\n{text}" for text in ("[GAME] Be brief.", f"[GAME] {first[1][1]}", "[searcher_0] Peru", "[GAME] Found: Lima. Answer?")
    )  # fmt: skip


def test_what_failed_is_no_reward():
    game = TeamGame(WorkflowEnv(Capitals(down=True), Lookup()))
    game.reset(num_players=1, seed=0)
    assert [game.step("Peru") for _ in range(9)] == [(False, {})] * 9  # drawn again
    with pytest.raises(ToolFailed, match="the atlas is out of reach"):
        game.step("Peru")
    assert game.close()[0] is None


def test_a_team_refuses_other_numbers_of_players_and_what_is_no_text():
    game = team_game(make("arithmetic/eval_opt-v1", train_size=20))
    with pytest.raises(ConfigError, match=r"is played by 2 \(generator_0, evaluator_0\); got 3"):
        game.reset(num_players=3)
    game.reset(num_players=2, seed=0)
    with pytest.raises(InvalidAction):
        game.step(7)


# A game as an environment.


@pytest.mark.parametrize(
    ("moves", "first", "second"),
    [("03142", 1.0, 0.0), ("012435768", 0.5, 0.5), ("031485", 0.0, 1.0), ("099", 1.0, 0.0)],
)
def test_every_player_is_rewarded_for_its_own_end(moves, first, second):
    env = scripted(moves)  # the last: player_1 takes no square, twice
    assert env.rewards == {"player_0": first, "player_1": second}
    assert env.outcome.team.value == first
    claims = [call for call, _, _ in env.session.events if type(call) is Claim]
    assert [claim.agent for claim in claims] == ["player_0", "player_1"]
    assert claims[1].text == f"reward {2 * second - 1:g}, score {second:.6f}"


@pytest.mark.parametrize(
    "game", ["TicTacToe-v0", "KuhnPoker-v0", "KuhnPoker-v0-raw", "TicTacToe-v0-train", "LiarsDice-v0"]
)
def test_prompts_and_rewards_are_textarenas(game):
    session = played(ArenaGame(game))
    real, state = ta.make(game), random.getstate()
    real.reset(num_players=2, seed=seed_of(game, DEAL.question.id) % 2**32)
    for call, reply, _ in session.events:
        if reply is not None:
            player, seen = real.get_observation()
            assert call.agent == f"player_{player}"
            if isinstance(seen, str):
                assert (call.prompt, call.fresh) == (seen, True)
            else:
                own = [text for who, text, _ in seen if who != player]
                assert all(text in call.prompt for text in own)
            done, _ = real.step(action=reply.text)
    random.setstate(state)
    assert done
    claims = [float(call.text.split()[1].rstrip(",")) for call, _, _ in session.events if type(call) is Claim]
    assert claims == [real.close()[0][i] for i in (0, 1)]


def test_a_raw_game_is_one_conversation_of_each_player():
    session = Session(Play(ArenaGame("TicTacToe-v0-raw"), DEAL.question), ["[0]", "[3]", "[1]"])
    asks = [event.call for event in session.events] + [session.call]
    assert [ask.fresh for ask in asks] == [True, True, False, False]
    assert "Player 0 placed their symbol (O) in cell 1." in asks[3].prompt
    assert "[3]" not in asks[3].prompt.partition("Available")[0]  # its own move is in its conversation already
    assert [m["role"] for m in session.messages(asks[3])] == ["user", "assistant", "user"]


def test_views_play_the_same_game():
    aec, waves = scripted("03142"), make_parallel(GAME, reward="own")
    waves.reset(seed=0)
    for move in "03142":
        waves.step(dict.fromkeys(waves.agents, f"I take [{move}]"))
    other = iter("34")
    role = make_role(GAME, "player_0", {"player_1": lambda *_: f"I take [{next(other)}]"}, reward="own")
    role.reset(seed=0)
    rewards = [role.step(f"I take [{move}]")[1] for move in "012"]
    assert rewards == [0.0, 0.0, 1.0]
    assert aec.trace().to_json() == waves.trace().to_json() == role.trace().to_json()


def test_a_record_is_verified_and_a_changed_one_is_not():
    trace = Trace.from_json(scripted("03142").trace().to_json())
    found = Verifier(plugins=(PLUGIN,))(trace)
    assert isinstance(found, Verified)
    assert found.outcome.team.value == 1.0
    assert "name its module in plugins" in str(Verifier()(trace))
    events = list(trace.events)
    events[0] = Event(events[0].call, events[0].reply._replace(text="[8]"), 0)
    with pytest.raises(ReplayMismatch):
        dataclasses.replace(trace, events=tuple(events), digests=()).session()


def test_replay_fork_and_pickle_leave_the_generators_alone():
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tobytes()
    texts, fair, loaded = "1234", (ArenaGame("Dice-v0-raw", unchecked=True)), ArenaGame("Loaded-v0-raw", unchecked=True)
    one = Session(Play(fair, DEAL.question), texts)
    again, two = (Session(one.play, texts[:n]) for n in (2, 1))  # both at once: neither draws what is the other's
    two.reply(texts[1])
    for session in (again, two, one.fork(2), pickle.loads(pickle.dumps(one.fork(2)))):
        for text in texts[2:]:
            session.reply(text)
        assert session.events == one.events
    other = Session(Play(fair, ArenaDeals(train_size=20).problems("train")[4].question), texts)
    assert [e.call for e in other.events if e.reply][1:] != [e.call for e in one.events if e.reply][1:]
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before
    changing = Session(Play(loaded, DEAL.question), texts)  # the planted fault
    assert changing.fork().events != changing.events


def test_a_text_that_breaks_a_game_loses_it():
    for text in GARBAGE:
        session = Session(Play(ArenaGame("Dice-v0-raw", unchecked=True), DEAL.question), ["1", text])
        assert session.over
        outcome = outcome_of(session, ArenaDeals(), DEAL)
        assert (outcome.team.value, outcome.own("player_1"), outcome.malformed) == (1.0, 0.0, 1)
        assert Malformed("player_1", "a text that the game can take") in [call for call, _, _ in session.events]


def test_no_text_raises_and_a_budget_that_ran_out_is_wrong():
    for game in (ArenaGame("LiarsDice-v0"), ArenaGame("GuessTheNumber-v0-raw", 1)):
        for text in GARBAGE:
            session = Session(Play(game, DEAL.question))
            while session.waiting:
                session.reply(text)
            assert session.answer is not None
    cut = Session(Play(ArenaGame(), DEAL.question, limits=Limits(calls=2)), ["[0]", "[1]"])
    outcome = outcome_of(cut, ArenaDeals(), DEAL)
    assert (outcome.team.value, outcome.own("player_1")) == (0.0, None)


def test_a_game_for_one_has_its_reward_as_its_score():
    env = make(GAME, game="GuessTheNumber-v0", players=1)
    env.reset(seed=0)
    for number in range(1, 21):
        if env.outcome is None:
            env.step(f"[{number}]")
    reward = float(next(call for call, _, _ in env.session.events if type(call) is Claim).text.split()[1].rstrip(","))
    assert env.outcome.team.value == pytest.approx(reward, abs=1e-6)
    assert 0.0 < reward <= 1.0


def test_deals_are_a_task_and_games_are_refused_with_the_reason():
    check_task(ArenaDeals(train_size=30, test_size=5))
    with pytest.raises(
        ConfigError, match=r"'Poker-v0' is none of TextArena's games that are known to replay: .*unchecked=True"
    ):
        ArenaGame("Poker-v0")
    with pytest.raises(ConfigError, match="The number of players has to be 2, received 3"):
        ArenaGame("TicTacToe-v0", 3)
    with pytest.raises(ConfigError, match="not found in registry"):
        ArenaGame("NoSuchGame-v0", unchecked=True)


def replayable() -> dict[str, int]:
    """Each game with a number of players that it takes."""
    return {name: next(n for n in (2, 1, 3, 4, 6) if _begins(name, n)) for name in sorted(REPLAYED)}


def _begins(name: str, players: int) -> bool:
    try:
        ArenaGame(f"{name}-v0-raw", players)
    except ConfigError:
        return False
    return True


@pytest.mark.slow
def test_games_are_replayed_equal_in_other_processes():
    games = [ArenaGame(f"{name}-v0-raw", players) for name, players in replayable().items()]
    deals = ArenaDeals(train_size=20).problems("train")
    plays = [played(game, seed, deals[seed], Limits(calls=60)) for game in games for seed in range(12)]
    assert all(session.fork().events == session.events for session in plays)
    broke = {str(s.play.workflow) for s in plays for call, _, _ in s.events if type(call) is Malformed}
    assert broke == set()
    _check_elsewhere(games, plays)
