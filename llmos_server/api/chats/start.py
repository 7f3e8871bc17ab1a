"""A chat in OpenAI's form, whatever form it came in, on its way to the engine."""

from __future__ import annotations

from llmos_server.access.limits import Lease
from llmos_server.api.bodies.unknown_fields import tell_unread_variables
from llmos_server.api.chats.plan import plan_chat
from llmos_server.api.filters.filtered_chats import filter_request
from llmos_server.api.generation.plans import Plan
from llmos_server.api.generation.sampling import check_stream_options
from llmos_server.api.generation.starting import AnyRequest, Start, create_start
from llmos_server.api.http.access import find_model
from llmos_server.api.http.context import DROPPED, response_headers
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.services import services_of
from llmos_server.contracts import EngineInfo


async def start_chat(request: AnyRequest, data: ChatCompletionRequest, lease: Lease | None = None) -> Start:
    """Filtered, its model found; collect it or open a stream of it. lease: see Start.

    Raises InvalidRequest, ModelNotFound, Forbidden, PluginFailed.
    """
    services = services_of(request)
    check_stream_options(data)
    data, guard = await filter_request(request, data, "chat.completions")
    served = await find_model(request, data.model, data.adapter)
    tell_unread_variables(request, served, data.chat_template_kwargs)

    async def make_plan(info: EngineInfo) -> Plan:
        plan = await plan_chat(services, served, data, info)
        if plan.num_dropped_messages:
            response_headers(request)[DROPPED] = str(plan.num_dropped_messages)
        return plan

    start = create_start(request, services, served, make_plan, guard)
    start.lease = lease
    return start
