"""verl: an agent loop whose rows are one learner's conversation; partners play the others.

    # agent_loops.yaml, which `actor_rollout_ref.rollout.agent.agent_loop_config_path` names
    - name: generator
      _target_: baselines.interop.verl.ConversationLoop
      env_id: gsm8k/eval_opt-v1
      role: generator
      team: ["evaluator=openai:http://127.0.0.1:8000/v1"]
      knobs: {memory: true}

Rows of the data set have `agent_name`, `problem` (an id) and a prompt, in whose place is what the learner is asked. verl appends to one row,
so roles with fresh asks are refused (ConfigError).
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput

from baselines.chat import Chat
from llm_marl_envs.conversation import make_conversation
from llm_marl_envs.envs.role import Partners


class ConversationLoop(AgentLoopBase):
    """env_id, role, team, knobs: see `make_conversation`. A row that has used up `rollout.response_length` ends, and its answer counts as wrong.

    Tokens are ours, not those of verl's builder: what was sampled is kept, what others wrote has the mask 0 and never becomes control.
    """

    def __init__(
        self,
        *args: Any,
        env_id: str,
        role: str | None = None,
        team: Partners | Sequence[str] | None = None,
        knobs: Mapping[str, Any] = {},
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.env = make_conversation(env_id, role, team, **knobs)
        self.chat = Chat(self.tokenizer)
        self.chat.check_continuation()

    async def run(self, sampling_params: dict[str, Any], *, problem: str, **kwargs: Any) -> AgentLoopOutput:
        """Play one row."""
        seen, _ = await asyncio.to_thread(self.env.reset, options={"problem": str(problem)})
        prompt = self._cap_text_prompt_length(list(self.chat.open(seen["messages"])))
        most, request, ids = self.rollout_config.response_length, uuid4().hex, tuple(prompt)
        mask: list[int] = []
        logprobs: list[float] = []
        reward, over, turns = 0.0, False, 0
        while not over and len(mask) < most:
            said = await self.server_manager.generate(
                request_id=request, prompt_ids=list(ids), sampling_params=dict(sampling_params)
            )
            ids += tuple(said.token_ids)
            mask += [1] * len(said.token_ids)
            logprobs += said.log_probs or []
            turns += 1
            if len(mask) > most:
                break
            seen, reward, over, _, _ = await asyncio.to_thread(self.env.step, self.chat.decode(list(said.token_ids)))
            if not over:
                before, ids = len(ids), self.chat.follow(ids, (seen["messages"][-1],))
                mask += [0] * (len(ids) - before)
                logprobs += [0.0] * (len(ids) - before)
        return AgentLoopOutput(
            prompt_ids=prompt,
            response_ids=list(ids[len(prompt) :])[:most],
            response_mask=mask[:most],
            response_logprobs=logprobs[:most] if len(logprobs) == len(mask) else None,
            reward_score=reward if over else 0.0,
            num_turns=2 * turns,
            metrics=AgentLoopMetrics(),
            extra_fields={"turn_scores": [], "tool_rewards": []},
        )
