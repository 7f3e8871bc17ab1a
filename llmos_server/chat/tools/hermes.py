"""Hermes, Qwen 2.5 and 3, Granite 4 and many more: each call between <tool_call> and </tool_call>."""

from __future__ import annotations

from llmos_server.chat.tools.format import Calls, ToolFormat
from llmos_server.chat.tools.json_calls import JsonCalls

BEGIN, END = "<tool_call>", "</tool_call>"
OTHERS = ("<function=", "<arg_key>")
"""Between the same markers, Qwen's coders and GLM write XML."""


def _rules(calls: Calls) -> str:
    begin, end = calls.spell(BEGIN), calls.spell(END)
    separator = '"\\n"?'
    return f"""calls: call {calls.more(f"{separator} {begin} call")}
call: "\\n"? object "\\n"? {end}
{calls.objects("arguments")}"""


HERMES = ToolFormat(
    name="hermes",
    is_told_by=lambda template: (
        BEGIN in template and END in template and not any(other in template for other in OTHERS)
    ),
    begins=(BEGIN,),
    others=(END,),
    rules=_rules,
    create_scanner=lambda sink, before: JsonCalls(sink, (BEGIN, END), before),
)
