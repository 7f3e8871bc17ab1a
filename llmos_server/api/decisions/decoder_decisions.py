"""Typed questions answered by a decoder: which label would it write?"""

from __future__ import annotations

import time

from llmos_server.api.accounting.charges import charged
from llmos_server.api.accounting.visits import Visit, scoped_salt
from llmos_server.api.decisions.common import Decided
from llmos_server.api.decisions.decision_prompts import ANSWER, Question
from llmos_server.api.generation.plans import new_id
from llmos_server.api.generation.scoring import check_score_room, encode_texts, run_scores
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.served import ServedModel
from llmos_server.api.services import services_of
from llmos_server.contracts import EngineInfo, ScoreRequest


async def decide_by_decoder(
    request: AnyRequest,
    served: ServedModel,
    state: str,
    questions: list[Question],
    *,
    priority: int,
    cache_salt: str,
) -> Decided:
    """Raises InvalidRequest for what is too long; else as the engine does. Cancelling gives it up."""
    services, arrival = services_of(request), time.perf_counter()
    generator, metrics = served.generator, services.metrics.of(served.base_id)
    services.metrics.adapter_requests.count(served)
    with Visit(request, served.id) as visit, generator.hold():
        info = await generator.wait_ready(services.settings.load_timeout_seconds)
        salt = scoped_salt(visit.principal, cache_salt, services.settings.isolate_keys)
        num_chars = sum(len(state) + len(question.text()) for question in questions)
        encoded = await services.pool.run(num_chars, lambda: [_encode(served, info, state, q) for q in questions])
        requests = [
            ScoreRequest(
                request_id=new_id("dec"),
                prompt_ids=prompt,
                continuations=labels,
                priority=priority,
                cache_salt=salt,
                owner=visit.principal.engine_owner,
            )
            for prompt, labels in encoded
        ]
        num_tokens = sum(len(each.prompt_ids) for each in requests)
        with charged(visit, generator, metrics, num_tokens, arrival) as charge:
            scores = await run_scores(served, requests)
            charge.num_cached_tokens = sum(score.num_cached_tokens for score in scores)
            charge.queue_seconds = scores[0].queue_seconds
    return Decided(
        questions=questions,
        scores=[score.totals for score in scores],
        model_digest=info.model_digest,
        num_tokens=num_tokens,
        num_cached_tokens=charge.num_cached_tokens,
    )


def _encode(served: ServedModel, info: EngineInfo, state: str, question: Question) -> tuple[list[int], list[list[int]]]:
    """The prompt, which begins with the state for all questions, and the labels that may follow it."""
    renderer, where = served.renderer, f"questions.{question.id}"
    text, labels = f"{state}\n\n{question.text()}", question.labels
    if renderer.has_template:
        kwargs = {"enable_thinking": False} if "enable_thinking" in renderer.template_variables else None
        prompt = renderer.encode_chat([{"role": "user", "content": text}], template_kwargs=kwargs)
    else:
        prompt = renderer.encode(f"{text}\n{ANSWER}", parse_special=False, param=where)
        labels = [f" {label}" for label in labels]
    encoded = encode_texts(served, prompt, labels, where)
    check_score_room(prompt, encoded, info, where)
    return prompt, encoded
