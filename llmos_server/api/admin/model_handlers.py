"""The routes about models that administrators use, but for what they watch."""

from __future__ import annotations

from llmos_server.api.admin.attention import prompt_attention
from llmos_server.api.admin.inspection import model_structure, model_template, preview_prompt
from llmos_server.api.admin.models import (
    admin_list_models,
    load_model,
    pin_model,
    pull_model,
    remove_model,
    unload_model,
    unpin_model,
)

MODEL_HANDLERS = [
    admin_list_models,
    load_model,
    unload_model,
    pin_model,
    unpin_model,
    pull_model,
    remove_model,
    model_structure,
    model_template,
    preview_prompt,
    prompt_attention,
]
