"""Inspect AI: a team as an Inspect task with a model for each role; its accuracy is ours, and the log's records are replayed."""

from __future__ import annotations

import tempfile
from random import Random

from inspect_ai import eval
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.model import Model, ModelOutput, ModelUsage, get_model
from sums import KNOBS, judge, total

from llm_marl_envs import WaveEnv, make_parallel
from llm_marl_envs.interop.inspect_team import team_task, traces
from llm_marl_envs.traces.verify import Verifier


def generator(seen: str) -> str:
    """Right in half of its attempts; which, the text decides."""
    return rf"\boxed{{{total(seen) + Random(seen).choice((0, 0, 1, 2))}}}"


def evaluator(seen: str) -> str:
    return judge("evaluator_0", [{"content": seen}], {})


def model(role: str) -> Model:
    """A model of Inspect's that needs no server. Where its output says its usage, nothing is downloaded to count tokens."""

    def answer(messages, tools, tool_choice, config) -> ModelOutput:
        output = ModelOutput.from_content("mockllm/model", ROLES[role](messages[-1].text))
        output.usage = ModelUsage()
        return output

    return get_model("mockllm/model", custom_outputs=answer)


def played(env: WaveEnv, problem: int) -> float:
    """The same team's score in a PettingZoo loop."""
    env.reset(seed=0, options={"problem": problem})
    while asks := env.asks():
        env.step({agent: ROLES[agent.removesuffix("_0")](ask.prompt) for agent, ask in asks.items()})
    return env.outcome.team.value


ROLES = {"generator": generator, "evaluator": evaluator}
env = make_parallel("arithmetic/eval_opt-v1", **KNOBS)
with tempfile.TemporaryDirectory() as folder:
    eval(team_task(env), model=None, model_roles={role: model(role) for role in ROLES}, log_dir=folder, display="none")
    log = read_eval_log(list_eval_logs(folder)[0])
assert log.status == "success", log.error
n, accuracy = len(log.samples), log.results.scores[0].metrics["accuracy"].value
ours = sum(played(env, problem) for problem in range(n)) / n
again = sum(Verifier()(trace).outcome.team.value for trace in traces(log)) / n
assert abs(accuracy - ours) + abs(accuracy - again) < 1e-9, (accuracy, ours, again)
print(
    f"ok: accuracy {accuracy:.3f} of {n} samples in Inspect's log, in a PettingZoo loop and in the log's traces replayed"
)
