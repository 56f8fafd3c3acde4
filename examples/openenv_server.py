"""OpenEnv: a team behind a server; two clients with sessions apart play in turn, and their records are replayed."""

from __future__ import annotations

import socket
import threading
import time

import uvicorn
from sums import KNOBS, judge, total

from llm_marl_envs import Trace, make_role
from llm_marl_envs.interop.openenv import TeamAction, TeamClient, TeamObservation, team_app
from llm_marl_envs.traces.verify import Verifier

EPISODES = 10


def right(seen: TeamObservation) -> str:
    if seen.agent == "evaluator_0":
        return judge(seen.agent, seen.messages, seen.info)
    return rf"\boxed{{{total(seen.messages[-1]['content'])}}}"


def wrong(seen: TeamObservation) -> str:
    return r"\boxed{Correct}" if seen.agent == "evaluator_0" else r"\boxed{-1}"


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
app = team_app(make_role("arithmetic/eval_opt-v1", **KNOBS))
server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
threading.Thread(target=server.run, daemon=True).start()
while not server.started:
    time.sleep(0.05)

address, players, scores, replayed = f"http://127.0.0.1:{port}", (right, wrong), [0.0, 0.0], 0
with TeamClient(address).sync() as one, TeamClient(address).sync() as two:
    clients = one, two
    for seed in range(EPISODES):
        results = [client.reset(seed=seed, problem=seed + i) for i, client in enumerate(clients)]
        while not all(result.done for result in results):
            for i in (0, 1):  # step by step, in turn
                if not results[i].done:
                    said = TeamAction(text=players[i](results[i].observation), agent=results[i].observation.agent)
                    results[i] = clients[i].step(said)
        for i in (0, 1):
            scores[i] += results[i].reward
            found = Verifier()(Trace.from_json(clients[i].state().trace))
            assert found.outcome.team.value == results[i].reward
            replayed += found.trace.question.id.endswith(f"/{seed + i}")
server.should_exit = True
assert (scores, replayed) == ([EPISODES, 0.0], 2 * EPISODES), (scores, replayed)
print(
    f"ok: {EPISODES} episodes in each of two sessions, scores {scores[0]:.0f} and {scores[1]:.0f}, {replayed} records replayed"
)
