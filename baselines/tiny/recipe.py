"""Everything that decides an embedded model, beside the problems that its experts play."""

from __future__ import annotations

from dataclasses import dataclass, field

from baselines.tiny.experts import Experts
from baselines.tiny.experts.arithmetic import Adders


@dataclass(frozen=True)
class Course:
    """Lessons and how they are taught: AdamW's rate rises in `warmup` steps and falls along a cosine, which the course leaves at
    `steps` of `horizon`. alike: so many batches are drawn at a time and sorted by length, which saves padding."""

    steps: int
    horizon: int
    warmup: int
    lr: float
    episodes: int
    experts: Experts
    alike: int = 1


@dataclass(frozen=True)
class Copying:
    """Lessons before the first course, in names alone: `names` random ones, up to 3 random tokens, the same names again. What a
    model must do to answer from passages is to copy; from transcripts alone it takes several times longer to find that out.

    They end when the smoothed loss on the second half is below `until`, or after `steps`.
    """

    names: int = 10
    batch: int = 16
    until: float = 1.0
    steps: int = 2_500


@dataclass(frozen=True)
class Recipe:
    """The model, its tokenizer and its lessons. The course's settings stand here by themselves; `then` is a second, short course,
    in which mistakes are learned that a start below the experts' level is made of.

    init: standard deviation of the first weights. apart: capitalised words, most of them names, never join other words in a
    token, so that a name is the same token wherever it stands.
    """

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    mlp: int = 384
    init: float = 0.02
    vocab: int = 1_536
    apart: bool = False
    steps: int = 300
    horizon: int = 500
    warmup: int = 50
    batch: int = 64
    alike: int = 1
    lr: float = 1.5e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    episodes: int = 6_000
    experts: Experts = field(default=Adders())
    copying: Copying | None = None
    then: Course | None = None
    seed: int = 0

    @property
    def course(self) -> Course:
        return Course(self.steps, self.horizon, self.warmup, self.lr, self.episodes, self.experts, self.alike)
