"""verifiers: a team is evaluated against an endpoint, each role with a client of its own; a conversation is a trace."""

from __future__ import annotations

import asyncio
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import verifiers.v1 as vf
from sums import BOX, total
from verifiers.v1.utils.loaders import env_config_type, load_environment

from llm_marl_envs.interop.verifiers import team_of

Problems, Team, Chat = team_of("arithmetic/eval_opt-v1", digits=1, rounds=2, memory=True, trained=["generator"])
__all__ = ["Chat", "Problems", "Team"]  # verifiers finds them by this module's name


class Model(BaseHTTPRequestHandler):
    """An endpoint with OpenAI's chat completions: a generator that is one off at first, and an evaluator that does the sum."""

    def do_POST(self) -> None:
        chat = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
        if said := BOX.findall(chat[-1]["content"]):
            text = r"\boxed{Correct}" if int(said[0]) == total(chat[-1]["content"]) else r"\boxed{Incorrect}"
        else:
            text = rf"\boxed{{{total(chat[0]['content']) + (len(chat) == 1)}}}"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "sums", "choices": [choice]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


async def evaluated(url: str, n: int) -> list[vf.Episode]:
    env = load_environment(env_config_type("verifiers_team")(taskset={"id": "verifiers_team"}))
    client = vf.EvalClientConfig(base_url=url, api_key_var="NONE")
    model = vf.ModelContext(client=client, model="sums", sampling=vf.SamplingConfig())
    async with env.serving():
        return [await env.run_slot(slot, model) for task in env.taskset.take(n) for slot in env.slots(task)]


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    Thread(target=server.serve_forever, daemon=True).start()
    episodes = asyncio.run(evaluated(f"http://127.0.0.1:{server.server_address[1]}/v1", 5))
    traces = [trace for episode in episodes for trace in episode.traces]
    seen = {(trace.agent.name, trace.num_turns, trace.agent.trainable, trace.reward) for trace in traces}
    expected = {
        ("generator", 2, True, 1.0),
        ("evaluator", 1, False, 1.0),
    }  # the generator's second turn continues its talk
    if not all(episode.ok for episode in episodes) or seen != expected or len(traces) != 10:
        raise SystemExit(
            f"expected {expected}, a trace each in 5 episodes; got {len(traces)} traces, {seen}, {episodes}"
        )
    print(f"ok: {len(episodes)} episodes, {len(traces)} conversations, reward {sum(t.reward for t in traces) / 10:.2f}")
