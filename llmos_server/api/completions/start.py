"""Text to be continued, in whatever form it came, on its way to the engine."""

from __future__ import annotations

from llmos_server.api.completions.plan import Prompt, check_best_of, plan_completion, read_prompts
from llmos_server.api.filters.filtered_chats import filter_request
from llmos_server.api.generation.plans import Plan
from llmos_server.api.generation.sampling import check_stream_options
from llmos_server.api.generation.starting import AnyRequest, Start, create_start
from llmos_server.api.http.access import find_model
from llmos_server.api.schemas.completions import CompletionRequest
from llmos_server.api.services import services_of
from llmos_server.contracts import EngineInfo


async def start_completion(
    request: AnyRequest, data: CompletionRequest
) -> tuple[Start, CompletionRequest, list[Prompt]]:
    """Filtered, its model found; and what filters have left of the request. Collect it or open a stream of it.

    Raises InvalidRequest, ModelNotFound, Forbidden, PluginFailed.
    """
    services = services_of(request)
    check_stream_options(data)
    data, guard = await filter_request(request, data, "completions")
    served = await find_model(request, data.model, data.adapter)
    check_best_of(data, services.settings.max_n)
    prompts = read_prompts(data, services.settings.max_prompts)

    async def make_plan(info: EngineInfo) -> Plan:
        return await plan_completion(services, served, data, prompts, info)

    return create_start(request, services, served, make_plan, guard), data, prompts
