"""What becomes of a run's result: an adapter beside its base, or a model of its own. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmos_server.errors import InvalidRequest

_MERGED = ("use_dora", "lora_modules_to_save", "lora_target_parameters")


def is_served_as_adapter(values: Mapping[str, Any]) -> bool:
    """values: of TRL's keys. DoRA, whole layers beside LoRA: these are served as a model of their own, merged into
    their base."""
    return bool(values.get("use_peft")) and not any(values.get(key) for key in _MERGED)


def require_allowed(values: Mapping[str, Any], owner: str, *, has_gate: bool) -> None:
    """Raises InvalidRequest for a result that can't be this owner's, or can't be judged."""
    if is_served_as_adapter(values):
        return
    if owner:
        raise InvalidRequest(
            "A model that isn't an adapter would be everybody's, so a key can't make one. Train LoRA (use_peft, "
            "without use_dora), or have the operator run: llmos tune",
            param="method",
        )
    if has_gate:
        raise InvalidRequest("A gate judges adapters; a whole model is compared with: llmos eval", param="gate")
