"""Which fields of /v1/responses are honoured, refused or accepted as hints: as api/bodies/fields.py, for items and
tools by their type."""

from __future__ import annotations

from llmos_server.api.bodies.field_rules import Table, hint, honoured, refused, values
from llmos_server.api.bodies.fields import ADAPTER, PART, equals

_EFFECTLESS = "a hint that changes no answer"
_ECHOED = "echoed by clients from an earlier answer"
_CACHED = "prefixes are cached without being asked"

MESSAGE: Table = {
    "type": honoured("message; may be left out"),
    "role": honoured("system, developer (as system), user, assistant"),
    "content": honoured("a string, or a list of text parts", nested=PART),
    "id": honoured("without an effect but for items that are nothing else: those are references"),
    "status": hint(_ECHOED),
    "phase": hint(_ECHOED),
}

CALL: Table = {
    "type": honoured("function_call"),
    "call_id": honoured("its output names it"),
    "name": honoured("the function's"),
    "namespace": honoured("of a function that a namespace holds"),
    "arguments": honoured("JSON"),
    "id": hint(_ECHOED),
    "status": hint(_ECHOED),
    "caller": hint(_ECHOED),
}

CALL_OUTPUT: Table = {
    "type": honoured("function_call_output"),
    "call_id": honoured("of a call before it"),
    "output": honoured("a string, or a list of text parts", nested=PART),
    "id": hint(_ECHOED),
    "status": hint(_ECHOED),
    "name": hint(_ECHOED),
    "namespace": hint(_ECHOED),
    "caller": hint(_ECHOED),
}

REASONING: Table = {
    "type": honoured("reasoning"),
    "content": honoured("given to the chat template with the message or call that follows"),
    "encrypted_content": honoured("as this server made it; stands for content where that is missing"),
    "summary": honoured("stands for content where nothing else is there"),
    "id": hint(_ECHOED),
    "status": hint(_ECHOED),
}

REFERENCE: Table = {
    "type": honoured("item_reference"),
    "id": honoured("of an item that is stored"),
}

MCP_CALL: Table = {
    "type": honoured("mcp_call"),
    "id": honoured(),
    "server_label": honoured("where the tool comes from"),
    "name": honoured("the tool's"),
    "arguments": honoured("JSON"),
    "output": honoured("what it returned"),
    "error": honoured("what failed"),
    "approval_request_id": honoured("of the request that was approved"),
    "status": hint(_ECHOED),
}

MCP_LIST: Table = {
    "type": honoured("mcp_list_tools: without effect, tools are listed anew"),
    **{name: hint(_ECHOED) for name in ("id", "server_label", "tools", "error")},
}

APPROVAL_REQUEST: Table = {
    "type": honoured("mcp_approval_request"),
    "id": honoured(),
    "server_label": honoured("where the tool comes from"),
    "name": honoured("the tool's"),
    "arguments": honoured("JSON"),
}

APPROVAL_RESPONSE: Table = {
    "type": honoured("mcp_approval_response"),
    "approval_request_id": honoured("of a request before it"),
    "approve": honoured("true runs the call"),
    "reason": honoured("told to the model when it is declined"),
    "id": hint(_ECHOED),
}

ITEMS: dict[str, Table] = {
    "": MESSAGE,
    "message": MESSAGE,
    "function_call": CALL,
    "function_call_output": CALL_OUTPUT,
    "reasoning": REASONING,
    "item_reference": REFERENCE,
    "mcp_call": MCP_CALL,
    "mcp_list_tools": MCP_LIST,
    "mcp_approval_request": APPROVAL_REQUEST,
    "mcp_approval_response": APPROVAL_RESPONSE,
}

FUNCTION: Table = {
    "type": honoured("function"),
    "name": honoured("1 to 128 letters, digits, _, - and ."),
    "description": honoured("for the model"),
    "parameters": honoured("a JSON Schema of an object; no parameters when absent"),
    "strict": honoured("true refuses what a grammar can't hold; false when absent"),
    "output_schema": hint(_EFFECTLESS),
    "defer_loading": hint("all tools are told at once"),
    "allowed_callers": hint("only the model calls"),
}

NAMESPACE: Table = {
    "type": honoured("namespace"),
    "name": honoured("stands before its functions' names"),
    "tools": honoured("functions", nested=FUNCTION),
    "description": honoured("echoed; the model is told of its functions"),
}

SKILL: Table = {
    "type": honoured("skill"),
    "name": honoured("a skill of this server, as /v1/llmos/skills lists them"),
    "require_approval": honoured("always: asked for as MCP servers' tools are; never when absent"),
}

PLUGIN_TOOL: Table = {
    "type": honoured("plugin_tool"),
    "name": honoured("a tool that a plugin brings"),
    "require_approval": honoured("always or never; the tool's own wish when absent"),
}

TOOLS: dict[str, Table] = {
    "function": FUNCTION,
    "namespace": NAMESPACE,
    "skill": SKILL,
    "plugin_tool": PLUGIN_TOOL,
}
"""Others of the server's are checked by their providers."""

