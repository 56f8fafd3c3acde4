"""What may differ from policy to policy (how it is trained) and from role to role (how it decodes, terms of its loss). Torch-free.

On the command line: `--per searcher.lr=1e-5 generator.temperature=0.7 weight_decay=0.01`, in a method's `presets` the same as a
mapping. A name before the dot is a policy or a role; without one, the setting is everybody's. The more specific one counts: a
role's before its policy's before everybody's; and what a person gives before what a method does before the run's defaults.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from baselines.types import Sampling
from llm_marl_envs.errors import ConfigError, UnknownName

Device = Literal["auto", "cpu", "cuda"]
Number = Literal["auto", "float32", "bfloat16"]
Checkpointing = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class Tuning:
    """How one policy is trained. alpha and dropout are those of its LoRA adapter; alpha None is twice the rank."""

    lr: float
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    alpha: float | None = None
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What a role's loss has beside its method's, per sampled token: kl times an estimate of KL(policy, the model it began as), less
    entropy times the entropy of what may be sampled."""

    kl: float = 0.0
    entropy: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.kl or self.entropy)


@dataclass(frozen=True, slots=True)
class Plan:
    """All settings of a run by policy and by role."""

    tuning: Mapping[str, Tuning] = field(default_factory=dict)
    sampling: Mapping[str, Sampling] = field(default_factory=dict)
    terms: Mapping[str, Terms] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "policies": {name: asdict(tuning) | {"betas": list(tuning.betas)} for name, tuning in self.tuning.items()},
            "roles": {
                name: s._asdict() | {"stop": list(s.stop)} | (asdict(self.terms[name]) if self.terms.get(name) else {})
                for name, s in self.sampling.items()
            },
        }


def plan(
    given: Mapping[str, Any],
    presets: Mapping[str, Any],
    *,
    by_role: Mapping[str, str],
    trained: Collection[str],
    tuning: Tuning,
    sampling: Sampling,
    adapters: bool,
) -> Plan:
    """Settings of the policies that are `trained` by gradients, and of all roles, from the run's defaults.

    Raises UnknownName for a policy, role or setting that does not exist, and ConfigError for a value that cannot be, for a
    setting of training that has no policy to train, and for an adapter's (if a person gave it) in a run without adapters.
    """
    layers = [_checked(source, by_role, trained) for source in (presets, given)]
    for key in given:
        if _split(key)[1] in ("alpha", "dropout") and not adapters:
            raise ConfigError(f"{key} is a setting of LoRA adapters; this run trains full models: add --lora-rank")

    def chosen(names: Iterable[str], kinds: Collection[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for layer in layers:
            for name in names:
                found |= {setting: value for (of, setting), value in layer.items() if of == name and setting in kinds}
        return found

    return Plan(
        {name: replaced(tuning, chosen(("", name), TRAINING)) for name in trained},
        {role: sampling._replace(**chosen(("", policy, role), DECODING)) for role, policy in by_role.items()},
        {role: Terms(**chosen(("", policy, role), LOSS)) for role, policy in by_role.items() if policy in trained},
    )


def parse(texts: Iterable[str]) -> dict[str, Any]:
    """`name.setting=value` texts; values are Python literals, or else texts."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--per takes name.setting=value, as in searcher.lr=1e-5; got {text!r}")
        if key in found:
            raise ConfigError(f"--per gives {key} twice: {found[key]!r} and {value}")
        found[key] = literal(value)
    return found


def literal(text: str) -> Any:
    """A Python literal, or else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def replaced(tuning: Tuning, changes: Mapping[str, Any]) -> Tuning:
    return Tuning(**(asdict(tuning) | dict(changes)))


def _split(key: str) -> tuple[str, str]:
    name, _, setting = key.rpartition(".")
    return name, setting


def _checked(
    source: Mapping[str, Any], by_role: Mapping[str, str], trained: Collection[str]
) -> dict[tuple[str, str], Any]:
    known = {"", *by_role, *by_role.values()}
    found = {}
    for key, value in source.items():
        name, setting = _split(key)
        if setting not in KNOWN:
            raise UnknownName("setting of a policy or role", setting, tuple(KNOWN))
        if name not in known:
            raise UnknownName("policy or role", name, known - {""})
        if setting in TRAINING and name and name not in trained:
            policy = by_role.get(name, name)
            remedy = (
                f"give it as {policy}.{setting}" if policy in trained else f"{policy!r} is not trained by gradients"
            )
            raise ConfigError(f"{setting} is a setting of policies, and {name!r} is not one that has it: {remedy}")
        if setting in LOSS and name and by_role.get(name, name) not in trained:
            raise ConfigError(f"{setting} is a term of a loss, and {name!r} is not trained by gradients")
        read, expected = KNOWN[setting]
        try:
            found[name, setting] = read(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{key} takes {expected}; got {value!r}") from None
    return found


def _number(low: float, high: float = math.inf, *, least: bool = False, most: bool = False) -> Callable[[Any], float]:
    """Reads a number between two bounds; `least` and `most` say which of them is allowed itself."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise TypeError
        if not (low < value < high or (least and value == low) or (most and value == high)):
            raise ValueError
        return float(value)

    return read


def _whole(low: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or value < low:
            raise ValueError
        return value

    return read


def _betas(value: Any) -> tuple[float, float]:
    first, second = map(_number(0, 1, least=True), value)
    return first, second


def _words(value: Any) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(word, str) and word for word in words):
        raise ValueError
    return words


TRAINING: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "lr": (_number(0), "a learning rate above 0"),
    "betas": (_betas, "two numbers from 0 to below 1, as in 0.9,0.999"),
    "weight_decay": (_number(0, least=True), "a number from 0"),
    "alpha": (_number(0), "a number above 0"),
    "dropout": (_number(0, 1, least=True), "a number from 0 to below 1"),
}
DECODING: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "temperature": (_number(0), "a temperature above 0 (sampling explores; evaluation is greedy anyway)"),
    "max_tokens": (_whole(1), "a whole number from 1"),
    "top_p": (_number(0, 1, most=True), "a share above 0 and up to 1"),
    "top_k": (_whole(0), "a whole number from 0 (all tokens)"),
    "stop": (_words, "a word, or several as in ('</answer>','</search>')"),
}
LOSS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "kl": (_number(0, least=True), "a number from 0"),
    "entropy": (_number(0, least=True), "a number from 0"),
}
KNOWN = {**TRAINING, **DECODING, **LOSS}
