"""Chats in numbers and numbers as texts, by hand."""

from __future__ import annotations

import zlib

import bad_workflows
import numpy as np
import pytest

from llm_marl_envs import Ask, DecisionSpace, make_workflow
from llm_marl_envs.envs.codecs import Candidates, Features, FlatText, Hashed, Infoset, Menu, TokenIds, Tokens, flat_text
from llm_marl_envs.errors import ConfigError, UnknownName, WorkflowError
from llm_marl_envs.protocol import decision_of
from llm_marl_envs.session import Play, Session
from llm_marl_envs.testing import QUESTION, check_workflow

CHAT = ({"role": "system", "content": "Hi"}, {"role": "user", "content": "ab é"})
ASK = Ask("generator_0", "ab é")


def test_a_chat_as_one_text():
    assert flat_text(CHAT) == "system: Hi\nuser: ab é"
    assert FlatText()(CHAT, ASK) == flat_text(CHAT)
    assert FlatText()((), None) == ""


def test_the_last_bytes_are_kept_and_padding_is_on_the_left():
    codec = TokenIds(5)
    assert codec(CHAT, ASK).tolist() == [98, 99, 33, 196, 170], "a, b, a space, and the two bytes of é, each plus one"
    assert TokenIds(4)(({"role": "u", "content": ""},), ASK).tolist() == [0, 118, 59, 33]
    assert codec((), None).tolist() == [0] * 5
    assert codec(({"role": "user", "content": "\ud800"},), ASK) in codec.space, "half a character is no reason to raise"
    assert codec.space.high.max() == 256


def test_ids_of_a_tokenizer():
    words = {"system:": 0, "Hi": 1, "user:": 2, "ab": 3, "é": 4}
    codec = TokenIds(7, lambda text: [words[w] for w in text.split()], size=5, dtype=np.int32)
    assert codec(CHAT, ASK).tolist() == [0, 0, 1, 2, 3, 4, 5]
    assert codec(CHAT, ASK).dtype == np.int32
    with pytest.raises(ConfigError, match="encode gave the id 4; size says that ids are 0 to 3"):
        TokenIds(7, lambda text: [words[w] for w in text.split()], size=4)(CHAT, ASK)
    with pytest.raises(ConfigError, match="length starts at 1; got 0"):
        TokenIds(0)


def test_hashed_words_are_the_same_wherever_they_run():
    codec = Hashed(4096)
    seen = codec(CHAT, ASK)
    assert (seen.sum(), seen.dtype) == (10, np.float32), "five words, from either end"
    keys = ["0:system:", "1:Hi", "2:user:", "3:ab", "4:é", "-5:system:", "-4:Hi", "-3:user:", "-2:ab", "-1:é"]
    assert np.flatnonzero(seen).tolist() == sorted(zlib.crc32(key.encode()) % 4096 for key in keys)
    other = codec((CHAT[0], {"role": "user", "content": "ab e"}), ASK)
    assert (seen != other).sum() == 4, "one word at two places"
    assert codec((), None).sum() == 0


def test_features_are_cut_and_counted():
    codec = Features(lambda messages, ask: [len(messages), 99, ask is None], 3, 0, 10)
    assert codec(CHAT, ASK).tolist() == [2, 10, 0]
    with pytest.raises(ConfigError, match=r"features of shape \(2,\); size says \(3,\)"):
        Features(lambda messages, ask: [1, 2], 3)(CHAT, ASK)


# Menus.


def test_a_menu_by_role():
    workflow = make_workflow("eval_opt")
    menu = Menu(workflow, {"generator": ["a", "b", "c"], "evaluator": ["yes", "no"]})
    assert (menu.space("generator").n, menu.space("evaluator").n) == (3, 2)
    assert menu.mask("generator", ASK).tolist() == [1, 1, 1]
    assert menu.mask("generator", None).tolist() == [1, 0, 0], "its log-prob is 0, so nothing is learned"
    assert menu.decode("generator", np.int64(2), ASK) == "c"
    same = Menu(workflow, {"generator": ["a", "b", "c"], "evaluator": ["yes", "no"]}, same_spaces=True)
    assert same.space("evaluator").n == 3
    assert same.mask("evaluator", Ask("evaluator_0", "")).tolist() == [1, 1, 0]
    assert same.decode("evaluator", 2, Ask("evaluator_0", "")) == "yes", "what is not allowed is the first that is"
    with pytest.raises(ConfigError, match=r"evaluator has no menu of its own: give texts=\{'evaluator'"):
        Menu(workflow, {"generator": ["a"]})
    with pytest.raises(UnknownName, match=r"no role of EvalOpt 'generater'\. Did you mean 'generator'"):
        Menu(workflow, {"generater": ["a"]})


