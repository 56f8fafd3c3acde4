"""Which policy speaks for a role, and what a policy is: a full model, or a LoRA adapter on a shared backbone."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from llm_marl_envs.errors import ConfigError
from llm_marl_envs.protocol import Roster

if TYPE_CHECKING:
    import torch
    from torch import nn


VALUE_HEAD = "value_head.safetensors"


@dataclass(frozen=True, slots=True)
class PolicyRouter:
    """role -> policy name. Agents of one role (voter_0, voter_1) always share a policy."""

    by_role: Mapping[str, str]

    @classmethod
    def shared(cls, roster: Roster) -> PolicyRouter:
        """One policy speaks for everybody."""
        return cls(dict.fromkeys(roster.roles, "shared"))

    @classmethod
    def isolated(cls, roster: Roster) -> PolicyRouter:
        """Every role has its own policy."""
        return cls({role: role for role in roster.roles})

    def given(self, policies: Mapping[str, str]) -> PolicyRouter:
        """The same, except that these roles have these policies. ConfigError for a name that is no role."""
        if other := [role for role in policies if role not in self.by_role]:
            raise ConfigError(
                f"a whole role has one policy; got the seat {other[0]!r}, expected one of {', '.join(self.by_role)}"
            )
        return PolicyRouter({**self.by_role, **policies})

    @property
    def policies(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.by_role.values()))

    def __call__(self, role: str) -> str:
        return self.by_role[role]


class Policies:
    """The models behind the policy names.

    lora_rank 0: every policy is a full copy of the base model. Otherwise all share one frozen backbone and each is a LoRA
    adapter of that rank on all linear layers, with an `alpha` (by default 2 * rank) and a `dropout` of its own.

    dtype: what the models are stored and computed in, adapters and key-value caches included. What is trained is float32 in
    any case: with bfloat16 `parameters` are masters, which are given the models' gradients, and which `refresh` copies into
    the models. critics: the policies with a value head, a linear map of the last hidden state that begins at zero, in float32;
    `heads` has them by name. checkpointing: layers are computed again in the backward pass. reference: keep the untrained model,
    for `reference`. train False: nothing is trained.
    """

    def __init__(
        self,
        path: str,
        names: tuple[str, ...],
        *,
        lora_rank: int = 0,
        alpha: Mapping[str, float | None] = MappingProxyType({}),
        dropout: Mapping[str, float] = MappingProxyType({}),
        critics: Sequence[str] = (),
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        checkpointing: bool = False,
        reference: bool = False,
        train: bool = True,
    ):
        import torch

        self.path, self.names, self.device, self.lora_rank = path, names, device, lora_rank
        self.dtype, self.checkpointing = dtype or torch.float32, checkpointing
        if lora_rank and names:
            ranked = {name: (lora_rank, alpha.get(name) or 2 * lora_rank, dropout.get(name, 0.0)) for name in names}
            self._lora: Any = _with_adapters(load_model(path, self.dtype), ranked).to(device)
            self._models: dict[str, Any] = dict.fromkeys(names, self._lora)
        else:
            self._lora = None
            self._models = {name: load_model(path, self.dtype).to(device) for name in names}
        self._reference: Any = None
        if reference and self._lora is None:
            self._reference = load_model(path, self.dtype).to(device).eval().requires_grad_(False)
        for model in self._models.values():
            model.eval()  # no dropout anywhere: the sampled distribution is the trained one (but see `dropping`)
        self._layers = (
            [layer for model in self._models.values() for layer in _checkpointed(model)] if checkpointing else []
        )
        self._dropped = tuple(name for name in names if self._lora is not None and dropout.get(name))
        self.heads = {name: self._value_head(name) for name in critics}
        self._own = {name: self._trainable(name) for name in names}
        copied = train and self.dtype != torch.float32
        self._masters = {name: {k: _master(p) for k, p in self._own[name].items()} for name in names if copied}

    def _value_head(self, name: str) -> nn.Linear:
        import torch

        head = torch.nn.Linear(self._models[name].config.get_text_config().hidden_size, 1)
        for parameter in head.parameters():
            torch.nn.init.zeros_(parameter)
        return head.to(self.device)

    def _trainable(self, name: str) -> dict[str, torch.nn.Parameter]:
        """The model's own parameters that the policy trains, by key."""
        named = self._models[name].named_parameters()
        return {k: p for k, p in named if self._lora is None or f".{name}." in k.partition(".lora_")[2]}

    def model(self, name: str) -> nn.Module:
        """The policy's model, with its adapter switched on."""
        if self._lora is not None:
            self._lora.set_adapter(name)
        return self._models[name]

    @contextlib.contextmanager
    def reference(self, name: str) -> Iterator[nn.Module]:
        """The model that the policy began as."""
        if self._lora is None:
            assert self._reference is not None, "the policies were made without reference=True"
            yield self._reference
        else:
            with self.model(name).disable_adapter():  # type: ignore[operator]
                yield self._lora

    def named_parameters(self, name: str) -> dict[str, torch.nn.Parameter]:
        """The trained parameters of a policy in float32, its value head's last, in a fixed order."""
        head = self.heads[name].named_parameters(prefix="value_head") if name in self.heads else ()
        return {**self._masters.get(name, self._own[name]), **dict(head)}

    def parameters(self, name: str) -> list[torch.nn.Parameter]:
        return list(self.named_parameters(name).values())

    def refresh(self, name: str) -> None:
        """Copy the masters into the model, after they have changed."""
        import torch

        with torch.no_grad():
            for key, master in self._masters.get(name, {}).items():
                self._own[name][key].copy_(master)

    @contextlib.contextmanager
    def learning(self) -> Iterator[None]:
        """Inside, layers keep only what they were given, if they are checkpointed. They do so in their training mode alone, which
        what is in them does not share: it would drop out."""
        for layer in self._layers:
            layer.training = True
        try:
            yield
        finally:
            for layer in self._layers:
                layer.training = False

    @contextlib.contextmanager
    def dropping(self, name: str, seed: int) -> Iterator[None]:
        """The adapter's dropout is on inside, drawn from `seed`; without one, nothing changes."""
        import torch

        if name not in self._dropped:
            yield
            return
        mine = [m.lora_dropout[name] for m in self._lora.modules() if name in getattr(m, "lora_dropout", {})]
        with torch.random.fork_rng():
            torch.manual_seed(seed % 2**63)
            for layer in mine:
                layer.train()
            try:
                yield
            finally:
                for layer in mine:
                    layer.eval()

    def save(self, folder: Path) -> None:
        """Write each policy to `<folder>/<name>` in the hub's layout (full model, or adapter), beside it its value head."""
        from safetensors.torch import save_file

        for name in self.names:
            masters = self._masters.get(name, {})
            whole = self._models[name].state_dict() | masters if masters else None
            if self._lora is None:
                self._models[name].save_pretrained(folder / name, state_dict=whole, max_shard_size="1000GB")  # type: ignore[operator]
            else:
                self._lora.save_pretrained(folder, selected_adapters=[name], **({"state_dict": whole} if whole else {}))
            if name in self.heads:
                state = {key: value.contiguous() for key, value in self.heads[name].state_dict().items()}
                save_file(state, folder / name / VALUE_HEAD)

    def restore(self, folder: Path) -> None:
        """Read back what `save` wrote, bit for bit."""
        import torch
        from safetensors.torch import load_file

        for name in self.names:
            if not (folder / name).is_dir():
                there = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_dir()))
                raise ConfigError(
                    f"{folder} has no policy {name!r}; it has {there}. These policies do not cover all roles of this "
                    f"workflow: choose a run with the same roles, or one with a shared policy."
                )
            if self._lora is None:
                state = load_file(folder / name / "model.safetensors", device=self.device)
                model, kept = self._models[name], state
                missing, unexpected = model.load_state_dict(state, strict=False)
                tied = set(getattr(model, "_tied_weights_keys", None) or ())
                if unexpected or set(missing) - tied:
                    raise ConfigError(
                        f"{folder / name} does not fit {self.path}: missing {missing}, unexpected {unexpected}"
                    )
            else:
                from peft import set_peft_model_state_dict

                state = load_file(folder / name / "adapter_model.safetensors", device=self.device)
                set_peft_model_state_dict(self._lora, state, adapter_name=name)
                kept = {_of_adapter(key, name): value for key, value in state.items()}
            with torch.no_grad():
                for key, master in self._masters.get(name, {}).items():
                    master.copy_(kept[key])
            if name in self.heads:
                self.heads[name].load_state_dict(load_file(folder / name / VALUE_HEAD, device=self.device))


