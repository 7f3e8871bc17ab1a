"""What a model can be asked for, in one list of words."""

from __future__ import annotations

from llmos_server.api.served import ListedModel


def capabilities(model: ListedModel) -> list[str]:
    """In the order in which docs/api.md explains them."""
    if model.kind == "encoder":
        return ["embeddings", "rerank", "score", "tokenize"]
    if model.kind == "classifier":
        is_scorer = len(model.labels) == 1
        return ["classify", *(["rerank", "score"] if is_scorer else []), "systemone", "tokenize"]
    found = ["completions", "logprobs", "streaming", "systemone", "tokenize"]
    if model.has_template:
        found = ["chat", "tools", *found]
    return [*found, "reasoning"] if model.has_reasoning else found
