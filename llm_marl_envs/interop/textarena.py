"""TextArena, both ways: a team as a TextArena game, and a TextArena game as an environment of ours.

    game = team_game(make("arithmetic/eval_opt-v1"))  # a ta.Env: player i is the i-th agent of the roster
    env = make(GAME, game="TicTacToe-v0", players=2, reward="own")  # or make_parallel, make_role, make_vec

Of a game, too, the replies are the state: it is dealt by the question's id and told what the players said, so it is forked, recorded and
replayed as any talk is. TextArena's games draw from the global generators of Python and numpy; here these are lent to a game while it is
at work, and given back as they were.
"""

from __future__ import annotations

import functools
import random
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from random import Random

import numpy as np
import textarena as ta
from textarena.core import Message

from llm_marl_envs.envs.aec import WorkflowEnv
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.protocol import Ask, Claim, Malformed, Roster, Talk
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.task import ANY, MANY, Problem, Question, Score, Tool

VERSION = version("textarena")
GAME = f"{__name__}:ArenaDeals/{__name__}:ArenaGame-v1"
SPLITS = ("train", "test")
REPLAYED = frozenset(  # by name, without version and variant: those that were replayed equal in other processes
    (
        "2048", "Battleship", "Blackjack", "ConnectFour", "Crusade", "FifteenPuzzle", "FrozenLake",
        "GameOfPureStrategy", "GuessTheNumber", "HighSociety", "IndianPoker", "IteratedMatchingPennies",
        "IteratedPrisonersDilemma", "IteratedRockPaperScissors", "IteratedTwoThirdsAverage",
        "IteratedUltimatumGame", "KuhnPoker", "LiarsDice", "LightsOut", "Mastermind", "MemoryGame",
        "Minesweeper", "NewRecruit", "Nim", "Othello", "PigDice", "SecretMafia", "SimpleBlindAuction",
        "SimpleNegotiation", "SimpleTak", "Snake", "Sokoban", "Stratego", "Taboo", "ThreePlayerGOPS",
        "ThreePlayerIPD", "ThreePlayerTicTacToe", "TicTacToe", "TowerOfHanoi", "TruthAndDeception",
        "TwoDollar", "UltimateTicTacToe", "WildTicTacToe",
    )
)  # fmt: skip
_END = re.compile(r"reward (\S{1,30}), score ([01]\.[0-9]{6})")
_LENT = threading.Lock()  # the global generators are lent to one game at a time


@dataclass(frozen=True)
class ArenaDeals:
    """Deals of TextArena's games: all that a game draws at random depends on its deal, and on what its players say.

    Ids name TextArena's release, because another one may deal otherwise. It grades how a game ended, as `ArenaGame` says it.
    """

    train_size: int = field(default=1_000, metadata=MANY)
    test_size: int = field(default=100, metadata=MANY)
    seed: int = field(default=0, metadata=ANY)

    def __post_init__(self):
        if min(self.train_size, self.test_size) < 1:
            raise ValueError("sizes start at 1")

    @property
    def tools(self) -> Mapping[str, Tool]:
        return {}

    @property
    def splits(self) -> tuple[str, ...]:
        return SPLITS

    def problems(self, split: str) -> Sequence[Problem]:
        if split not in SPLITS:
            raise UnknownName("split of TextArena's deals", split, SPLITS)
        return _problems(self, split)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        found = _END.fullmatch(text or "")
        return Score(float(found[2]), f"reward {found[1]}", found[1]) if found else Score(0.0, "this is no game's end")


@functools.lru_cache(maxsize=16)
def _problems(task: ArenaDeals, split: str) -> tuple[Problem, ...]:
    size = task.train_size if split == "train" else task.test_size
    ids = (f"textarena-{VERSION}/{split}/{task.seed}/{i}" for i in range(size))
    return tuple(Problem(Question(id, f"Deal {id}", domain="game"), None) for id in ids)


@dataclass(frozen=True)
class ArenaGame:
    """A game of TextArena between `players` agents, in its order of turns.

    A game that gives a player the whole history as one text (`TicTacToe-v0`, by its wrappers) begins a new conversation with every
    turn. One that gives what is new (`TicTacToe-v0-raw`) continues the player's conversation: one row for trainers.

    At the end every player claims its reward. Its score, for the rule `own`, is 0 for TextArena's -1, 0.5 for 0, 1 for 1; in a
    game for one player it is the reward. The team's score is player_0's, for TextArena does not say who plays together. A text
    that the game cannot take loses it. Games that are not `REPLAYED` are refused unless they are marked by `unchecked`.
    """

    game: str = "TicTacToe-v0"
    players: int = 2
    unchecked: bool = False

    def __post_init__(self):
        if not self.unchecked and str(self.game).partition("-v")[0] not in REPLAYED:
            raise ConfigError(
                f"{self.game!r} is none of TextArena's games that are known to replay: {', '.join(sorted(REPLAYED))}. If "
                f"llm_marl_envs.testing.check_workflow(ArenaGame(game, players, unchecked=True)) holds, play it with unchecked=True"
            )
        try:
            _Table(self.game, self.players, 0)
        except Exception as bad:
            raise ConfigError(f"TextArena cannot begin {self.game!r} with {self.players} players: {bad}") from bad

    @cached_property
    def roster(self) -> Roster:
        return Roster(player=self.players)

    def talk(self, question: Question, rng: Random) -> Talk:
        table, begun = _Table(self.game, self.players, seed_of(self.game, question.id)), set[str]()
        while not table.done:
            name = f"player_{table.player}"
            text = yield Ask(name, table.prompt, fresh=table.whole or name not in begun)
            begun.add(name)
            if not table.take(text):
                yield Malformed(name, "a text that the game can take")
        ends = [f"reward {reward:g}, score {table.score(reward):.6f}" for reward in table.rewards]
        for name, end in zip(self.roster.names, ends, strict=True):
            yield Claim(name, end)
        return ends[0]


