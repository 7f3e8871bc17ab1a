"""Which fields of Ollama's API are honoured, refused or accepted as hints; the rest is ignored and told."""

from __future__ import annotations

from llmos_server.api.bodies import fields
from llmos_server.api.bodies.field_rules import Table, hint, honoured, refused

_IMAGES = "this model reads text only; leave images out"
_NO_IMAGES = "no images are made here"

OPTIONS: Table = {
    "num_predict": honoured("upper bound on the answer; -1 (or -2) when absent: all the room that the prompt leaves"),
    "num_ctx": honoured("most tokens of prompt and answer together; the model's own limit when absent or above it"),
    "seed": honoured("the same seed gives the same text; random when absent, or -1"),
    "temperature": honoured("0 to 2, 0.8 when absent; 0 is greedy"),
    "top_k": honoured("40 when absent; -1 or 0 keep every token"),
    "top_p": honoured("above 0, up to 1; 0.9 when absent"),
    "min_p": honoured("0 to 1"),
    "stop": honoured("a string, or up to 16 of at most 512 characters; never part of the answer"),
    "repeat_penalty": honoured("above 0, 1 (off) when absent; over prompt and answer"),
    "repeat_last_n": honoured("0 switches repeat_penalty off, -1 is what happens; a window is ignored and told"),
    "presence_penalty": honoured("-2 to 2"),
    "frequency_penalty": honoured("-2 to 2"),
}

_CALLED: Table = {
    "name": honoured(),
    "arguments": honoured("an object"),
    "index": hint("echoed by clients from an earlier answer"),
}

CALL: Table = {
    "function": honoured("name and arguments", nested=_CALLED),
    "id": honoured("of the call; made up when absent"),
    "type": hint("there are functions only"),
    "index": hint("echoed by clients from an earlier answer"),
}

MESSAGE: Table = {
    "role": honoured("system, user, assistant, tool"),
    "content": honoured("a string"),
    "thinking": honoured("given to the chat template"),
    "tool_calls": honoured("given to the chat template", nested=CALL),
    "tool_name": honoured("which function's result it is: of the oldest call to it that has none yet"),
    "tool_call_id": honoured("of a call before it; needs no tool_name"),
    "images": refused(_IMAGES, code="unsupported_content"),
}

_GENERATION: Table = {
    "model": honoured("a served name or alias, also with :latest behind it"),
    "adapter": refused("send the adapter's name as the model"),
    "stream": honoured("true when absent: a JSON object a line"),
    "format": honoured('"json", or a JSON Schema as an object'),
    "think": honoured("false or true where the template can switch it, or a level where it reads reasoning_effort"),
    "keep_alive": honoured("0 unloads the model behind the request, for administrators; all else is ignored and told"),
    "options": honoured("see below", nested=OPTIONS),
    "logprobs": honoured("true or false"),
    "top_logprobs": honoured("0 to 20; needs logprobs"),
    "truncate": honoured("true when absent: the oldest turns of a chat that is too long are left out, and told"),
}

CHAT: Table = {
    "messages": honoured("see below; none loads the model", nested=MESSAGE),
    **_GENERATION,
    "tools": honoured("functions that the model may call", nested=fields.TOOL),
    "template": refused("the model's own template is used"),
}

GENERATE: Table = {
    "prompt": honoured("the user's message; none loads the model"),
    "system": honoured("a system message before it"),
    "raw": honoured("the prompt is given to the model as it is, without the chat template"),
    **_GENERATION,
    "suffix": refused("text is continued here, no gaps are filled; put what is before the gap into the prompt"),
    "template": refused("the model's own template is used"),
    "context": refused("send the turns before as messages to /api/chat"),
    "images": refused(_IMAGES, code="unsupported_content"),
    **{name: refused(_NO_IMAGES) for name in ("width", "height", "steps")},
}

EMBED: Table = {
    "model": _GENERATION["model"],
    "input": honoured("a text, or up to 2048 texts; none loads the model"),
    "truncate": honoured("true when absent: longer texts are cut to the model's limit, and told; false refuses them"),
    "dimensions": honoured("the model's own, or shorter for models that were trained for it (Matryoshka)"),
    "keep_alive": _GENERATION["keep_alive"],
}

EMBEDDINGS: Table = {
    "model": _GENERATION["model"],
    "prompt": honoured("a text, cut to the model's limit, and told; none loads the model"),
    "keep_alive": _GENERATION["keep_alive"],
}

NAME: Table = {
    "model": honoured("a model's name or alias"),
    "name": honoured("an older name of model"),
}

PULL: Table = {
    **NAME,
    "stream": honoured("true when absent: a JSON object a line"),
    "insecure": hint("where a model comes from is in its name"),
}
