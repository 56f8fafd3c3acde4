"""The embedded model in three sizes, by the name that `--model` takes, so that scale is an axis of a study."""

from __future__ import annotations

from collections.abc import Mapping

SIZES: Mapping[str, Mapping[str, int]] = {
    "tiny-0.3m": {"hidden": 80, "layers": 3, "heads": 4, "kv_heads": 2, "mlp": 240},
    "tiny": {"hidden": 128, "layers": 4, "heads": 4, "kv_heads": 2, "mlp": 384},
    "tiny-3m": {"hidden": 192, "layers": 6, "heads": 6, "kv_heads": 3, "mlp": 576},
}
