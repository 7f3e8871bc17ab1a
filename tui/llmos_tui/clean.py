"""Texts from elsewhere must not drive the terminal: log lines, tokens, clients' names and requests' ids are written by
others, and a terminal obeys control characters wherever they stand. They are replaced before anything is decoded."""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"

_IN_JSON = re.compile(rb"((?<!\\)(?:\\\\)*)\\(?:u00(?:0[0-8bcefBCEF]|1[0-9a-fA-F]|7[fF]|[89][0-9a-fA-F])|[bf])")
"""Escaped, behind an even number of backslashes. Newline, return and tab are left: they are no commands."""
_RAW = re.compile(rb"\x7f|\xc2[\x80-\x9f]")
_IN_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def clean_json(data: bytes) -> bytes:
    """JSON can hold most of them as escapes only."""
    if b"\\" in data:
        data = _IN_JSON.sub(rb"\1\\ufffd", data)
    return _RAW.sub(REPLACEMENT.encode(), data)


def clean_text(text: str) -> str:
    return _IN_TEXT.sub(REPLACEMENT, text)
