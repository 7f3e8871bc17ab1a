"""What to do about a URL that isn't served: people's clients are set up by hand, and go wrong in few ways."""

from __future__ import annotations

_OF_V1 = ("/chat/completions", "/completions", "/embeddings", "/models")

_REMEDIES = (
    ("/v1/v1", "The client adds /v1 itself: its base URL is this server's address without it."),
    (
        "/v1/responses",
        "The Responses API isn't supported yet; set the client to chat completions (/v1/chat/completions).",
    ),
    (
        "/v1/messages",
        "Anthropic's API isn't supported yet; set the client to an OpenAI-compatible server, with the base URL "
        "ending in /v1.",
    ),
    (
        "/api",
        "That is another server's own API (Ollama's, LM Studio's); set the client to an OpenAI-compatible server, with "
        "the base URL ending in /v1.",
    ),
)


def remedy_for(path: str) -> str:
    if path.startswith(_OF_V1):
        return "The base URL lacks its end: it ends in /v1."
    for prefix, remedy in _REMEDIES:
        if f"{path}/".startswith(f"{prefix}/"):
            return remedy
    return "The API's base URL ends in /v1; /docs lists what there is."
