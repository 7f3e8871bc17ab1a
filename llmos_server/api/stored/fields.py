"""Which fields of conversations' requests are honoured. See api/bodies/fields.py."""

from __future__ import annotations

import dataclasses

from llmos_server.api.bodies.field_rules import Rule, Status, Table, honoured
from llmos_server.api.bodies.fields import MESSAGE
from llmos_server.api.responding.fields import ITEMS

_IDS = ("response_id", "conversation_id", "item_id", "request_id")
_METADATA = "up to 16 texts of up to 512 characters, under names of up to 64"
_ITEMS = "up to 20 items as a response's input has them; ids are made where they are missing"


def _keep(rule: Rule) -> Rule:
    """What has no effect on an answer is still part of the item, and is shown again."""
    if rule.status is Status.HINT:
        return honoured("kept")
    return rule if rule.nested is None else dataclasses.replace(rule, nested=_kept(rule.nested))


def _kept(table: Table) -> Table:
    return {name: _keep(rule) for name, rule in table.items()}


_NEW_ITEMS = honoured(_ITEMS, by_type={kind: _kept(table) for kind, table in ITEMS.items()})

CREATE_CONVERSATION: Table = {"metadata": honoured(_METADATA), "items": _NEW_ITEMS}
UPDATE_CONVERSATION: Table = {"metadata": honoured(f"{_METADATA}; all of them anew, an empty object takes them away")}
CREATE_ITEMS: Table = {"items": _NEW_ITEMS}
CREATE_FEEDBACK: Table = {
    "model": honoured("what answered, as the request named it"),
    "messages": honoured("of the chat, before the answer", nested=MESSAGE),
    "answer": honoured("the text that is judged"),
    "rating": honoured("-1, 0 or 1"),
    "correction": honoured("what the answer should have been"),
    "comment": honoured("up to 10,000 characters"),
    "tags": honoured("up to 32 of up to 64 characters"),
    **{name: honoured("kept as it is sent, and not looked up") for name in _IDS},
    "system_fingerprint": honoured("of the answer"),
    "sampling": honoured("up to 32 parameters of the request, as they were sent"),
}