class _Table:
    """A game in progress: who is to move (`player`), what it is shown (`prompt`; `whole` if that is all it ever saw), and at the end
    every player's reward."""

    def __init__(self, game: str, players: int, seed: int):
        self.players, self.done, self.rewards = players, False, [0.0] * players
        self._drawn = Random(seed).getstate(), np.random.RandomState(seed % 2**32).get_state()
        with self._at_work():
            self._game = ta.make(game)
            self._game.reset(num_players=players, seed=seed % 2**32)
            self._look()

    def take(self, text: str) -> bool:
        """Tell the game what its player says. False if the game broke at it, which the player has lost."""
        try:
            with self._at_work():
                self.done = bool(self._game.step(action=text)[0])
                if self.done:
                    given = self._game.close()[0]
                    self.rewards = [float(given[player]) for player in range(self.players)]
                else:
                    self._look()
        except Exception:  # TextArena's, at a text that it had not thought of
            self.done, self.rewards = True, [1.0] * self.players
            self.rewards[self.player] = -1.0
            return False
        return True

    def score(self, reward: float) -> float:
        """A reward from 0 to 1."""
        return min(max(reward if self.players == 1 else (reward + 1) / 2, 0.0), 1.0)

    def _look(self) -> None:
        self.player, seen = self._game.get_observation()
        self.whole = isinstance(seen, str)
        self.prompt = seen if isinstance(seen, str) else "\n".join(filter(None, map(self._shown, seen)))

    def _shown(self, message: tuple[int, str, ta.ObservationType]) -> str:
        """A message; what the player said itself is in its conversation."""
        sender, text, kind = message
        if kind is ta.ObservationType.PLAYER_ACTION and sender == self.player:
            return ""
        return f"[{'GAME' if sender == ta.GAME_ID else f'Player {sender}'}] {text}"

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with _LENT:
            outside = random.getstate(), np.random.get_state()
            try:
                random.setstate(self._drawn[0])
                np.random.set_state(self._drawn[1])
                yield
            finally:
                self._drawn = random.getstate(), np.random.get_state()
                random.setstate(outside[0])
                np.random.set_state(outside[1])


class TeamGame(ta.Env):
    """A team as a game of TextArena: player i is the i-th agent of the roster, and what it sees is what its ask adds to its chat.

    An ask that begins a new conversation comes as PROMPT, and `CurrentChat` shows nothing from before it. Rewards are the rule's; what
    FAILED is played again with the next problem. close() gives rewards and infos, as TextArena's does; the environment stays open.
    """

    def __init__(self, team: WorkflowEnv):
        self.team, self.names = team, team.possible_agents
        team.for_learners = True

    def reset(self, num_players: int, seed: int | None = None) -> None:
        if num_players != len(self.names):
            raise ConfigError(
                f"{self.team.env_spec.env_id} is played by {len(self.names)} ({', '.join(self.names)}); got {num_players}"
            )
        self.team.reset(seed=seed)
        roster, players = self.team.workflow.roster, dict(enumerate(self.names))
        self.state = ta.State(num_players)  # without a seed, it leaves the global generator alone
        self.state.standard_resets(
            role_mapping=players.copy(), secret_roles={i: roster.role(name) for i, name in players.items()}
        )
        self._settle()

    def get_observation(self) -> tuple[int, list[Message]]:
        player = self.state.current_player_id
        chat = () if self._seen else self.team.observe(self.names[player])["messages"]
        self._seen = True
        kind = ta.ObservationType
        if len(chat) > 1 and chat[-2]["role"] == "assistant":  # it goes on
            said, new = chat[-2:]
            return player, [
                (player, said["content"], kind.PLAYER_ACTION),
                (ta.GAME_ID, new["content"], kind.GAME_MESSAGE),
            ]
        return player, [(ta.GAME_ID, message["content"], kind.PROMPT) for message in chat]

    def step(self, action: str) -> tuple[bool, ta.Info]:
        if not self.state.done:
            self.team.step(action)
            self._settle()
        return self.state.step()

    def _settle(self) -> None:
        self._seen = False
        self.state.current_player_id = self.names.index(self.team.agent_selection)
        if (outcome := self.team.outcome) is None:
            return
        given, ended = self.team.graded()
        self.state.done = True
        self.state.rewards = {i: given[name] for i, name in enumerate(self.names)}  # type: ignore[assignment]
        for i, name in enumerate(self.names):
            self.state.game_info[i] |= {
                "turn_count": outcome.calls.get(name, 0), "invalid_move": name in outcome.unread, "reason": ended["why"], **ended,
            }  # fmt: skip


class CurrentChat(ta.wrappers.LLMObservationWrapper):
    """What a player sees, as one text, from the beginning of its current conversation on."""

    def observation(self, player_id: int, observation: list[Message] | None) -> str:  # type: ignore[override]
        if observation and observation[0][2] is ta.ObservationType.PROMPT:
            self.full_observations[player_id] = []
        return super().observation(player_id, observation)  # type: ignore[arg-type,return-value]


def team_game(team: WorkflowEnv) -> CurrentChat:
    """A team as what `textarena.make` gives: texts in, texts out. `TeamGame(team)` itself gives messages."""
    return CurrentChat(TeamGame(team))
