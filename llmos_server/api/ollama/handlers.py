"""All handlers of Ollama's API. What it has and this server doesn't is in api/wrong_urls.py."""

from __future__ import annotations

from llmos_server.api.ollama.chat import ollama_chat
from llmos_server.api.ollama.embed import ollama_embed, ollama_embeddings
from llmos_server.api.ollama.generate import ollama_generate
from llmos_server.api.ollama.models import ollama_ps, ollama_show, ollama_tags, ollama_version, running
from llmos_server.api.ollama.pull import ollama_delete, ollama_pull

OLLAMA_HANDLERS = [
    running,
    ollama_version,
    ollama_tags,
    ollama_ps,
    ollama_show,
    ollama_chat,
    ollama_generate,
    ollama_embed,
    ollama_embeddings,
    ollama_pull,
    ollama_delete,
]
