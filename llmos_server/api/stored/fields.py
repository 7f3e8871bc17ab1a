"""Which fields of conversations' requests are honoured. See api/bodies/fields.py."""

from __future__ import annotations

import dataclasses

from llmos_server.api.bodies.field_rules import Rule, Status, Table, honoured
from llmos_server.api.responding.fields import ITEMS

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
