"""Mistral up to its third tokenizer: one list of calls after [TOOL_CALLS]."""

from __future__ import annotations

from llmos_server.chat.tools.format import Calls, ToolFormat
from llmos_server.chat.tools.json_calls import JsonCalls

BEGIN = "[TOOL_CALLS]"


def _rules(calls: Calls) -> str:
    return f"""calls: " "? "[" object {calls.more('", " object')} "]"
{calls.objects("arguments")}"""


MISTRAL = ToolFormat(
    name="mistral",
    is_told_by=lambda template: BEGIN in template and "[ARGS]" not in template,
    begins=(BEGIN,),
    rules=_rules,
    create_scanner=lambda sink, before: JsonCalls(sink, (BEGIN,), before),
    has_short_ids=True,
)
