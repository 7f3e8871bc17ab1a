"""Models as the fake server tells them: in the server's own structs."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import tui_data

from llmos_server.api.schemas.admin_inspection import AttentionAnswer, Preview, PreviewToken, TemplateAnswer
from llmos_server.api.schemas.admin_models import AdminModel, AdminModelList, PullEvent
from llmos_server.contracts import ModelVersion
from llmos_server.fleet_contracts import ModelStatus
from llmos_server.registry.structure import Structure, build_tree
from llmos_server.registry.tensors import StoredTensor

DIGEST = "sha256:" + "0" * 64


def version(name: str, size_bytes: int = 98_100_000) -> ModelVersion:
    return ModelVersion(
        name=name,
        source=name,
        digest=DIGEST,
        folder="/models/x",
        weights=["/models/x/model.gguf"],
        context_length=8192,
        size_bytes=size_bytes,
        created=int(tui_data.NOW),
    )


def status(name: str, state: Any, **changes: Any) -> ModelStatus:
    facts = {"num_bytes": 0, "is_pinned": False, "num_open_requests": 0, "num_waiting": 0, **changes}
    return ModelStatus(name=name, kind="decoder", digest=DIGEST, state=state, **facts)


def model(name: str = "smollm2:135m", **changes: Any) -> AdminModel:
    """The default one, loaded, in use, pinned."""
    row = AdminModel(
        id=name,
        aliases=["smollm2"],
        capabilities=["chat", "tools", "completions", "logprobs", "streaming"],
        quantization="Q4_1",
        quantization_at_load="none",
        num_parameters=134_515_008,
        size_bytes=98_100_000,
        context_length=8192,
        state="ready",
        is_default=True,
        is_pinned=True,
        pinned_by="administrator",
        version=version(name),
        status=status(name, "ready", num_bytes=412_000_000, num_open_requests=3, pid=4242, is_pinned=True),
    )
    return msgspec.structs.replace(row, **changes)


def encoder(**changes: Any) -> AdminModel:
    """Not loaded."""
    name = changes.pop("id", "all-minilm-l6-v2")
    row = model(
        name,
        aliases=[],
        capabilities=["embeddings", "rerank", "score", "tokenize"],
        quantization="F32",
        quantization_at_load="int8",
        num_parameters=22_713_216,
        size_bytes=90_900_000,
        context_length=256,
        state="unloaded",
        is_default=False,
        is_pinned=False,
        pinned_by=None,
        status=status(name, "unloaded", num_bytes=120_000_000),
    )
    return msgspec.structs.replace(row, **changes)


def broken() -> AdminModel:
    """Its load has failed."""
    name = "hf:org/broken"
    failure = "The file model.gguf ends in the middle of a tensor."
    return encoder(id=name, state="failed", status=status(name, "failed", failure=failure), capabilities=[])


def models(*rows: AdminModel) -> AdminModelList:
    return AdminModelList(budget_bytes=4_000_000_000, used_bytes=412_000_000, data=list(rows))


def pull_events(name: str) -> list[tuple[str, Any]]:
    """As a pull of a model tells them, but for its end."""
    return [
        ("", PullEvent(text=f"{name}: looking for it")),
        ("", PullEvent(label="model.gguf", done=24_525_000, total=98_100_000)),
    ]


def pulled(name: str) -> tuple[str, Any]:
    return "", PullEvent(model=version(name))


def structure(num_layers: int = 2) -> Structure:
    """By the server's own code, from the tensors of a small Llama."""
    shapes = {"input_layernorm": [64], "self_attn.q_proj": [64, 64], "self_attn.k_proj": [32, 64]}
    shapes |= {"mlp.gate_proj": [256, 64], "mlp.down_proj": [64, 256], "post_attention_layernorm": [64]}
    tensors = [_tensor("model.embed_tokens.weight", [1024, 64], "Q8_0", 1)]
    for layer in range(num_layers):
        for name, shape in shapes.items():
            is_norm = len(shape) == 1
            tensors.append(_tensor(f"model.layers.{layer}.{name}.weight", shape, "F32" if is_norm else "Q4_1", 4))
    root = build_tree([*tensors, _tensor("model.norm.weight", [64], "F32", 4)])
    config = {"num_layers": num_layers, "hidden_size": 64, "num_heads": 4, "num_kv_heads": 2, "context_length": 8192}
    return Structure(
        model="smollm2:135m",
        architecture="llama",
        parameters=root.parameters,
        bytes=root.bytes,
        config=config,
        root=root,
    )


def _tensor(name: str, shape: list[int], dtype: str, element_bytes: int) -> StoredTensor:
    num_bytes = math.prod(shape) * element_bytes
    return StoredTensor(name=name, shape=tuple(shape), type_name=dtype, num_bytes=num_bytes)


TOKENS = ["The", " cat", " sat", " on", " the", " mat", ".\n"]


def attention(layer: int = 0, head: int | None = None, num_tokens: int = 7) -> AttentionAnswer:
    """Causal; each row sums to 1; the first token gets most, as it does in real models."""
    weights = []
    for row in range(num_tokens):
        raw = [(8.0 if column == 0 else 1 + (row + column + layer) % 3) for column in range(row + 1)]
        weights.append([round(value / sum(raw), 7) for value in raw] + [0.0] * (num_tokens - row - 1))
    names = [TOKENS[number % len(TOKENS)] for number in range(num_tokens)]
    return AttentionAnswer(
        model="smollm2:135m",
        tokens=names,
        token_ids=list(range(num_tokens)),
        layer=layer,
        head=head,
        num_layers=30,
        num_heads=9,
        weights=weights,
    )


TEMPLATE = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}{% endfor %}"


def template() -> TemplateAnswer:
    return TemplateAnswer(model="smollm2:135m", template=TEMPLATE, source="chat_template.jinja")


def preview() -> Preview:
    texts = [("<|im_start|>", True), ("user", False), ("\n", False), ("Hi", False), ("!", False), ("<|im_end|>", True)]
    tokens = [PreviewToken(id=number, text=text, is_special=special) for number, (text, special) in enumerate(texts)]
    return Preview(model="smollm2:135m", text="".join(text for text, _ in texts), tokens=tokens)
