"""TorchRL: every form of an environment, in numbers and in texts, passes its `check_env_specs` and is played on through resets."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
from sums import KNOBS, generator, judge, one_by_one, team, total
from torchrl.data import NonTensor
from torchrl.envs import ActionMask, EnvBase, TransformedEnv
from torchrl.envs.libs.gym import GymWrapper, register_gym_spec_conversion
from torchrl.envs.libs.pettingzoo import PettingZooWrapper
from torchrl.envs.utils import check_env_specs

from llm_marl_envs import make, make_parallel, make_role, numeric
from llm_marl_envs.envs.codecs import FlatText, Hashed, Menu, TokenIds, Tokens
from llm_marl_envs.envs.spaces import UnicodeText
from llm_marl_envs.envs.symbols import TokenByToken

warnings.filterwarnings("ignore", "PettingZoo in TorchRL is tested using version")
NUMBERS = Tokens("0123456789", 2, r"\boxed{", "}")
MENU = {"generator": [rf"\boxed{{{n}}}" for n in range(19)], "evaluator": [r"\boxed{Correct}", r"\boxed{Incorrect}"]}


def view(make: Any, *who: Any) -> Any:
    return make("arithmetic/eval_opt-v1", *who, **KNOBS)


def waves(obs: Any, act: Any = NUMBERS) -> EnvBase:
    return PettingZooWrapper(numeric(view(make_parallel), obs, act), return_state=True)


register_gym_spec_conversion(UnicodeText)(lambda space, **_: NonTensor((), example_data="?"))
register_gym_spec_conversion(gymnasium.spaces.Sequence)(lambda space, **_: NonTensor((), example_data=()))
by_symbol = TokenByToken(view(make_role, "generator", judge), Hashed(64), "0123456789", 2, r"\boxed{", "}")
forms = {
    "agents one by one": PettingZooWrapper(one_by_one(), use_mask=True),
    "waves with masks and state": PettingZooWrapper(team(), return_state=True),
    "one role with masks": TransformedEnv(GymWrapper(generator(flat=False)), ActionMask()),
    "menus of two lengths": waves(Hashed(64), Menu(view(make).workflow, MENU)),
    "token ids": waves(TokenIds(128)),
    "token by token": GymWrapper(by_symbol),
    "texts seen, tokens said": waves(FlatText()),
    "texts": GymWrapper(view(make_role)),  # the whole team, ask by ask: PettingZooWrapper makes a tensor of every info
}

if __name__ == "__main__":
    episodes = 0
    for env in forms.values():
        check_env_specs(env)
        episodes += int(env.rollout(60, break_when_any_done=False)["next", "done"].sum())
    seen = forms["texts"].reset()
    for said in (rf"\boxed{{{total(seen['messages'][-1]['content'])}}}", r"\boxed{Correct}"):
        seen["action"] = said
        seen = forms["texts"].step(seen)["next"]
    assert seen["reward"].item() == 1.0
    assert episodes > 100, episodes
    print(f"ok: check_env_specs on {len(forms)} forms ({', '.join(forms)}), each played through resets")
