"""Mistral from its eleventh tokenizer on: [TOOL_CALLS]name[ARGS]{…} for each call, some with [CALL_ID] and an id."""

from __future__ import annotations

import json

from llmos_server.chat.tools.format import Calls, ToolFormat
from llmos_server.chat.tools.named_calls import NamedCalls

BEGIN, ID, ARGUMENTS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"


def _rules(calls: Calls) -> str:
    begin, arguments = calls.spell(BEGIN), calls.spell(ARGUMENTS)
    each = [f"call_{i}: {json.dumps(name)} id? {arguments} arguments_{i}" for i, name in enumerate(calls.names)]
    return "\n".join(
        [
            f"calls: call {calls.more(f'{begin} call')}",
            f"call: {' | '.join(f'call_{i}' for i in range(len(each)))}",
            f"id: {calls.spell(ID)} /[a-zA-Z0-9]{{9}}/",
            *each,
        ]
    )


MISTRAL_ARGS = ToolFormat(
    name="mistral_args",
    is_told_by=lambda template: BEGIN in template and ARGUMENTS in template,
    begins=(BEGIN,),
    others=(ID, ARGUMENTS),
    rules=_rules,
    create_scanner=lambda sink, before: NamedCalls(sink, begin=BEGIN, id=ID, arguments=ARGUMENTS, before=before),
    has_short_ids=True,
)
