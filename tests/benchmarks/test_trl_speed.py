"""A training step against TRL's GRPOTrainer: the same weights, problems, group sizes and reward, in CPU seconds per sampled token.

TRL's step is timed as it runs, ours between its steps, so that a busy machine slows both alike. The learning rate is next to
nothing, so both sample from the same policy all the time. TRL computes every reply; once we do so too, for no advantage is 0, and
otherwise we skip what teaches nothing: the more, the more alike the replies of a group are, so at two temperatures, 1 and what
`llm-marl train` takes by default.
"""

from __future__ import annotations

import time
import warnings
from statistics import median

import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl", reason="TRL is a test-only dependency (the dev extra)")

from transformers import AutoModelForCausalLM, TrainerCallback  # noqa: E402

from baselines.args import TrainArgs  # noqa: E402
from baselines.batch import to_samples  # noqa: E402
from baselines.learner import Learner  # noqa: E402
from baselines.policies import load_tokenizer  # noqa: E402
from baselines.progress import Progress  # noqa: E402
from baselines.rollout import groups, libraries_kept  # noqa: E402
from baselines.team import Team  # noqa: E402

PROBLEMS, SAMPLES, MOST, STEPS = 16, 8, 40, 6
RATE = 1e-8
THREADS = 1


class Ours:
    """Steps of `shared` on `solo`."""

    def __init__(self, folder, out, skips: bool, temperature: float | None):
        self.skips = skips
        self.args = TrainArgs(
            workflow="solo", model=str(folder), lr=RATE, problems=PROBLEMS, samples=SAMPLES, max_tokens=MOST,
            temperature=temperature, steps=100, schedule="constant", device="cpu", threads=THREADS, out=out,
        )  # fmt: skip
        self.team = Team(self.args, Progress(quiet=True))
        self.learner = Learner(
            self.team.policies, self.team.settings, self.team.method.loss, self.team.chat.pad_id, self.team.plan.terms
        )
        self.problems = self.team.task.problems("train")
        self.skipped: list[float] = []

    def step(self, step: int) -> tuple[float, float, int]:
        """CPU seconds of generation and of the update, and tokens that were sampled."""
        began = time.process_time()
        batch = self.problems[step * PROBLEMS : (step + 1) * PROBLEMS]
        episodes = self.team.play(groups(self.team.practice, batch, SAMPLES, step, self.team.limits))
        played = time.process_time()
        credit = self.team.method.credit(episodes, {}, step)
        if not self.skips:
            credit = {place: advantage or (-1.0) ** i for i, (place, advantage) in enumerate(credit.items())}
        samples = to_samples(episodes, credit)
        self.learner.update(samples, step)
        done = time.process_time()
        spans = [span for sample in samples for span in sample.spans]
        self.skipped.append(sum(not span.teaches for span in spans) / len(spans))
        return played - began, done - played, sum(span.end - span.start for span in spans)


def theirs(folder, out, temperature: float, reward, prompts, between) -> list[tuple[float, float, int]]:
    """The same figures of TRL's steps; `between(step)` is called after each."""
    from datasets import Dataset

    found: list[tuple[float, float, int]] = []
    tokenizer = load_tokenizer(str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TRL's and transformers' own deprecations
        config = trl.GRPOConfig(
            output_dir=str(out), use_cpu=True, report_to=[], bf16=False, beta=0.0, loss_type="bnpo", temperature=temperature,
            num_generations=SAMPLES, per_device_train_batch_size=PROBLEMS * SAMPLES, max_completion_length=MOST,
            gradient_checkpointing=False, learning_rate=RATE, max_steps=STEPS, lr_scheduler_type="constant",
            logging_steps=1000, save_strategy="no", disable_tqdm=True, top_p=1.0, top_k=0, shuffle_dataset=False,
        )  # fmt: skip
        trainer = trl.GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            reward_funcs=reward,
            args=config,
            train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": p}]} for p in prompts]),
            processing_class=tokenizer,
        )
        generate, taken = trainer._generate_and_score_completions, {}

        def timed(inputs):
            began = time.process_time()
            made = generate(inputs)
            taken["generation"] = time.process_time() - began
            taken["tokens"] = int(made["completion_mask"].sum())
            return made

        trainer._generate_and_score_completions = timed

        class Clock(TrainerCallback):
            def on_step_begin(self, args, state, control, **_):
                taken["began"] = time.process_time()

            def on_step_end(self, args, state, control, **_):
                whole = time.process_time() - taken["began"]
                found.append((taken["generation"], whole - taken["generation"], taken["tokens"]))
                between(state.global_step)

        trainer.add_callback(Clock())
        trainer.train()
    return found


@pytest.fixture(scope="module")
def folder():
    from baselines.team import resolve_model
    from llm_marl_envs import make_task

    torch.set_num_threads(THREADS)
    return resolve_model("tiny", "solo", make_task("arithmetic"), 0, Progress(quiet=True))


CASES = {"every advantage nonzero": (False, 1.0), "as run, temperature 1": (True, 1.0), "as run": (True, None)}


@pytest.mark.parametrize(("skips", "temperature"), CASES.values(), ids=CASES)
def test_a_step_against_trl(benchmark, folder, tmp_path, skips, temperature):
    ours = Ours(folder, tmp_path / "ours", skips, temperature)
    problems = ours.problems[: PROBLEMS * STEPS]
    gold = {p.question.text: p for p in problems}

    def reward(prompts, completions, **_):
        texts = [c[0]["content"] for c in completions]
        asked = [next(q for q in gold if q in p[0]["content"]) for p in prompts]
        return [ours.team.task.grade(gold[q], text).value for q, text in zip(asked, texts, strict=True)]

    prompts = [f"{p.question.text}\n{p.question.answer_format}" for p in problems]
    mine: list[tuple[float, float, int]] = []
    with libraries_kept():
        drawn = next(iter(ours.team.plan.sampling.values())).temperature
        others = theirs(folder, tmp_path / "theirs", drawn, reward, prompts, lambda step: mine.append(ours.step(step)))
    assert len(mine) == len(others) == STEPS
    assert (max(ours.skipped) > 0) is skips
    pairs = list(zip(mine[1:], others[1:], strict=True))  # the first of each warms up

    def ratio(*parts: int) -> float:
        """Ours over theirs: sampled tokens per CPU second of these parts of a step."""
        return median((sum(b[i] for i in parts) / b[2]) / (sum(a[i] for i in parts) / a[2]) for a, b in pairs)

    figures = {"update": ratio(1), "generation and grading": ratio(0), "whole step": ratio(0, 1)}
    benchmark.extra_info |= figures
    tokens = [median(x[2] for x in side) for side in (mine, others)]
    skipped = f", {100 * median(ours.skipped):.0f}% of replies skipped"
    print(
        f"\ntimes TRL's tokens per CPU second: {', '.join(f'{k} {v:.2f}' for k, v in figures.items())}{skipped}; tokens a step {tokens}"
    )
    benchmark.pedantic(lambda: ours.step(0), rounds=1)
