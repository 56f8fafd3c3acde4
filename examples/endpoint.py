"""A team of a person, an endpoint and a checkpoint: `transformers serve` serves the tiny model, and the episodes are scored.

With a real model: `vllm serve Qwen/Qwen3-0.6B`, `llm-marl play --team generator_0=openai:URL aggregator=run:FOLDER`, and you.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from baselines.args import TrainArgs
from baselines.progress import Progress
from baselines.tiny.warm_start import tiny_model
from baselines.train import train
from leaderboard.score import score
from llm_marl_envs import make_role, make_task
from llm_marl_envs.envs.hooks import record_traces
from llm_marl_envs.partners import make_partner

SERVE = "from transformers.cli.transformers import main; main()"  # the command `transformers`, of this interpreter


def up(server: subprocess.Popen, url: str) -> bool:
    assert server.poll() is None, "the server did not start"
    try:
        return httpx.get(f"{url}/models", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        run, traces = Path(folder, "run"), Path(folder, "eval-table.jsonl")
        model = str(tiny_model("eval_opt", make_task("arithmetic"), seed=0))
        args = TrainArgs(model=model, workflow="voting", out=run, steps=1, problems=4, eval_problems=4)
        train(args, Progress(quiet=True))
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        command = [sys.executable, "-c", SERVE, "serve", model, "--host", "127.0.0.1", "--port", port, "--device", "cpu"]  # fmt: skip
        server, url = subprocess.Popen(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}), f"http://127.0.0.1:{port}/v1"
        try:
            while not up(server, url):
                pass
            others = {"generator_0": make_partner(f"openai:{url}#{model}"), "aggregator": make_partner(f"run:{run}")}
            env = record_traces(make_role("arithmetic/voting-v1", "generator_1", others, votes=2), traces)
            for seed in range(20):
                env.reset(seed=seed)
                env.step(r"I would say \boxed{7}")  # the person, who is generator_1
        finally:
            server.terminate()
        (row,) = score([traces])
        assert (row.episodes, row.refused, row.failed) == (20, 0, 0), row
        print(f"ok: {row.episodes} episodes of a person, an endpoint and a checkpoint, every trace verified")
