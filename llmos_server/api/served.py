"""The models that the API can reach, by name."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import msgspec

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.chat.model_files import read_chat_template
from llmos_server.chat.reasoning import choose_reasoning
from llmos_server.contracts import (
    CLASSIFIER_SPEC,
    ClassifierSpec,
    Encoder,
    EncoderInfo,
    Generator,
    ModelKind,
    ModelVersion,
)
from llmos_server.errors import InvalidRequest, ModelNotFound

if TYPE_CHECKING:
    from llmos_server.chat.renderer import Renderer


_WHAT_IT_DOES = {
    "encoder": "turns text into vectors and writes none; send it to /v1/embeddings.",
    "classifier": "tells classes or scores and writes none; send it to /v1/classify, /v1/score or /v1/rerank.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """One name and the engine behind it."""

    id: str
    created: int
    """Unix seconds."""
    engine: Generator | Encoder
    """What a model of either kind has: state, info, wait_ready, hold. For the rest take generator or encoder."""
    kind: ModelKind = "decoder"
    version: ModelVersion | None = None
    tool_format: str = "auto"
    """A format of tool calls by name, "json" or "auto"; see chat.tools.formats."""
    turns: str = "auto"
    """auto, merge or as_sent; see Renderer.render."""
    promoted_as: str = ""
    """The alias that it was asked by, where an administrator has put it on one."""
    adapter: AdapterVersion | None = None
    """What the engine computes the model with; the version is the base's, its digest that of both."""
    reasoning: str = "auto"
    """A style by name, "none" or "auto"; see chat.reasoning."""

    @property
    def generator(self) -> Generator:
        """Raises InvalidRequest, which names the right endpoint, when the model is an encoder."""
        if self.kind != "decoder":
            raise self._unsupported(f"{self.id} {_WHAT_IT_DOES[self.kind]}")
        return cast(Generator, self.engine)

    @property
    def encoder(self) -> Encoder:
        """Raises InvalidRequest, which names the right endpoints, when the model is a decoder."""
        if self.kind == "classifier":
            raise self._unsupported(f"{self.id} {_WHAT_IT_DOES[self.kind]}")
        if self.kind != "encoder":
            raise self._unsupported(
                f"{self.id} writes text and gives no embeddings; send it to /v1/chat/completions or /v1/completions."
            )
        return cast(Encoder, self.engine)

    @property
    def text_encoder(self) -> Encoder:
        """With or without a classification head. Raises InvalidRequest when the model is a decoder."""
        if self.kind == "decoder":
            raise self._unsupported(
                f"{self.id} writes text. Name a cross-encoder, a classifier or a model for embeddings (GET /v1/models "
                "tells what each can do), or ask this one typed questions at /v1/systemone."
            )
        return cast(Encoder, self.engine)

    def require_classifier(self) -> None:
        """Raises InvalidRequest when the model has no classes of its own."""
        if self.kind == "encoder":
            raise self._unsupported(
                f"{self.id} {_WHAT_IT_DOES[self.kind]} It knows no classes: name a sequence classifier."
            )
        _ = self.text_encoder

    @property
    def labels(self) -> list[str]:
        """A classifier's; empty for others."""
        if self.kind != "classifier":
            return []
        if self.version is not None:
            return _read_labels(self.version.folder)
        return getattr(self.engine.info, "labels", [])

    def _unsupported(self, message: str) -> InvalidRequest:
        return InvalidRequest(message, param="model", code="unsupported_value")

    @property
    def base_id(self) -> str:
        """Its own name, or, with an adapter, that of the model below."""
        return self.id if self.adapter is None else self.adapter.base

    @property
    def has_template(self) -> bool:
        return self.version is not None and _read_template(self.version.folder) is not None

    @property
    def has_reasoning(self) -> bool:
        """Whether it writes its reasoning before its answer."""
        template = None if self.version is None else _read_template(self.version.folder)
        return self.kind == "decoder" and choose_reasoning(template or "", self.reasoning) is not None

    @property
    def max_model_len(self) -> int | None:
        """Most tokens of prompt and answer together, or of one input; the checkpoint's own limit until the engine has
        published its."""
        info = self.engine.info
        if info is not None:
            return info.max_input_tokens if isinstance(info, EncoderInfo) else info.max_model_len
        return self.version.context_length if self.version is not None else None

    @property
    def digest(self) -> str | None:
        """Of the weights; None while an engine of unknown ones isn't loaded."""
        info = self.engine.info
        return self.version.digest if self.version is not None else info.model_digest if info is not None else None

    @property
    def fingerprint(self) -> str:
        """Changes with the weights, their quantisation, the adapter, the tokenizer or the template."""
        info = self.engine.info
        named = self.version.digest if self.version is not None else info.model_digest if info else self.id
        digest, *others = named.removeprefix("sha256:").split("+")
        return "_".join(["fp", digest[:12], *others])


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel(ListedModel):
    """A listed model with its text side, which takes a moment to load."""

    renderer: Renderer

    @property
    def has_template(self) -> bool:
        return self.renderer.has_template

    @property
    def has_reasoning(self) -> bool:
        return self.kind == "decoder" and self.renderer.reasoning_markers(self.reasoning) is not None


class Directory(Protocol):
    """Names in, models out. One of the models is the default."""

    async def get(self, name: str | None) -> ServedModel:
        """None is the default model. Raises ModelNotFound, EngineFailed when the model's folder is broken."""
        ...

    def default(self) -> ListedModel:
        """Raises ModelNotFound when it isn't there."""
        ...

    def list(self) -> Sequence[ListedModel]:
        """In order of preference."""
        ...

    def aliases_of(self, model_id: str) -> Sequence[str]: ...


@functools.lru_cache(maxsize=1024)
def _read_template(folder: str) -> str | None:
    """What is in a version's folder never changes: its name is the digest."""
    return read_chat_template(Path(folder))


@functools.lru_cache(maxsize=1024)
def _read_labels(folder: str) -> list[str]:
    return msgspec.json.decode(Path(folder, CLASSIFIER_SPEC).read_bytes(), type=ClassifierSpec).labels


def preference(model: ListedModel) -> tuple[bool, bool]:
    """Sorts chat models first and encoders last."""
    return model.kind != "decoder", not model.has_template


class ModelDirectory:
    """A fixed set of models, for an API over engines of one's own; the first that is given is the default."""

    def __init__(self, models: Iterable[ServedModel], aliases: Mapping[str, str] | None = None) -> None:
        given = list(models)
        self._models = {model.id: model for model in sorted(given, key=preference)}
        self._aliases = dict(aliases or {})
        self._default = given[0].id if given else None

    async def get(self, name: str | None) -> ServedModel:
        """None is the default model, the first that was given. Raises ModelNotFound, which lists the known names."""
        return self._find(self._default if name is None else name)

    def default(self) -> ListedModel:
        """Raises ModelNotFound when no model is served."""
        return self._find(self._default)

    def list(self) -> Sequence[ListedModel]:
        return list(self._models.values())

    def aliases_of(self, model_id: str) -> Sequence[str]:
        return sorted(alias for alias, target in self._aliases.items() if target == model_id)

    def _find(self, wanted: str | None) -> ServedModel:
        model = self._models.get(self._aliases.get(wanted or "", wanted or ""))
        if model is None:
            known = ", ".join([*self._models, *self._aliases]) or "none"
            raise ModelNotFound(f"The model {wanted!r} isn't served here. Served names: {known}.")
        return model
