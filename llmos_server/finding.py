"""What `llmos doctor` reports, line by line: a chapter of contracts.py, with the same rules."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One line of what `llmos doctor` reports. `remedy` says what to do unless all is well."""

    level: Literal["ok", "warning", "failure"]
    text: str
    remedy: str = ""
