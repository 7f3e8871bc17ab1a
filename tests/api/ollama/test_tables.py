"""The tables of fields, and the structs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llmos_server.api.bodies.field_rules import Status, Table
from llmos_server.api.ollama import tables
from llmos_server.api.schemas import ollama, ollama_models

STRUCTS: list[tuple[Table, Any]] = [
    (tables.CHAT, ollama.OllamaChatRequest),
    (tables.MESSAGE, ollama.OllamaMessage),
    (tables.CALL, ollama.OllamaCall),
    (tables.OPTIONS, ollama.OllamaOptions),
    (tables.GENERATE, ollama.OllamaGenerateRequest),
    (tables.EMBED, ollama.OllamaEmbedRequest),
    (tables.EMBEDDINGS, ollama.OllamaEmbeddingsRequest),
    (tables.NAME, ollama_models.OllamaNameRequest),
    (tables.PULL, ollama_models.OllamaPullRequest),
]


@pytest.mark.parametrize(("table", "struct"), STRUCTS)
def test_a_field_is_in_the_struct_exactly_when_it_is_honoured(table: Table, struct: Any) -> None:
    honoured = {name for name, rule in table.items() if rule.status is Status.HONOURED}
    assert honoured == {field.encode_name for field in msgspec.structs.fields(struct)}
