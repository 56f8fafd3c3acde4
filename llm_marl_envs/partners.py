"""Who plays a seat that nobody in this process trains: a name, or `name:argument`, such as `openai:http://127.0.0.1:8000/v1`.

Names come from the entry-point group `llm_marl.partners`; each makes a partner of its argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from random import Random
from typing import Any

from llm_marl_envs.catalog import load
from llm_marl_envs.envs.role import Partner
from llm_marl_envs.errors import ConfigError, DataError, UnknownName
from llm_marl_envs.protocol import Roster
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Message
from llm_marl_envs.testing import random_reply

GROUP = "llm_marl.partners"


def make_partner(spec: str) -> Partner:
    """The partner that `name` or `name:argument` says. UnknownName if no distribution announces it."""
    name, _, argument = spec.partition(":")
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        raise UnknownName("partner", name, points)
    make: Callable[[str], Partner] = load(points[name])
    return make(argument)


def make_team(roster: Roster, given: Sequence[str]) -> dict[str, Partner]:
    """Partners of `role=partner` or `seat=partner` texts, each partner made once. ConfigError for anything else."""
    team: dict[str, Partner] = {}
    made: dict[str, Partner] = {}
    for text in given:
        who, equals, spec = text.partition("=")
        if not equals or not spec:
            raise ConfigError(
                f"a team is role=partner or seat=partner, as in evaluator=openai:http://127.0.0.1:8000/v1; got {text!r}"
            )
        if who not in roster.roles and who not in roster:
            raise UnknownName("role or seat", who, (*roster.roles, *roster.names))
        if who in team:
            raise ConfigError(f"{who} has two partners; the second is {spec!r}")
        if spec not in made:
            made[spec] = make_partner(spec)
        team[who] = made[spec]
    return team


def replies_of(path: Path) -> list[str]:
    """The replies of a script: one a line, with \\n for a line break."""
    try:
        return [line.replace("\\n", "\n") for line in path.read_text("utf-8").rstrip("\n").split("\n")]
    except FileNotFoundError:
        raise DataError(f"no script {path}; expected a text file with one reply per line") from None
    except UnicodeDecodeError as bad:
        raise DataError(f"{path} is not UTF-8 ({bad.reason} at byte {bad.start}); save it as UTF-8") from None
    except OSError as bad:
        raise DataError(f"{path} cannot be read: {bad.strerror}") from None


def random(argument: str) -> Partner:
    """Random texts, garbage among them: the same ones to the same chat. The argument is a seed."""
    if argument and not argument.lstrip("-").isdigit():
        raise ConfigError(f"random takes a seed, as in random:7; got {argument!r}")

    def speak(agent: str, messages: tuple[Message, ...], info: dict[str, Any]) -> str:
        return random_reply(Random(seed_of("partner", argument, agent, messages)), info["choices"])

    return speak


def script(argument: str) -> Partner:
    """The lines of a UTF-8 file, in order and from the first again after the last; \\n in a line is a line break."""
    lines = replies_of(Path(argument))
    spoken = 0

    def speak(agent: str, messages: tuple[Message, ...], info: dict[str, Any]) -> str:
        nonlocal spoken
        spoken += 1
        return lines[(spoken - 1) % len(lines)]

    return speak
