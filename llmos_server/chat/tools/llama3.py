"""Llama 3: the whole answer is a call, {"name": …, "parameters": {…}}, with or without <|python_tag|> before it.

Its templates take one call a message.
"""

from __future__ import annotations

from llmos_server.chat.tools.format import Calls, ToolFormat
from llmos_server.chat.tools.json_calls import JsonCalls

BEGIN = "<|python_tag|>"
KEY = '"parameters":'
"""In what its templates tell the model to write; others with its header tokens have formats of their own."""


def _rules(calls: Calls) -> str:
    return f"""calls: object
{calls.objects("parameters")}"""


LLAMA3 = ToolFormat(
    name="llama3",
    is_told_by=lambda template: BEGIN in template or ("<|start_header_id|>" in template and KEY in template),
    begins=(BEGIN,),
    rules=_rules,
    create_scanner=lambda sink, before: JsonCalls(sink, (BEGIN,), before),
    max_calls=1,
    is_bare=True,
)