FORMAT: Table = {
    "type": honoured("text, json_object, json_schema"),
    "schema": honoured("only with the type json_schema"),
    "strict": honoured("true refuses what a grammar can't hold; else a finished answer is checked for that"),
    "name": honoured("echoed"),
    "description": honoured("echoed"),
}

TEXT: Table = {
    "format": honoured("the form of the answer, as response_format of chat completions", nested=FORMAT),
    "verbosity": hint(_EFFECTLESS),
}

REASONING_CONFIG: Table = {
    "effort": honoured("given to a chat template that reads it; none switches thinking off where that can be"),
    "summary": honoured("echoed: reasoning is shown whole, and never summed up"),
    "generate_summary": hint("an older name of summary"),
    "context": values(equals("auto"), "the chat template decides which reasoning the model sees again"),
    "mode": values(equals("standard"), "there is one mode"),
}

RESPONSE: Table = {
    "input": honoured("a string, or a list of items, see below", by_type=ITEMS),
    "model": honoured("a served name or alias; the default model when absent"),
    "adapter": honoured(ADAPTER),
    "instructions": honoured("a system message before all others; not carried over to the next response"),
    "previous_response_id": honoured("a stored response whose input and output come before the input"),
    "conversation": honoured("a conversation's id: its items come before the input, and input and output are added"),
    "store": honoured("true when absent, where the server stores at all"),
    "background": honoured("true: answered at once with the status queued, to be asked for later; needs store"),
    "stream": honoured("server-sent events, see below"),
    "stream_options": hint("include_obfuscation: a hint that changes no answer"),
    "tools": honoured("functions of the client's, and tools that the server runs", by_type=TOOLS),
    "tool_choice": honoured("auto, none, required, a function or allowed_tools; auto when there are tools"),
    "parallel_tool_calls": honoured("false: at most one call a turn; true when absent"),
    "max_tool_calls": honoured("calls of the server's tools in all turns"),
    "text": honoured("the form of the answer", nested=TEXT),
    "reasoning": honoured("", nested=REASONING_CONFIG),
    "max_output_tokens": honoured("upper bound on all turns together; all the room that is left when absent"),
    "temperature": honoured("0 to 2, 1 when absent; 0 is greedy"),
    "top_p": honoured("above 0, up to 1"),
    "top_logprobs": honoured("0 to 20; needs include message.output_text.logprobs"),
    "truncation": honoured(
        "auto: leave out the oldest turns of an input that is too long, and say so; disabled: a 400"
    ),
    "metadata": honoured("up to 16 texts, kept and echoed"),
    "include": honoured("message.output_text.logprobs, reasoning.encrypted_content"),
    "top_k": honoured("-1 or 0 keep every token"),
    "min_p": honoured("0 to 1"),
    "repetition_penalty": honoured("above 0; over prompt and answer"),
    "presence_penalty": honoured("-2 to 2"),
    "frequency_penalty": honoured("-2 to 2"),
    "seed": honoured("the same seed gives the same text; random when absent, or -1"),
    "stop": honoured("a string, or up to 16 of at most 512 characters; never part of the answer"),
    "chat_template_kwargs": honoured("variables for the chat template"),
    "priority": honoured("lower runs earlier among the requests of one key; 0 when absent"),
    "cache_salt": honoured("cached prefixes are shared only under the same salt"),
    "user": honoured("echoed"),
    "safety_identifier": honoured("echoed"),
    "prompt_cache_key": honoured("echoed; prefixes are cached without being asked"),
    "prompt_cache_retention": hint(_CACHED),
    "prompt_cache_options": hint(_CACHED),
    "client_metadata": hint(_EFFECTLESS),
    "service_tier": values(equals("auto", "default"), "there is one tier; send auto, default or nothing"),
    "prompt": refused("there are no prompt templates here; send instructions and input"),
    "moderation": refused("there is no moderation model"),
    "context_management": refused("nothing is summed up; send truncation: auto, or a shorter input"),
    "messages": refused("this is the Responses API; send input, or send messages to /v1/chat/completions"),
    "max_tokens": refused("send max_output_tokens"),
    "max_completion_tokens": refused("send max_output_tokens"),
    "response_format": refused("send text.format"),
    "reasoning_effort": refused("send reasoning.effort"),
    "functions": refused("send tools"),
    "n": values(equals(1), "a response has one answer; send several requests"),
    "logprobs": refused("send include: message.output_text.logprobs, and top_logprobs"),
}

INPUT_TOKENS: Table = {
    **{
        name: RESPONSE[name]
        for name in (
            "model",
            "adapter",
            "input",
            "previous_response_id",
            "instructions",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "text",
            "reasoning",
            "chat_template_kwargs",
        )
    },
    "conversation": honoured("a conversation's id: its items come before the input"),
    "truncation": hint("all of it is counted"),
    "personality": refused("there are no presets of style; send instructions"),
}

TABLES: dict[str, Table] = {
    "": RESPONSE,
    ": text.format": FORMAT,
    ": text": TEXT,
    ": reasoning": REASONING_CONFIG,
    **{f": an item of the type {kind}": table for kind, table in ITEMS.items() if kind},
    **{f": a tool of the type {kind}": table for kind, table in TOOLS.items()},
}
"""For the documentation."""
