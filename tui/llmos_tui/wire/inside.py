"""What is inside a model: its tree, its template, a prompt's tokens, a prompt's attention."""

from __future__ import annotations

from typing import Any

from llmos_tui.wire.common import Wire


class Tensor(Wire, frozen=True, kw_only=True):
    """As its file stores it."""

    name: str
    shape: list[int] = []
    dtype: str = ""
    parameters: int = 0
    bytes: int = 0


class Module(Wire, frozen=True, kw_only=True):
    """parameters and bytes are those of all that is below it."""

    name: str
    parameters: int = 0
    bytes: int = 0
    children: list[Module] = []
    tensors: list[Tensor] = []


class Structure(Wire, frozen=True, kw_only=True):
    """The whole tree, with sums; config has num_layers, hidden_size and the like."""

    model: str
    architecture: str = ""
    parameters: int = 0
    bytes: int = 0
    config: dict[str, Any] = {}
    root: Module


class Template(Wire, frozen=True, kw_only=True):
    """source: the file that holds it; both are None where the model has none."""

    model: str
    template: str | None = None
    source: str | None = None


class PreviewToken(Wire, frozen=True, kw_only=True):
    """One token of a prompt."""

    id: int
    text: str = ""
    is_special: bool = False


class Preview(Wire, frozen=True, kw_only=True):
    """A prompt as the model gets it."""

    text: str = ""
    tokens: list[PreviewToken] = []


class Attention(Wire, frozen=True, kw_only=True):
    """weights[i][j]: how much token i takes from token j. head is None for the mean over all heads."""

    model: str = ""
    tokens: list[str] = []
    token_ids: list[int] = []
    layer: int = 0
    head: int | None = None
    num_layers: int | None = None
    num_heads: int = 0
    weights: list[list[float]] = []
