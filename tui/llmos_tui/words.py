"""Numbers for people: sizes, times, rates, in as few cells as they need."""

from __future__ import annotations

from datetime import UTC, datetime

_BREAKS = dict.fromkeys(map(ord, "\n\r\t\x0b\x0c\u2028\u2029"), " ")
_TURNS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")
"""They turn the direction of what follows."""


def one_line(text: str) -> str:
    """As it can stand in a line that others stand in, too."""
    return text if text.isprintable() else text.translate(_BREAKS | _TURNS)


def size(num_bytes: float | None) -> str:
    """412 MB, 4.0 GB: decimal, as disks and docs have it."""
    if num_bytes is None:
        return "-"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(num_bytes) < 1000 or unit == "TB":
            break
        num_bytes /= 1000
    return f"{num_bytes:.0f} {unit}" if num_bytes >= 10 or unit == "B" else f"{num_bytes:.1f} {unit}"


def count(number: float | None) -> str:
    """9500, 12.3k, 4.1M."""
    if number is None:
        return "-"
    if abs(number) < 10_000:
        return f"{number:.0f}"
    for unit in ("", "k", "M", "G"):
        if abs(number) < 1000 or unit == "G":
            break
        number /= 1000
    return f"{number:.0f}{unit}" if abs(number) >= 100 else f"{number:.1f}{unit}"


def rate(number: float) -> str:
    """Of a second: 0.4, 24, 12.3k."""
    return f"{number:.1f}" if number < 10 else count(number)


def seconds(value: float | None) -> str:
    """Of something short: 850 µs, 12 ms, 1.4 s."""
    if value is None:
        return "-"
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 100 else age(value)


def age(value: float | None) -> str:
    """Of something long: 7s, 3m20s, 2h05m, 4d03h."""
    if value is None:
        return "-"
    whole = max(0, int(value))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def share(part: float, whole: float) -> str:
    """55 %; - of nothing."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def moment(unix_seconds: float | None) -> str:
    """2026-09-21 14:13:20, UTC."""
    return "-" if unix_seconds is None else datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
