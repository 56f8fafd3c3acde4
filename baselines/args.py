"""The settings of a training run. Torch-free, so that `llm-marl --help` is quick."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from baselines.settings import Checkpointing, Device, Number, Plan, Tuning, literal, parse, plan
from baselines.tiny.sizes import SIZES
from baselines.types import Sampling
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.spec import share_knobs

SAMPLED = Sampling(0.7, 40)  # in training, where neither a person nor the method says otherwise


@dataclass(frozen=True)
class TrainArgs:
    """Train a team of language models. The defaults train the embedded tiny model on a laptop in about a minute.

    For a real model on a GPU, for example: --model Qwen/Qwen3-0.6B --task gsm8k --lora-rank 32 --max-tokens 1024
    --problems 64 --steps 300 --temperature 1.0
    """

    task: str = "arithmetic"
    """Task name; `llm-marl envs` lists them."""
    workflow: str = "eval_opt"
    """Workflow name: who speaks when. `solo` is the single-agent control."""
    method: str = "shared"
    """How to train: shared, isolated, tracer, dac; the controls shuffled and random_credit; prompted and self_consistency (no
    training); or one that another package announces. `llm-marl envs` lists them."""
    set: tuple[str, ...] = ()
    """Knobs of the task, workflow or method, as name=value: --set digits=3 rounds=2 std=True."""
    per: tuple[str, ...] = ()
    """Settings of a policy or role, as name.setting=value, or of all: --per searcher.lr=1e-5 generator.temperature=0.7 top_p=0.95.
    Of policies: lr, betas, weight_decay, and of LoRA adapters alpha and dropout; of roles: temperature, max_tokens, top_p, top_k, stop,
    and the weights in their loss of kl (to the model it began as) and entropy."""
    model: str = "tiny"
    """Hub name or local folder of a causal language model with a chat template; `tiny` is built and warm-started here,
    `tiny-0.3m` and `tiny-3m` with a third and three times its parameters."""
    lora_rank: int = 0
    """0 trains all weights, one full copy per policy; r > 0 trains a LoRA adapter of rank r per policy on one backbone."""
    team: tuple[str, ...] = ()
    """Roles that are played by others and are not trained, as role=partner: --team evaluator=openai:http://127.0.0.1:8000/v1, or
    run:<run folder>, model:<folder or hub name>, script:<file>, random, or what another package announces."""
    reward: str = "team"
    """The reward of each agent at the end of an episode: team, own, minus_cost, dac, process, tool_use, verifier, orchestration or
    hybrid (docs/rewards.md), or your.module:rule."""
    steps: int = 100
    """Optimizer steps."""
    problems: int = 16
    """Problems per step."""
    samples: int = 8
    """Episodes per problem: the group that advantages are relative to."""
    temperature: float | None = None
    """Sampling temperature in training; by default the method's, or 0.7. Evaluation is greedy."""
    max_tokens: int | None = None
    """Maximum number of new tokens per reply; by default the method's, or 40. Raise it for real models."""
    thinking: bool = False
    """Have models think whose chat template can switch it on (`enable_thinking`). Thinking counts as tokens, not as answer."""
    system: str = ""
    """A system prompt for all agents."""
    max_calls: int = 64
    """Maximum number of calls per episode; more is TRUNCATED."""
    lr: float | None = None
    """Peak learning rate; by default 1.5e-4 for tiny, 2e-5 with LoRA, 1e-6 for other full models."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls, to 5% of its peak at the last step."""
    warmup: int = 0
    """Steps of linear warm-up; fewer than --steps."""
    updates: int = 1
    """Times that each batch is gone through; 1 is on-policy."""
    minibatches: int = 1
    """Parts of a batch, each an optimizer step; cut anew each time."""
    micro_tokens: int = 4096
    """Tokens per forward pass in learning, padding included. Changes memory, not results."""
    checkpointing: Checkpointing = "auto"
    """Compute layers again in the backward pass: a third more time, a tenth of the memory. auto does so on a card where it is needed."""
    clip_grad: float = 1.0
    """Largest gradient norm."""
    eval_every: int = 20
    """Steps between evaluations (also before the first step and after the last)."""
    eval_problems: int = 400
    """Held-out problems per evaluation."""
    eval_split: str = ""
    """Split to evaluate on; by default `test`."""
    validation_problems: int | None = None
    """Problems per evaluation that choose the best checkpoint, which is kept in checkpoints/best: of the split `validation`, or else
    held out of `train`; by default a quarter of --eval-problems. 0: none, and no best checkpoint."""
    match: str = ""
    """A run folder beside --out (or its path), whose training generated as many tokens as this one's shall: on the same problems, with
    more or fewer episodes per problem from step to step."""
    checkpoint_every: int = 20
    """Steps between checkpoints."""
    trace_every: int = 20
    """Steps between training batches whose episodes are written to traces/ (0: never)."""
    seed: int = 0
    """Decides everything random: problems, sampling, and the tiny model's weights and lessons."""
    device: Device = "auto"
    """auto takes CUDA if there is one."""
    dtype: Number = "auto"
    """Numbers to compute in. auto is bfloat16 on CUDA, and for models that gain by it on CPUs that multiply it in hardware (AMX or
    AVX512-BF16). What is trained is kept in float32 in any case."""
    threads: int = 2
    """CPU threads."""
    out: Path = Path("runs/latest")
    """Run folder."""
    resume: bool = False
    """Continue the run in --out after an interruption."""

    def __post_init__(self):
        positive = (
            "steps",
            "problems",
            "samples",
            "max_tokens",
            "updates",
            "minibatches",
            "micro_tokens",
            "eval_every",
            "checkpoint_every",
            "threads",
        )
        for name in positive:
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} starts at 1; got {value}")
        if (self.validation_problems or 0) < 0:
            raise ConfigError(f"--validation-problems starts at 0; got {self.validation_problems}")
        if self.temperature is not None and self.temperature <= 0:
            raise ConfigError(f"--temperature in training must be above 0 (sampling explores); got {self.temperature}")

    @property
    def validated(self) -> int:
        """Validation problems per evaluation."""
        return self.eval_problems // 4 if self.validation_problems is None else self.validation_problems

    @property
    def learning_rate(self) -> float:
        if self.lr is not None:
            return self.lr
        return 1.5e-4 if self.model in SIZES else 2e-5 if self.lora_rank else 1e-6

    def plan(self, presets: Mapping[str, Any], by_role: Mapping[str, str], trained: Collection[str]) -> Plan:
        """The settings of every policy and role: those of `--per`, before `--lr`, `--temperature` and `--max-tokens` where they
        are given, before a method's `presets`, before the defaults."""
        named = {"lr": self.lr, "temperature": self.temperature, "max_tokens": self.max_tokens}
        return plan(
            {k: v for k, v in named.items() if v is not None} | parse(self.per), presets,
            by_role=by_role, trained=trained, tuning=Tuning(self.learning_rate), sampling=SAMPLED,
            adapters=self.lora_rank > 0,
        )  # fmt: skip

    def knobs(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """`set` sorted into the task's, the workflow's and the method's knobs."""
        return sort_knobs(self.set, self.task, self.workflow, self.method)


def args_of(run: Path) -> TrainArgs:
    """The settings of a run folder, as its args.json has them."""
    stored = json.loads((run / "args.json").read_text())
    known = {f.name for f in dataclasses.fields(TrainArgs)}
    settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items() if k in known}
    return TrainArgs(**settings, out=run)


def named(given: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The names and values of name=value texts. ConfigError for anything else."""
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set takes name=value; got {text!r}")
        yield name, value


def sort_knobs(
    given: tuple[str, ...], task: str, workflow: str, method: str | None = None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """name=value texts into knobs of the task, the workflow and the method. Values are Python literals, or else texts."""
    from baselines.methods import find_method

    of_method: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    names = {f.name for f in dataclasses.fields(find_method(method))} if method else set()
    for name, value in named(given):
        (of_method if name in names else rest)[name] = literal(value)
    of_task, of_workflow = share_knobs(task, workflow, rest)
    return of_task, of_workflow, of_method
