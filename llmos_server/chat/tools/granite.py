"""Granite 3: one list of calls after <|tool_call|>, or <tool_call>."""

from __future__ import annotations

from llmos_server.chat.tools.format import Calls, ToolFormat
from llmos_server.chat.tools.json_calls import JsonCalls

BEGINS = ("<|tool_call|>", "<tool_call>")


def _rules(calls: Calls) -> str:
    return f"""calls: "[" object {calls.more('", " object')} "]"
{calls.objects("arguments")}"""


GRANITE = ToolFormat(
    name="granite",
    is_told_by=lambda template: "<|start_of_role|>" in template and "</tool_call>" not in template,
    begins=BEGINS,
    rules=_rules,
    create_scanner=lambda sink, before: JsonCalls(sink, BEGINS, before),
)
