"""PettingZoo environments in which language-model roles are the agents and texts are the actions.

env = llm_marl_envs.make("arithmetic/eval_opt-v1")
env.reset(seed=0)
for agent in env.agent_iter():
    observation, reward, termination, truncation, info = env.last()
    env.step(None if termination or truncation else my_model(observation["messages"]))
"""

from llm_marl_envs.envs.aec import WorkflowEnv
from llm_marl_envs.envs.hooks import record_traces, shape_rewards
from llm_marl_envs.envs.make import make, make_parallel, make_role, make_vec, register
from llm_marl_envs.envs.numeric import numeric
from llm_marl_envs.envs.parallel import WaveEnv
from llm_marl_envs.envs.role import RoleEnv
from llm_marl_envs.envs.vector import VecEnv
from llm_marl_envs.errors import LLMMarlError, ReplayMismatch
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.protocol import Ask, Claim, DecisionSpace, Malformed, Roster, Spawn, Stop, UseTool, together
from llm_marl_envs.rewards import minus_cost, own, team
from llm_marl_envs.session import Limits, Play, Session, Status
from llm_marl_envs.spec import EnvSpec, env_ids, make_task, make_workflow
from llm_marl_envs.task import Problem, Question, Score
from llm_marl_envs.traces.files import TraceWriter, read_traces
from llm_marl_envs.traces.trace import Trace

__all__ = [
    "Ask",
    "Claim",
    "DecisionSpace",
    "EnvSpec",
    "LLMMarlError",
    "Limits",
    "Malformed",
    "Outcome",
    "Play",
    "Problem",
    "Question",
    "ReplayMismatch",
    "RoleEnv",
    "Roster",
    "Score",
    "Session",
    "Spawn",
    "Status",
    "Stop",
    "Trace",
    "TraceWriter",
    "UseTool",
    "VecEnv",
    "WaveEnv",
    "WorkflowEnv",
    "env_ids",
    "make",
    "make_parallel",
    "make_role",
    "make_task",
    "make_vec",
    "make_workflow",
    "minus_cost",
    "numeric",
    "own",
    "read_traces",
    "record_traces",
    "register",
    "shape_rewards",
    "team",
    "together",
]
