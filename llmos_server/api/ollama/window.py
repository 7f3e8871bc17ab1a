"""num_ctx: a request that may use less of the model's context than there is."""

from __future__ import annotations

import dataclasses

import msgspec

from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.generation.plans import Plan
from llmos_server.api.generation.starting import Start
from llmos_server.api.ollama.words import own_words
from llmos_server.contracts import EngineInfo


def narrow(start: Start, num_ctx: int | None) -> None:
    """Prompt and answer together fit into num_ctx tokens; a limit above the model's own is told. Refusals name the
    fields of Ollama's API."""
    make_plan = start.make_plan

    async def make_narrow_plan(info: EngineInfo) -> Plan:
        if num_ctx is not None and num_ctx > info.max_model_len:
            tell_unknown(start.request, ["options.num_ctx"])
        limit = min(num_ctx or info.max_model_len, info.max_model_len)
        with own_words():
            plan = await make_plan(msgspec.structs.replace(info, max_model_len=limit))
        room = limit - len(plan.prompts[0])
        sampling = msgspec.structs.replace(plan.sampling, max_tokens=min(plan.sampling.max_tokens, room))
        return dataclasses.replace(plan, sampling=sampling)

    start.make_plan = make_narrow_plan
