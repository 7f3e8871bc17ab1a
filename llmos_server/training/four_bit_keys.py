"""Keys of TRL that hold the base in 4 bits while an adapter is trained over it (QLoRA). Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from llmos_server.errors import InvalidRequest
from llmos_server.training.served_as import is_served_as_adapter

KEY = "load_in_4bit"


def require_four_bits(values: Mapping[str, Any]) -> None:
    """Raises InvalidRequest where they are asked for and can't be had."""
    if not values.get(KEY):
        return
    if not is_served_as_adapter(values):
        raise InvalidRequest(
            f"{KEY}: weights in 4 bits can't be trained, nor merged with what is. Train LoRA over them (use_peft, "
            f"without use_dora), or leave {KEY} out.",
            param=KEY,
        )
    if values.get("dtype") == "auto":
        raise InvalidRequest("dtype: say float32 or bfloat16, in which the 4 bits are computed.", param="dtype")
    if find_spec("bitsandbytes") is None:
        raise InvalidRequest(
            f"{KEY} needs bitsandbytes, which isn't installed here: pip install 'llmos[qlora]'", param=KEY
        )
