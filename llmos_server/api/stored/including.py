"""`include` of what is stored: all that was made is kept and shown, so names that can be had change nothing."""

from __future__ import annotations

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.responding.chat_request import check_included
from llmos_server.api.stored.query import read_list


def check_include(request: AnyRequest) -> None:
    """Raises InvalidRequest for what can't be had."""
    check_included(read_list(request, "include"))
