"""A folder in the Hugging Face layout, of either kind, to what serving reads of it."""

from __future__ import annotations

from pathlib import Path

from llmos_server.contracts import ModelKind
from llmos_server.registry.classifier_folders import import_classifier, is_classifier
from llmos_server.registry.encoder_folders import import_encoder, is_encoder
from llmos_server.registry.folders import import_folder
from llmos_server.registry.remote_code import CodeRule


def import_configs(source: Path, target: Path, rule: CodeRule) -> tuple[ModelKind, int]:
    """Needs no weights, so what can't be served is refused before they are fetched.

    Returns the kind of model and its limit in tokens. Raises PullError or UnsupportedModel with the reason.
    """
    if is_classifier(source):
        return "classifier", import_classifier(source, target).max_input_tokens
    if is_encoder(source):
        return "encoder", import_encoder(source, target).max_input_tokens
    return "decoder", import_folder(source, target, rule)
