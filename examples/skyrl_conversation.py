"""SkyRL-Gym: the generator's conversation with an evaluator that is always right, a row at a time, as SkyRL's generator plays it."""

from __future__ import annotations

import skyrl_gym
from sums import judge, total

from llm_marl_envs import make_task

KNOBS = {"digits": 1, "train_size": 30, "rounds": 2, "memory": True}
CONFIG = {"env_id": "arithmetic/eval_opt-v1", "role": "generator", "team": {"evaluator": judge}, "knobs": KNOBS}


def reply(messages: list[dict[str, str]]) -> str:
    """A policy that is 0, 1 or 2 too high in its first turn, and in each further turn one lower."""
    right = total(messages[0]["content"])
    return rf"\boxed{{{right + right % 3 - len(messages) // 2}}}"


if __name__ == "__main__":
    skyrl_gym.register("llm_marl", entry_point="llm_marl_envs.interop.skyrl:ConversationTextEnv")
    problems = make_task("arithmetic", digits=1, train_size=30).problems("train")
    off, turns, rewards = [total(problem.question.text) % 3 for problem in problems], [], []
    for problem in problems:
        env = skyrl_gym.make("llm_marl", env_config=CONFIG, extras={"problem": problem.question.id})
        row, _ = env.init([])
        done = False
        while not done:
            row.append({"role": "assistant", "content": reply(row)})
            out = env.step(row[-1]["content"])
            row += out["observations"]  # a row only grows
            done = out["done"]
        session = env.env.session  # what was played, as our trace has it
        own = [event for event in session.events if getattr(event.call, "agent", "") == "generator_0" and event.reply]
        talk = [text for call, said, _ in own for text in (call.prompt, said.text)]
        if [message["content"] for message in row] != talk:
            raise SystemExit(f"the row {row} is not the conversation {talk}")
        turns.append(len(own))
        rewards.append(out["reward"])
    if turns != [min(n + 1, 2) for n in off] or rewards != [float(n < 2) for n in off]:
        raise SystemExit(f"who is {off} too high has as many turns more, two at most; got {turns} and {rewards}")
    print(f"ok: {len(turns)} rows of {sum(turns)} turns as in our trace, reward {sum(rewards) / len(rewards):.2f}")
