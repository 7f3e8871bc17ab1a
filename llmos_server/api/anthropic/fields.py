"""Fields of Anthropic's API: the tables behind docs/api.md. What is in none of them is ignored and told.

Block types decide which of a block's fields count, so that those of types which can't be read are hints here: the type
itself is refused.
"""

from __future__ import annotations

from llmos_server.api.bodies.field_rules import Table, hint, honoured, refused, values

_BY_TYPE = "of a block whose type is refused"
_FOREIGN = "of what Anthropic's servers add"
_BLOCK_REST: Table = {
    "source": hint(_BY_TYPE),
    "title": hint(_BY_TYPE),
    "context": hint(_BY_TYPE),
    "citations": hint("echoed by clients from an earlier answer"),
}

RESULT_BLOCK: Table = {
    "type": honoured("text, tool_reference"),
    "text": honoured("of text"),
    "tool_name": honoured("of tool_reference: the model reads that this tool is there now"),
    "content": hint(_BY_TYPE),
    **_BLOCK_REST,
}

BLOCK: Table = {
    "type": honoured("text, thinking, redacted_thinking, tool_use, tool_result"),
    "text": honoured("of text"),
    "thinking": honoured("of thinking: given to the chat template"),
    "signature": hint("nothing is signed here"),
    "data": hint("of redacted_thinking, which only its maker can read: left out, and told"),
    "id": honoured("of tool_use"),
    "name": honoured("of tool_use"),
    "input": honoured("of tool_use"),
    "caller": hint(_FOREIGN),
    "tool_use_id": honoured("of tool_result: of a tool_use before it"),
    "content": honoured("of tool_result: a string, or blocks of text and tool_reference", nested=RESULT_BLOCK),
    "is_error": honoured('of tool_result: the model reads "Error: " before the content'),
    **_BLOCK_REST,
}

MESSAGE: Table = {
    "role": honoured("user, assistant, system"),
    "content": honoured("a string, or blocks", nested=BLOCK),
}

TOOL: Table = {
    "name": honoured("1 to 128 letters, digits, _, - and ."),
    "type": honoured("custom, or nothing; tools that Anthropic defines or runs are refused"),
    "description": honoured("for the model"),
    "input_schema": honoured("a JSON Schema of an object"),
    "strict": honoured("true refuses what a grammar can't hold; else finished arguments are checked for that"),
    "eager_input_streaming": hint("arguments are streamed as they are written"),
}

TOOL_CHOICE: Table = {
    "type": honoured("auto, any, tool, none"),
    "name": honoured("of the type tool"),
    "disable_parallel_tool_use": honoured("true allows one call in an answer"),
}

THINKING: Table = {
    "type": honoured("sets the chat template's switch, where it has one; told where it has none"),
    "display": honoured("omitted leaves the text of thinking blocks out"),
}

OUTPUT_FORMAT: Table = {
    "type": honoured("json_schema"),
    "schema": honoured("a JSON Schema; strict"),
}

OUTPUT_CONFIG: Table = {
    "effort": honoured("reasoning_effort of the chat template, where it reads one; told where it doesn't"),
    "format": honoured("the form of the answer's text", nested=OUTPUT_FORMAT),
}

COUNT_TOKENS: Table = {
    "model": honoured("a served name or alias; the default model when absent"),
    "adapter": refused("send the adapter's name as the model"),
    "messages": honoured("see below", nested=MESSAGE),
    "system": honoured("a string, or text blocks", nested=BLOCK),
    "tools": honoured("see below", nested=TOOL),
    "tool_choice": honoured("what the answer may call", nested=TOOL_CHOICE),
    "thinking": honoured("see below", nested=THINKING),
    "output_config": honoured("see below", nested=OUTPUT_CONFIG),
    "output_format": honoured("an older name of output_config.format", nested=OUTPUT_FORMAT),
    "mcp_servers": refused("this request would have the server call them; let the client do that, and send its tools"),
    "container": refused("no code is run here"),
    "thread": refused("nothing is stored here; send the whole conversation"),
}

MESSAGES: Table = {
    **COUNT_TOKENS,
    "max_tokens": honoured("needed, from 1 on"),
    "stop_sequences": honoured("up to 16 of at most 512 characters; never part of the answer"),
    "stream": honoured(),
    "temperature": honoured("0 to 2, 1 when absent; 0 is greedy"),
    "top_p": honoured("above 0, up to 1"),
    "top_k": honoured("-1 or 0 keep every token"),
    "on_overflow": honoured("extension: error (a 400) or drop_oldest; the setting api.on_overflow when absent"),
    "metadata": hint("a hint that changes no answer"),
    "service_tier": values(lambda value: value in ("auto", "standard_only"), "there is one tier; leave it out"),
}