def test_a_menu_of_declared_choices_allows_what_is_offered():
    swarm = make_workflow("swarm", workers=3)
    menu = Menu(swarm, {role: ["x"] for role in swarm.roster.roles if role not in ("spawner", "stopper")})
    assert menu.texts["spawner"] == ("0", "1", "2", "3")
    assert menu.texts["stopper"] == ("stop", "continue")
    assert menu.mask("spawner", Ask("spawner_0", "", choices=("0", "1"))).tolist() == [1, 1, 0, 0]
    assert menu.decode("spawner", 3, Ask("spawner_0", "", choices=("0", "1"))) == "0"
    foreign = Menu(make_workflow("solo"), ["a", "b"])
    assert foreign.mask("generator", Ask("generator_0", "", choices=("z",))).tolist() == [1, 1], "it has none of them"


def test_candidates_are_drawn_up_from_the_ask():
    codec = Candidates(lambda ask: ask.prompt.split(), 3)
    few, many, none = (Ask("m_0", prompt) for prompt in ("a b", "a b c d", ""))
    assert codec.space("m").n == 3
    assert [codec.mask("m", ask).tolist() for ask in (few, many, none, None)] == [
        [1, 1, 0],
        [1, 1, 1],
        [1, 0, 0],
        [1, 0, 0],
    ]
    assert [codec.decode("m", 2, ask) for ask in (few, many, none)] == ["a", "c", ""]
    with pytest.raises(ConfigError, match="size starts at 1"):
        Candidates(lambda ask: (), 0)


def test_symbols():
    codec = Tokens("0123456789", 3, r"\boxed{", "}")
    assert codec.space("any").nvec.tolist() == [11, 11, 11]
    assert codec.decode("any", np.array([5, 3, 0]), ASK) == r"\boxed{42}"
    assert codec.decode("any", np.array([0, 3, 4]), ASK) == r"\boxed{}"
    assert codec.decode("any", [1, 2, 3], ASK) == r"\boxed{012}"
    assert codec.mask("any", ASK) is None
    with pytest.raises(ConfigError, match="an alphabet of symbols"):
        Tokens("", 3)


# What is declared of decisions.


def test_infosets_in_numbers():
    """Stopper: round, workers, one of none, split, agree. Spawner: round, workers. Communicator: workers."""
    swarm = make_workflow("swarm")
    codec = Infoset(swarm)
    assert codec.space.shape == (8,)
    assert codec.start == {"spawner": 0, "delegator": 2, "communicator": 2, "stopper": 3, "aggregator": 8, "worker": 8}
    stopper = Ask("stopper_0", "", choices=("stop",), infoset=(2, 3, "agree"))
    assert codec((), stopper).tolist() == [0, 0, 0, 2, 3, 0, 0, 1]
    assert codec((), Ask("spawner_0", "", infoset=(1, 4))).tolist() == [1, 4, 0, 0, 0, 0, 0, 0]
    assert codec((), None).sum() == codec((), Ask("aggregator_0", "")).sum() == 0
    gates = Infoset(make_workflow("propose_review", rounds=2))
    assert gates.space.shape == (2 * (5 + 2),)
    seen = gates((), Ask("reviewercontroller_0", "", infoset=("vote_0", "last")))
    assert np.flatnonzero(seen).tolist() == [7 + 3, 7 + 5 + 1]
    with pytest.raises(ConfigError, match="no role of Solo"):
        Infoset(make_workflow("solo"))


@pytest.mark.parametrize("name", ["propose_review", "topology", "swarm"])
def test_workflows_that_decide_declare_it(name):
    workflow = make_workflow(name)
    deciding = {role for role in workflow.roster.roles if decision_of(workflow, role) != DecisionSpace()}
    assert deciding == set(workflow.decisions)
    asked = set()
    for seed in range(30):
        session = Session(Play(workflow, QUESTION, seed))
        while call := session.call:
            if isinstance(call, Ask) and (call.choices or call.infoset):
                asked.add(workflow.roster.role(call.agent))
            session.reply(
                call.choices[-1] if isinstance(call, Ask) and call.choices else "worker_0: \\boxed{1}\nworker_1: b"
            )
    assert asked == deciding


def test_what_was_not_declared_is_refused():
    space = DecisionSpace(("a", "b", "c"), (int, ("x", "y")))
    for good in (Ask("m_0", ""), Ask("m_0", "", choices=("a", "c"), infoset=(1, "y"))):
        space.check(good)
    for choices, infoset in ((("c", "a"), (1, "x")), (("d",), (1, "x")), (("a",), (1,)), (("a",), (True, "x")), (("a",), (1, "z"))):  # fmt: skip
        with pytest.raises(WorkflowError, match="declared"):
            space.check(Ask("m_0", "", choices=choices, infoset=infoset))


def test_the_contract_finds_an_undeclared_menu():
    with pytest.raises(AssertionError, match=r"UndeclaredMenu.* declares its decisions otherwise: solver_0 is offered"):
        check_workflow(bad_workflows.UndeclaredMenu(), episodes=2)
