"""A team of a person, an endpoint and a checkpoint: `transformers serve` serves the tiny model, and the episodes are scored."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from baselines.args import TrainArgs
from baselines.engines.openai import OpenAIEngine
from baselines.engines.spoken import EnginePartner
from baselines.progress import Progress
from baselines.tiny.warm_start import tiny_model
from baselines.train import train
from baselines.types import Sampling
from leaderboard.score import score
from llm_marl_envs import make_role, make_task
from llm_marl_envs.envs.hooks import record_traces
from llm_marl_envs.partners import make_partner

SERVE = "from transformers.cli.transformers import main; main()"  # the command `transformers`, of this interpreter


def up(server: subprocess.Popen, url: str) -> bool:
    assert server.poll() is None, "the server did not start"
    try:
        return httpx.get(url.replace("/v1", "/health"), timeout=1).status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        run, traces = Path(folder, "run"), Path(folder, "eval-table.jsonl")
        model = str(tiny_model("eval_opt", make_task("arithmetic"), seed=0))
        args = TrainArgs(model=model, workflow="voting", out=run, steps=1, problems=4, eval_problems=4)
        train(args, Progress(quiet=True))
        port = str(socket.create_server(("127.0.0.1", 0)).getsockname()[1])  # a free one
        command = [sys.executable, "-c", SERVE, "serve", model, "--host", "127.0.0.1", "--port", port, "--device", "cpu"]  # fmt: skip
        server, url = subprocess.Popen(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}), f"http://127.0.0.1:{port}/v1"
        try:
            while not up(server, url):
                time.sleep(1)
            endpoint = EnginePartner(OpenAIEngine(url, model), sampling=Sampling(0.0, max_tokens=40))
            others = {"generator_0": endpoint, "aggregator": make_partner(f"run:{run}")}
            env = record_traces(make_role("arithmetic/voting-v1", "generator_1", others, votes=2), traces)
            for seed in range(10):
                env.reset(seed=seed)
                env.step(r"I would say \boxed{7}")  # the person, who is generator_1
        finally:
            server.terminate()
        (row,) = score([traces])
        assert (row.episodes, row.refused, row.failed) == (10, 0, 0), row
        print(f"ok: {row.episodes} episodes of a person, an endpoint and a checkpoint, every trace verified")
