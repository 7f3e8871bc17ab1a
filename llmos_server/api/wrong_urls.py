"""What to do about a URL that isn't served: people's clients are set up by hand, and go wrong in few ways."""

from __future__ import annotations

_OF_V1 = ("/chat/completions", "/completions", "/embeddings", "/models", "/responses", "/messages")

_REMEDIES = (
    ("/v1/v1", "The client adds /v1 itself: its base URL is this server's address without it."),
    ("/v1/messages", "Of Anthropic's API there are POST /v1/messages and /v1/messages/count_tokens."),
    *(
        (f"/api/{path}", f"{what} isn't part of this server: {remedy}")
        for path, what, remedy in (
            ("create", "Making models from others", "import a folder or file with: llmos pull file:/path"),
            ("copy", "Copying models", "give a model another name in the setting models.aliases."),
            ("push", "Pushing models", "upload the files to a hub, and pull them from there."),
            ("blobs", "Uploading files", "put them on the server's disk, and import them with: llmos pull file:/path"),
        )
    ),
    *(
        (
            path,
            "That is LM Studio's own API; set the client to an OpenAI-compatible server, with the base URL ending in "
            "/v1.",
        )
        for path in ("/api/v0", "/api/v1")
    ),
    ("/admin", "The administrators' API is under /admin/v1; /docs lists what there is."),
    ("/api", "Of Ollama's API there are chat, generate, embed, tags, show, ps, pull and delete; see /docs."),
)


ABSENT = {
    "/v1/responses/compact": 'Responses can\'t be compacted here: send fewer items, or truncation: "auto" to leave out '
    "the oldest turns."
}
"""What isn't here, below URLs that are: path -> what to do instead."""


def remedy_for(path: str) -> str:
    if path in ABSENT:
        return ABSENT[path]
    if path.startswith(_OF_V1):
        return "The base URL lacks its end: it ends in /v1."
    for prefix, remedy in _REMEDIES:
        if f"{path}/".startswith(f"{prefix}/"):
            return remedy
    return "The API's base URL ends in /v1; /docs lists what there is."
