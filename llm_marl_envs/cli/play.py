"""`llm-marl play`: take a seat in a team."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from llm_marl_envs.envs.make import make
from llm_marl_envs.envs.role import partner_of, said
from llm_marl_envs.errors import AgentFailed, UnknownName
from llm_marl_envs.partners import make_team, replies_of
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.terminal import printable
from llm_marl_envs.testing import random_reply
from llm_marl_envs.traces.files import TraceWriter

OUT = Console()


def play(
    env_id: Annotated[str, tyro.conf.Positional] = "arithmetic/eval_opt-v1",
    seat: tuple[str, ...] = (),
    team: tuple[str, ...] = (),
    random: bool = False,
    script: Path | None = None,
    problem: str | None = None,
    split: str = "test",
    seed: int = 0,
    data_dir: Path | None = None,
    out: Path | None = None,
) -> None:
    """Play an environment in the terminal: you take the seats, or a script or random texts do.

    Examples: `llm-marl play`, `llm-marl play gsm8k/voting-v1 --seat aggregator_0`,
    `llm-marl play arithmetic/solo-v1 --script replies.txt --out mine.jsonl`

    Args:
        env_id: The environment; `llm-marl envs` lists them.
        seat: The agents you play; random texts play the others. Empty: you play all of them.
        team: Who plays whom, as role=partner or seat=partner: `generator=openai:http://127.0.0.1:8000/v1`, `evaluator=run:runs/latest`,
            `model:<folder or hub name>`, `script:<file>`, `random`, or what another package announces. You play the rest.
        random: Nobody plays: all texts are random.
        script: A text file with one reply per line, used in order before anybody is asked (\\n stands for a line break).
        problem: A problem's id or index; otherwise the seed picks one.
        split: The split that the problem is taken from.
        seed: Decides the problem and the random texts.
        data_dir: Folder of local data sets.
        out: Append the episode's trace to this file.
    """
    env = make(env_id, split=split, data_dir=data_dir, render_mode="human")
    for agent in seat:
        if agent not in env.possible_agents:
            raise UnknownName(f"agent of {env_id}", agent, env.possible_agents)
    roster = env.workflow.roster
    partners = make_team(roster, team)
    lines = iter(replies_of(script) if script else ())
    rng = Random(seed_of("play", seed))
    wanted = int(problem) if problem is not None and problem.isdigit() else problem
    env.reset(seed=seed, options={"problem": wanted})
    people: list[str] = []
    for agent in env.agent_iter():
        observation, _, terminated, truncated, info = env.last()
        assert observation is not None
        if terminated or truncated:
            env.step(None)
            continue
        partner = partner_of(partners, roster.role(agent), agent)
        if partner is not None and agent not in seat:
            try:
                text = said(partner(agent, observation["messages"], info), agent)
            except AgentFailed as bad:
                text = bad
            if isinstance(text, AgentFailed):
                OUT.print(f"{agent} cannot answer: {escape(printable(str(text), None))}")
                env.give_up(str(text))
            else:
                env.step(text)
            continue
        reply = next(lines, None)
        if reply is None and not random and (agent in seat or not seat):
            reply = _ask(agent, observation["messages"][-1]["content"], info["choices"])
            people.append(agent)
        env.step(random_reply(rng, info["choices"]) if reply is None else reply)
    if out is not None:
        with TraceWriter(out) as writer:
            writer.write(env.trace(entry="play", people=sorted(set(people)), **({"team": list(team)} if team else {})))
        OUT.print(f"trace appended to {out}; score it with: llm-marl score {out}")


def _ask(agent: str, prompt: str, choices: tuple[str, ...]) -> str:
    OUT.rule(f"you are {agent}")
    OUT.print(escape(printable(prompt, None, lines=True)))
    if choices:
        OUT.print(f"choices: {', '.join(choices)}")
    try:
        return input(f"{agent}> ").replace("\\n", "\n")
    except EOFError:
        raise KeyboardInterrupt("(end of input)") from None
