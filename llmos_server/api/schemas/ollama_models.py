"""Wire structs of Ollama's API: models, what is loaded, pulls."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

Name = Annotated[str, Meta(max_length=1024)]


class OllamaNameRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    model: Name | None = None
    name: Name | None = None
    """The older name of the field."""


class OllamaPullRequest(OllamaNameRequest, kw_only=True, forbid_unknown_fields=True):
    stream: bool | None = None
    """True when absent."""


class OllamaDetails(Struct, kw_only=True):
    parent_model: str = ""
    format: str
    """gguf or safetensors."""
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class OllamaModel(Struct, kw_only=True):
    name: str
    model: str
    """The same."""
    modified_at: str
    size: int
    digest: str
    details: OllamaDetails


class OllamaTags(Struct, kw_only=True):
    models: list[OllamaModel]


class OllamaLoadedModel(Struct, kw_only=True):
    name: str
    model: str
    size: int
    """By the account of the memory budget."""
    size_vram: int
    digest: str
    details: OllamaDetails
    expires_at: str
    """When it is unloaded if nobody uses it until then; far away where only another model could displace it."""
    context_length: int


class OllamaLoaded(Struct, kw_only=True):
    models: list[OllamaLoadedModel]


class OllamaShown(Struct, kw_only=True):
    modelfile: str
    parameters: str | UnsetType = UNSET
    template: str
    """Jinja, as the checkpoint has it."""
    details: OllamaDetails
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class OllamaVersion(Struct, kw_only=True):
    version: str
    """Of the Ollama whose API this is: clients ask for a least one."""
    llmos: str
    """Extension: of this server."""


class OllamaProgress(Struct, kw_only=True):
    status: str
    digest: str | UnsetType = UNSET
    """Of a transfer: its name, as the digest isn't known before its end."""
    total: int | UnsetType = UNSET
    completed: int | UnsetType = UNSET
