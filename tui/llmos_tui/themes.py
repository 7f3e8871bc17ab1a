"""Light, dark and high contrast. Charts take their colours from the variables `chart-*` and `page-*`; `token-tint` is
how much of a colour is mixed into the background of an unlikely token, so that what stands on it can be read."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="llmos-dark",
    primary="#4c9be8",
    secondary="#4f8fcc",
    accent="#e0a458",
    foreground="#d7dde4",
    background="#12161b",
    surface="#181d24",
    panel="#212831",
    success="#5fb878",
    warning="#e0a458",
    error="#e06c75",
    dark=True,
    variables={
        "chart-in": "#4c9be8",
        "chart-out": "#5fb878",
        "chart-third": "#c678dd",
        "token-tint": "55%",
        "page-free": "#3a4350",
        "page-cached": "#4c9be8",
        "page-used": "#5fb878",
        "page-shared": "#e0a458",
        "footer-key-foreground": "#e0a458",
    },
)

LIGHT = Theme(
    name="llmos-light",
    primary="#1f5f9f",
    secondary="#2f6aa5",
    accent="#8a5000",
    foreground="#1c2329",
    background="#f7f7f4",
    surface="#efefeb",
    panel="#e2e3de",
    success="#1a6e35",
    warning="#8a5000",
    error="#b3261e",
    dark=False,
    variables={
        "chart-in": "#1f5f9f",
        "chart-out": "#1a6e35",
        "chart-third": "#7a3e9d",
        "token-tint": "35%",
        "page-free": "#b9bdb5",
        "page-cached": "#1f5f9f",
        "page-used": "#1a6e35",
        "page-shared": "#8a5000",
        "footer-key-foreground": "#8a5000",
    },
)

CONTRAST = Theme(
    name="llmos-contrast",
    primary="#ffff00",
    secondary="#00ffff",
    accent="#00ffff",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1a1a1a",
    success="#00ff00",
    warning="#ffff00",
    error="#ff9090",
    dark=True,
    text_alpha=1.0,
    variables={
        "chart-in": "#00ffff",
        "chart-out": "#00ff00",
        "chart-third": "#ff80ff",
        "token-tint": "35%",
        "page-free": "#808080",
        "page-cached": "#00ffff",
        "page-used": "#00ff00",
        "page-shared": "#ffff00",
        "footer-key-foreground": "#ffff00",
        "text-muted": "#ffffff",
        "text-disabled": "#c0c0c0",
        "block-cursor-background": "#ffff00",
        "block-cursor-foreground": "#000000",
        "border": "#ffffff",
        "border-blurred": "#ffffff",
    },
)

THEMES = (DARK, LIGHT, CONTRAST)