def _master(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    """A float32 copy that is given each gradient of the parameter, which keeps none: micro-batches add up in float32."""
    import torch

    master = torch.nn.Parameter(parameter.detach().float())

    def hand_over(parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        if master.grad is None:
            master.grad = parameter.grad.float()
        else:
            master.grad += parameter.grad
        parameter.grad = None

    parameter.register_post_accumulate_grad_hook(hand_over)
    return master


def layers_of(model: Any) -> list[Any]:
    """The layers of a model that can be computed again in the backward pass."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]


def _checkpointed(model: Any) -> list[nn.Module]:
    """The layers of a model that are computed again, once it is told so. Raises ConfigError if it has none."""
    from torch.utils.checkpoint import checkpoint

    layers = layers_of(model)
    if not layers:
        raise ConfigError(f"{type(model).__name__} has no layers that can be computed again: use --checkpointing off")
    again = functools.partial(checkpoint, use_reentrant=False)
    for layer in layers:  # the models' own switch has had two names
        layer.gradient_checkpointing, layer._gradient_checkpointing_func = True, again
    return layers


def _of_adapter(key: str, name: str) -> str:
    """The name in the model of a key that peft writes: without the adapter's."""
    stem, _, last = key.rpartition(".")
    return f"{stem}.{name}.{last}"


def _with_adapters(model: Any, adapters: Mapping[str, tuple[int, float, float]]) -> Any:
    """The model with adapters of these ranks, alphas and dropouts."""
    from peft import LoraConfig, get_peft_model

    configs = {
        name: LoraConfig(
            r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM"  # type: ignore[arg-type]
        )
        for name, (rank, alpha, dropout) in adapters.items()
    }  # fmt: skip
    first, *others = configs
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)  # peft's own
        adapted = get_peft_model(model, configs[first], adapter_name=first, autocast_adapter_dtype=False)
        for name in others:
            adapted.add_adapter(name, configs[name], autocast_adapter_dtype=False)
    for key, parameter in adapted.named_parameters():
        parameter.requires_grad_("lora_" in key)
    return adapted


def load_config(path: str) -> Any:
    """The configuration of a model by hub name or local folder. Raises ConfigError if there is none."""
    from transformers import AutoConfig

    _check_path(path)
    try:
        return AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as bad:
        raise ConfigError(
            f"cannot load the configuration of {path!r}: {str(bad).splitlines()[0][:200]}. {_ADVICE}"
        ) from None


def load_model(path: str, dtype: torch.dtype) -> Any:
    """A causal language model by hub name or local folder. Raises ConfigError if there is none."""
    from transformers import AutoModelForCausalLM

    _check_path(path)
    try:
        return AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    except (OSError, ValueError) as bad:
        raise ConfigError(f"cannot load the model {path!r}: {str(bad).splitlines()[0][:200]}. {_ADVICE}") from None


def load_tokenizer(path: str) -> Any:
    """The tokenizer of a model. Raises ConfigError if there is none or it has no chat template."""
    from transformers import AutoTokenizer

    _check_path(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as bad:
        raise ConfigError(
            f"cannot load the tokenizer of {path!r}: {str(bad).splitlines()[0][:200]}. {_ADVICE}"
        ) from None
    if not tokenizer.chat_template:
        raise ConfigError(f"the tokenizer of {path!r} has no chat template; use an instruction-tuned model")
    return tokenizer


def stop_ids(path: str) -> tuple[int, ...]:
    """The tokens that end a reply by the model's generation settings, or else by its configuration."""
    from transformers import AutoConfig, GenerationConfig

    try:
        ends = GenerationConfig.from_pretrained(path).eos_token_id
    except (OSError, ValueError):
        ends = None
    if ends is None:
        with contextlib.suppress(OSError, ValueError):  # that the model cannot be loaded is said when it is
            ends = getattr(AutoConfig.from_pretrained(path), "eos_token_id", None)
    return tuple(ends) if isinstance(ends, list) else (ends,) if ends is not None else ()


_ADVICE = (
    "Give a local folder in the hub's layout, a hub name such as Qwen/Qwen3-0.6B (needs the network once), or 'tiny'."
)


def _check_path(path: str) -> None:
    parent = Path(path).parent
    looks_local = path.startswith((".", "/", "~")) or path.count("/") > 1 or (parent != Path() and parent.is_dir())
    if looks_local and not Path(path).expanduser().is_dir():
        raise ConfigError(f"no folder {path!r}. {_ADVICE}")
