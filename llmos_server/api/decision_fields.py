"""The field tables of what decides instead of generating. See fields.py for the rest, and for who holds them true."""

from __future__ import annotations

from llmos_server.api.field_rules import Table, hint, honoured, refused, values

_TEXT_ONLY = "this model reads text only; put it into words"

QUESTION: Table = {
    "type": honoured("choice, score or noul (is it true?)"),
    "instructions": honoured("the question: a string, or an object or list that is read as JSON"),
    "criteria": honoured(
        "choice: option -> description or null, 1 to 255; score: a list of 2 to 10 levels, lowest first; "
        "noul: what true and false mean, may be absent"
    ),
}

SYSTEMONE: Table = {
    "state": honoured("what is judged: a string, or an object or list that is read as JSON"),
    "questions": honoured("1 to 64, by names of your own", each=QUESTION),
    "model": honoured("a served name or alias; the default model when absent"),
    "priority": honoured("lower runs earlier among the requests of one key; 0 when absent"),
    "cache_salt": honoured("cached prefixes are shared only under the same salt"),
    "stream": values(lambda value: value is False, "the answer comes at once; leave it out"),
    "user": hint("a hint that changes no answer"),
    "metadata": hint("a hint that changes no answer"),
    "assets": refused(_TEXT_ONLY, code="unsupported_content"),
    "images": refused(_TEXT_ONLY, code="unsupported_content"),
    "videos": refused(_TEXT_ONLY, code="unsupported_content"),
}
