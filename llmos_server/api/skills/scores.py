"""How likely a model finds answers: one call of a skill's, charged and booked as a request is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from llmos_server.access.limits import Lease
from llmos_server.api.accounting.visits import Visit, scoped_salt
from llmos_server.api.chats.messages import to_template_messages
from llmos_server.api.chats.plan import encode_chat, template_options
from llmos_server.api.generation.plans import wait_ready
from llmos_server.api.generation.scoring import TextScores, score_texts
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.served import ServedModel
from llmos_server.api.services import Services
from llmos_server.errors import EngineBusy, InvalidRequest
from llmos_server.key_contracts import UsageStatus


async def score_answers(
    request: AnyRequest,
    services: Services,
    served: ServedModel,
    data: ChatCompletionRequest,
    answers: Sequence[str],
    lease: Lease,
) -> TextScores:
    """data: whose messages the answers are to. Raises as a chat does."""
    with Visit(request, served.id, lease) as visit, served.generator.hold():
        info = await wait_ready(served, services.settings.load_timeout_seconds)
        messages = to_template_messages(data.messages, max_tool_output=services.settings.max_tool_output)
        prompt = await encode_chat(services, served, messages, template_options(data, served))
        visit.charge_prompt(len(prompt))
        status: UsageStatus | None = "error"
        num_tokens = len(prompt)
        num_cached = 0
        try:
            salt = scoped_salt(visit.principal, "", services.settings.isolate_keys)
            owner = visit.principal.engine_owner
            scores = await score_texts(
                services, served, info, prompt, answers, param="answers", owner=owner, cache_salt=salt
            )
            status, num_cached = "stop", scores.num_cached_tokens
            num_tokens += sum(scores.num_tokens)
            visit.charge(sum(scores.num_tokens))
            return scores
        except asyncio.CancelledError:
            status = "abort"
            raise
        except (EngineBusy, InvalidRequest):
            status = None
            visit.take_back(len(prompt))
            raise
        finally:
            if status is not None:  # It was admitted.
                visit.book(status, prompt_tokens=num_tokens, cached_tokens=num_cached)
