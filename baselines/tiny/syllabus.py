"""Which lessons a (task, workflow) gets: one table. No binary is shipped, and no lesson either: experts play them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from baselines.tiny.experts import Experts
from baselines.tiny.experts.atlas import Readers
from baselines.tiny.experts.snippets import Programmers
from baselines.tiny.recipe import Copying, Course, Recipe
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.protocol import Ask, Workflow
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Play, Session
from llm_marl_envs.spec import make_workflow
from llm_marl_envs.task import Problem, Task
from llm_marl_envs.tasks.arithmetic import Arithmetic
from llm_marl_envs.tasks.atlas import Atlas
from llm_marl_envs.tasks.snippets import Snippets
from llm_marl_envs.tools.run import use_tool
from llm_marl_envs.workflows.search_answer import SearchAnswer

Calls = tuple[tuple[str, str], ...]  # (prompt, reply) after (prompt, reply): one conversation of one agent


@dataclass(frozen=True, slots=True)
class Syllabus:
    """A task, the recipe of its models, and the workflows that have lessons of their own; all others start from the first one's
    model, and so does `solo`: the single-agent control and the team begin with the same weights. together: the tokenizer knows the
    prompts of all of them, so that a run of one can be evaluated in another; where prompts are many, it knows its own alone. steps: of
    workflows in which fewer lessons are about the task itself than in most, so that they take more of them."""

    task: type[Task]
    recipe: Recipe
    workflows: tuple[str, ...]
    together: bool = False
    steps: Mapping[str, int] = field(default_factory=dict)

    def recipe_for(self, workflow: str) -> Recipe:
        """Further steps are added before the rate has fallen as far as in the others."""
        more = self.steps.get(workflow, self.recipe.steps) - self.recipe.steps
        return replace(self.recipe, steps=self.recipe.steps + more, horizon=self.recipe.horizon + more)


READING = Recipe(
    vocab=1_024, apart=True, init=0.06, copying=Copying(), steps=600, horizon=900, warmup=20, alike=16, experts=Readers(),
    then=Course(90, 91, 10, 1e-3, 1_500, Readers(noise=0.03, slip=0.6), alike=16),
)  # fmt: skip
PROGRAMMING = Recipe(vocab=1_024, steps=520, horizon=560, alike=16, experts=Programmers())
SYLLABI = (
    Syllabus(
        Arithmetic, Recipe(),
        ("eval_opt", "voting", "orch_workers", "propose_review", "solve_verify", "debate", "mixture", "chain", "topology", "swarm"),
        together=True, steps={"propose_review": 550},
    ),
    Syllabus(Atlas, READING, ("search_answer", "rewrite_rerank_answer")),
    Syllabus(Snippets, PROGRAMMING, ("eval_opt", "voting", "orch_workers", "code_and_tests")),
)  # fmt: skip

# Knobs that change what agents are asked in every episode: lessons have them as the run does. All others are at their defaults in
# lessons, so that a study of knobs, or a method that trains with others than it is tested with, has one start for all.
ASKED: Mapping[str, tuple[str, ...]] = {"eval_opt": ("refine", "memory"), "search_answer": ("style", "tag", "turns")}


def syllabus_of(task: Task) -> Syllabus:
    """Raises ConfigError for a task that there are no lessons for."""
    for syllabus in SYLLABI:
        if isinstance(task, syllabus.task):
            return syllabus
    known = ", ".join(syllabus.task.__name__.lower() for syllabus in SYLLABI)
    raise ConfigError(
        f"the embedded model has lessons for {known}, none for {type(task).__name__}. Choose one of these tasks, or a model that "
        "was trained elsewhere: --model Qwen/Qwen3-0.6B, for example"
    )


def taught(syllabus: Syllabus, workflow: str) -> str:
    """The workflow whose lessons a team of this workflow starts from."""
    return workflow if workflow in syllabus.workflows else syllabus.workflows[0]


def variants(workflow: str, knobs: Mapping[str, Any]) -> Sequence[Workflow]:
    """What lessons are played in, in turn."""
    asked = {name: value for name, value in knobs.items() if name in ASKED.get(workflow, ())}
    played = make_workflow(workflow, **asked)
    if isinstance(
        played, SearchAnswer
    ):  # a quarter as some methods train: asked after every search, and allowed to decline
        return (played, played, played, replace(played, abstain=True, every_turn=True))
    return (played,)


def lessons(
    workflows: Sequence[Workflow], problems: Sequence[Problem], task: Task, experts: Experts, *names: object
) -> list[Calls]:
    """All conversations of one expert episode for each problem; `names` are of the episodes' seeds."""
    found: list[Calls] = []
    tools = task.tools if any(getattr(workflow, "needs", ()) for workflow in workflows) else {}
    for i, problem in enumerate(problems):
        rng = Random(seed_of(*names, i))
        session = Session(Play(workflows[i % len(workflows)], problem.question, i))
        talks: dict[str, list[tuple[str, str]]] = {}
        while session.waiting:
            call = session.waiting[0]
            if not isinstance(call, Ask):
                use_tool(session, tools)
                continue
            reply = experts.say(session, call, task, problem, rng)
            if call.fresh and call.agent in talks:
                found.append(tuple(talks.pop(call.agent)))
            talks.setdefault(call.agent, []).append((call.prompt, reply))
            session.reply(reply)
        assert session.answer is not None, session.why
        found += map(tuple, talks.values())
    return found
