"""Speed as ratios within one run: ours against a floor or a peer. Absolute times are printed, never asserted.

Run with `make bench`. Rivals alternate within a round, so a busy machine slows both alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from benchmarks.ratio import compare
from pettingzoo import AECEnv

import llm_marl_envs
from baselines.engines.scripted import Scripted
from baselines.policies import PolicyRouter
from baselines.rollout import groups, rollout
from baselines.types import Sampling
from llm_marl_envs.envs.spaces import UnicodeText, chat_space

DRAFT, REFINED = "Units 7+8=15, tens 4+5=9. \\boxed{95}", "Units 7+8=15, tens 4+5+1=10. \\boxed{105}"


class Floor(AECEnv):
    """A bare PettingZoo AEC environment: two agents pass texts around for five turns, and nothing else."""

    metadata = {"name": "floor_v0", "render_modes": []}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.possible_agents = ["generator_0", "evaluator_0"]
        self.spaces = {a: (chat_space(), UnicodeText()) for a in self.possible_agents}

    def observation_space(self, agent):
        return self.spaces[agent][0]

    def action_space(self, agent):
        return self.spaces[agent][1]

    def reset(self, seed=None, options=None):
        self.agents = self.possible_agents[:]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {a: {} for a in self.agents}
        self.agent_selection, self.turn, self.text = self.agents[0], 0, "What is 47 + 58?"

    def observe(self, agent):
        return {"messages": ({"role": "user", "content": self.text},)}

    def step(self, action):
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            return self._was_dead_step(action)
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        self.text, self.turn = action, self.turn + 1
        self.agent_selection = self.agents[self.turn % 2]
        if self.turn == 5:
            self.rewards = dict.fromkeys(self.agents, 1.0)
            self.terminations = dict.fromkeys(self.agents, True)
        self._accumulate_rewards()
        self._deads_step_first()


def play(env: AECEnv, episodes: int, done: Callable[[AECEnv], object] = lambda env: None) -> float:
    """Seconds per live step of scripted episodes: two drafts rejected, the third accepted by exhaustion (five calls)."""
    steps = 0
    began = time.perf_counter()
    for episode in range(episodes):
        env.reset(seed=episode)
        turn = 0
        for agent in env.agent_iter():
            _, _, terminated, truncated, _ = env.last()
            if terminated or truncated:
                if agent == env.possible_agents[0]:
                    done(env)
                env.step(None)
            else:
                env.step("\\boxed{Incorrect}" if agent == "evaluator_0" else REFINED if turn > 3 else DRAFT)
                turn += 1
                steps += 1
    return (time.perf_counter() - began) / steps


@pytest.fixture
def env(tmp_path):
    folder = tmp_path / "gsm8k"
    folder.mkdir()
    row = '{"question": "Nat sold clips to 48 friends in April and half as many in May. How many in all?", "answer": "48/2=24\\n48+24=72\\n#### 72"}\n'
    (folder / "train.jsonl").write_text(row * 50)
    return llm_marl_envs.make("gsm8k/eval_opt-v1", data_dir=tmp_path)


def test_env_steps_against_a_bare_environment(benchmark, env):
    """Live steps with grading, budget, record and a finished trace per episode: at least a quarter of a bare environment's."""
    floor = Floor()
    ratio = compare(
        benchmark,
        lambda: 1 / play(env, 400, lambda e: e.trace()),
        lambda: 1 / play(floor, 400),
        "steps/s, ours / floor",
    )
    assert ratio >= 0.25


def test_env_steps_against_textarena(benchmark, env):
    """Above TextArena's TicTacToe-v0 with default wrappers, made anew each episode. Different games: overhead, not speed of play."""
    textarena = pytest.importorskip("textarena")

    def tictactoe() -> float:
        steps, began = 0, time.perf_counter()
        for episode in range(60):
            game = textarena.make("TicTacToe-v0")
            game.reset(num_players=2, seed=episode)
            done = False
            for move in (0, 3, 1, 4, 2):
                game.get_observation()
                done, _ = game.step(action=f"[{move}]")
                steps += 1
            assert done
            game.close()
        return steps / (time.perf_counter() - began)

    ratio = compare(benchmark, lambda: 1 / play(env, 400, lambda e: e.trace()), tictactoe, "steps/s, ours / TextArena")
    assert ratio > 1


def test_rollout_host_time(benchmark):
    """Host time of a batched rollout over 4,096 scripted voting sessions, per call, against the floor's time per step."""
    task, workflow = llm_marl_envs.make_task("arithmetic"), llm_marl_envs.make_workflow("voting")
    problems = task.problems("train")[:512]
    route = PolicyRouter.shared(workflow.roster)
    engine = Scripted(lambda request: "\\boxed{2}")
    floor = Floor()

    def ours() -> float:
        starts = groups(workflow, problems, 8, seed=0)
        began = time.perf_counter()
        episodes = rollout(starts, route, engine, task, sampling=Sampling())
        seconds = time.perf_counter() - began
        return seconds / sum(len(e.turns) for e in episodes) * 1e6

    ratio = compare(benchmark, ours, lambda: play(floor, 400) * 1e6, "microseconds, ours per call / floor per step")
    benchmark.extra_info["microseconds_per_call"] = ours()
    assert ratio < 6
