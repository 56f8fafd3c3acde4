"""TextArena, both ways: a team plays as a TextArena game, and TicTacToe is played, recorded and replayed as an environment of ours."""

from __future__ import annotations

import random
import re
import tempfile
from pathlib import Path

from sums import KNOBS, judge, total

from llm_marl_envs import make, read_traces, record_traces
from llm_marl_envs.interop.textarena import GAME, team_game
from llm_marl_envs.traces.verify import Verifier

# A TextArena loop around a team. Each player is a function from text to text, as TextArena's agents are.


def generator(seen: str) -> str:
    return rf"\boxed{{{total(seen)}}}"


def evaluator(seen: str) -> str:
    return judge("evaluator_0", [{"content": seen}], {})


game = team_game("arithmetic/eval_opt-v1", **KNOBS)
won = []
for seed in range(100):
    game.reset(num_players=2, seed=seed)
    done = False
    while not done:
        player, seen = game.get_observation()
        done, _ = game.step((generator, evaluator)[player](seen))
    rewards, _ = game.close()
    won.append(rewards[0])
assert won == [1.0] * 100, won

# A PettingZoo loop around TicTacToe: player_0 takes the first free square, player_1 a random one.

rng = random.Random(0)
scores = {"player_0": 0.0, "player_1": 0.0}
with tempfile.TemporaryDirectory() as folder:
    env = record_traces(make(GAME, game="TicTacToe-v0", players=2, reward="own"), Path(folder) / "games.jsonl")
    for seed in range(100):
        env.reset(seed=seed)
        for agent in env.agent_iter():
            observation, reward, termination, truncation, info = env.last()
            if termination or truncation:
                scores[agent] += reward
                env.step(None)
                continue
            board = observation["messages"][-1]["content"].rpartition("Available Moves:")[2]
            free = re.findall(r"\[\d\]", board)
            env.step(free[0] if agent == "player_0" else rng.choice(free))
    env.close()
    verify = Verifier(plugins=("llm_marl_envs.interop.textarena",))
    same = [verify(trace).outcome.team.value for trace in read_traces(Path(folder) / "games.jsonl")]
assert sum(scores.values()) == len(same) and sum(same) == scores["player_0"]
print(f"ok: 100 of 100 sums right as a TextArena game; {len(same)} games replayed and graded equal, player_0 won {sum(same):.1f}")
