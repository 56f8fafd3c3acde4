"""A member of the team that does nothing useful: which figure shows it, and that training unlearns or bypasses it.

(`test_tracer.py` has gates that pass over a reviewer that always says RIGHT, or lies.)
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest
from test_dac import NONE, ONE, RIGHT, TWO, collect
from test_diagnostics import play
from test_tracer import TASK, speak, team

from baselines.diagnostics import diagnose
from baselines.methods import make_method
from baselines.rollout import groups, rollout
from baselines.types import Request
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.stats.figures import team_figures


def drafts(request: Request) -> str:
    """A generator that is right half of the time, and an evaluator that tells."""
    prompt = request.messages[0]["content"]
    a, b = map(int, re.search(r"(\d+) \+ (\d+)", prompt).groups())  # type: ignore[union-attr]
    if request.ask.agent == "generator_0":
        return f"\\boxed{{{a + b + (Random(seed_of('draft', request.seed)).random() < 0.5)}}}"
    return "\\boxed{Correct}" if f"\\boxed{{{a + b}}}" in prompt else "\\boxed{Incorrect}"


def agrees(request: Request) -> str:
    return "\\boxed{Correct}" if request.ask.agent == "evaluator_0" else drafts(request)


def test_an_evaluator_that_always_agrees_shows_in_what_it_rejects():
    found = {}
    for say in (drafts, agrees):
        episodes = play(say)
        found[say] = team_figures([e.outcome for e in episodes]) | diagnose(episodes, {})
    good, bad = found[drafts], found[agrees]
    assert (good["reject_if_wrong"], good["accept_if_right"]) == (1, 1)
    assert (bad["reject_if_wrong"], bad["accept_if_right"]) == (0, 1)
    assert good["own_score/evaluator"] == 1
    assert bad["own_score/evaluator"] == bad["first_draft"] < 0.8, "it is right where the draft is"
    assert bad["calls"] == 2 < good["calls"]


def test_a_reviewer_that_always_agrees_has_candidates_without_signal_one_that_lies_a_low_score():
    """All that the first could have said is worth the same, for it always says the same."""

    def yes(request: Request) -> str:
        return "RIGHT" if request.ask.agent.startswith("reviewer") else speak(request)

    def lies(request: Request) -> str:
        return {"RIGHT": "WRONG", "WRONG": "RIGHT"}.get(said := speak(request), said)

    def figures(say) -> dict[str, float]:
        method = make_method("tracer")
        workflow, route, engine, _ = team(method, say)
        starts = groups(workflow, TASK.problems("train")[:12], 1, 0)

        def play(starts):
            return rollout(starts, route, engine, TASK)

        episodes = method.collect(starts, play, TASK)  # type: ignore[arg-type]
        return diagnose(episodes, method.credit(episodes, {}, 0))

    silent = {say: figures(say) for say in (speak, yes, lies)}
    assert silent[lies]["own_score/reviewer"] < 0.2 < 0.8 < silent[speak]["own_score/reviewer"]
    assert silent[yes]["zero_variance/reviewer"] == 1
    assert silent[speak]["zero_variance/reviewer"] < 0.9
    assert silent[yes]["zero_variance/proposer"] < 0.9


def test_a_searcher_that_never_finds_shows_in_its_own_score_and_in_alpha():
    method, found = make_method("dac", answers=2, whiten=False), {}
    for name, searches in (("good", [ONE, TWO, "<stop>"]), ("saboteur", [NONE, NONE, NONE])):
        episodes, _ = collect(method, searches, [RIGHT] * 9)
        found[name] = diagnose(episodes, {}) | dict(method.figures(episodes))
    assert found["good"]["own_score/searcher"] > 0
    assert found["good"]["stackelberg_alpha"] == 0
    assert (found["saboteur"]["own_score/searcher"], found["saboteur"]["stackelberg_alpha"]) == (0, 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """The toy's model, in which the judge (right) nearly always says B; and one in which the searcher (left) does."""
    torch = pytest.importorskip("torch")
    from two_answers import PROMPTS, make_model

    from baselines.chat import Chat
    from baselines.policies import load_model, load_tokenizer

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("saboteurs")
    base, made = make_model(root / "base"), []
    for agent, other in (("right_0", "left_0"), ("left_0", "right_0")):
        model, tokenizer = load_model(str(base), torch.float32), load_tokenizer(str(base))
        chat, optimizer = Chat(tokenizer), torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(80):
            loss = torch.tensor(0.0)
            for prompt, reply in ((PROMPTS[agent], "B"), (PROMPTS[other], "A"), (PROMPTS[other], "B")):
                ids = chat.open(({"role": "user", "content": prompt},))
                target = (*tokenizer(reply)["input_ids"], tokenizer.eos_token_id)
                logits = model(input_ids=torch.tensor([ids + target])).logits[0, len(ids) - 1 : -1]
                loss = loss + torch.nn.functional.cross_entropy(logits, torch.tensor(target))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.save_pretrained(root / agent)
        tokenizer.save_pretrained(root / agent)
        made.append(root / agent)
    return made[0], made[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shared", "isolated"])
def test_a_judge_that_always_says_the_same_is_unlearned(folders, name):
    from test_two_answers import Flipped, train

    before, after = train(folders[0], make_method(name), steps=30)
    assert before["right"] < 0.1, "the saboteur"
    assert after["right"] > 0.8, (before, after)
    if name == "shared":
        _, flipped = train(folders[0], Flipped(), steps=30)
        assert flipped["right"] < before["right"]


@pytest.mark.slow
def test_a_searcher_that_never_finds_is_unlearned(folders):
    from test_dac_learning import ToyDac, learn

    before, after, _ = learn(folders[1], ToyDac(), steps=30)
    assert before["searcher"] < 0.1, "the saboteur"
    assert after["searcher"] > 0.8, (before, after)
