"""The untrained control: the team plays with the starting model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.methods.shared import Shared


@dataclass(frozen=True)
class Prompted(Shared):
    """No training: one evaluation of the starting policy inside the workflow."""

    learns: ClassVar[bool] = False
