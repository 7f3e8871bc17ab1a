"""The models that the API can reach, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmos_server.contracts import Generator, ModelVersion
from llmos_server.errors import ModelNotFound

if TYPE_CHECKING:
    from llmos_server.chat.renderer import Renderer


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One name, the engine behind it, and the text side of its model."""

    id: str
    created: int
    """Unix seconds."""
    renderer: Renderer
    generator: Generator
    version: ModelVersion | None = None

    @property
    def max_model_len(self) -> int | None:
        """Most tokens of prompt and answer together; the checkpoint's own limit until the engine has published its."""
        if self.generator.info is not None:
            return self.generator.info.max_model_len
        return self.version.context_length if self.version is not None else None

    @property
    def fingerprint(self) -> str:
        """Changes with the weights, the tokenizer or the template."""
        info = self.generator.info
        digest = self.version.digest if self.version is not None else info.model_digest if info is not None else self.id
        return "fp_" + digest.removeprefix("sha256:")[:12]


class ModelDirectory:
    """Served models in order of preference: chat models first, then as given. Aliases reach them by other names."""

    def __init__(self, models: Iterable[ServedModel], aliases: Mapping[str, str] | None = None) -> None:
        given = list(models)
        self._models = {model.id: model for model in sorted(given, key=lambda model: not model.renderer.has_template)}
        self._aliases = dict(aliases or {})
        self._default = given[0].id if given else None

    def get(self, name: str | None) -> ServedModel:
        """None is the default model, the first that was given. Raises ModelNotFound, which lists the known names."""
        wanted = self._default if name is None else name
        model = self._models.get(self._aliases.get(wanted or "", wanted or ""))
        if model is None:
            known = ", ".join([*self._models, *self._aliases]) or "none"
            raise ModelNotFound(f"The model {name!r} isn't served here. Served names: {known}.")
        return model

    def list(self) -> list[ServedModel]:
        return list(self._models.values())

    def aliases_of(self, model_id: str) -> Sequence[str]:
        return sorted(alias for alias, target in self._aliases.items() if target == model_id)
