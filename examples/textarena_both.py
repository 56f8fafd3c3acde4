"""TextArena, both ways: a team plays as a TextArena game, and TicTacToe is played, recorded and replayed as an environment of ours."""

from __future__ import annotations

import re
import tempfile
from random import Random

from sums import KNOBS, judge, total

from llm_marl_envs import make, read_traces, record_traces
from llm_marl_envs.interop.textarena import GAME, team_game
from llm_marl_envs.traces.verify import Verifier

# TextArena's loop around a team: players are functions from text to text.
players = (
    lambda seen: rf"\boxed{{{total(seen)}}}",
    lambda seen: judge("evaluator_0", [{"content": seen}], {}),
)
game, right = team_game(make("arithmetic/eval_opt-v1", **KNOBS)), 0.0
for seed in range(100):
    game.reset(num_players=2, seed=seed)
    done = False
    while not done:
        player, seen = game.get_observation()
        done, _ = game.step(players[player](seen))
    rewards, _ = game.close()
    right += rewards[0]
assert right == 100

# PettingZoo's loop around TicTacToe: player_0 takes the first free square, player_1 any. `own` rewards each for its own end.
env = make(GAME, game="TicTacToe-v0", players=2, reward="own")
rng, scores = Random(0), dict.fromkeys(env.possible_agents, 0.0)
with tempfile.TemporaryDirectory() as folder:
    record_traces(env, f"{folder}/games.jsonl")
    for seed in range(100):
        env.reset(seed=seed)
        for agent in env.agent_iter():
            observation, reward, termination, truncation, _ = env.last()
            if termination or truncation:
                scores[agent] += reward
                env.step(None)
                continue
            squares = observation["messages"][-1]["content"].rpartition("Available Moves:")[2]
            free = re.findall(r"\[\d\]", squares)
            env.step(free[0] if agent == "player_0" else rng.choice(free))
    env.close()
    verify = Verifier(plugins=("llm_marl_envs.interop.textarena",))
    again = [verify(trace).outcome.team.value for trace in read_traces(f"{folder}/games.jsonl")]
assert sum(scores.values()) == len(again) == 100  # a game's scores add up to 1
assert sum(again) == scores["player_0"], (sum(again), scores)
print(
    f"ok: {right:.0f} of 100 sums right as a TextArena game; 100 games replayed, the same {sum(again):.1f} points for player_0"
)
