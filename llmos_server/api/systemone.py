"""POST /v1/systemone: typed decisions, answered with a probability for every option; nothing is generated."""

from __future__ import annotations

import time
from typing import Any

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api import decision_fields
from llmos_server.api.access import find_model
from llmos_server.api.body import WireBody, convert
from llmos_server.api.charges import charged
from llmos_server.api.decision_answers import to_answer
from llmos_server.api.decision_prompts import ANSWER, Question, as_text, read_questions
from llmos_server.api.disconnect import run_until_disconnect
from llmos_server.api.plans import new_id
from llmos_server.api.responses import ERRORS, json_response
from llmos_server.api.schemas.systemone import (
    DecisionQuestion,
    DecisionUsage,
    InputTokensDetails,
    SystemOneRequest,
    SystemOneResponse,
)
from llmos_server.api.scoring import check_score_room, encode_texts, run_scores, softmax
from llmos_server.api.served import ServedModel
from llmos_server.api.services import services_of
from llmos_server.api.starting import AnyRequest
from llmos_server.api.visits import Visit, scoped_salt
from llmos_server.contracts import EngineInfo, ScoreRequest
from llmos_server.errors import InvalidRequest


class SystemOneBody(WireBody[SystemOneRequest]):
    table = decision_fields.SYSTEMONE

    def to_struct(self, fields: dict[str, Any]) -> SystemOneRequest:
        """The types alone don't tell which question is at fault: the names are the client's."""
        try:
            return super().to_struct(fields)
        except InvalidRequest as error:
            if (error.param or "").startswith("questions["):
                for name, question in fields["questions"].items():
                    _check_question(name, question)
            raise


@post(
    "/v1/systemone",
    dto=SystemOneBody,
    return_dto=None,
    status_code=200,
    tags=["Decisions"],
    summary="Answer typed questions about a state, with probabilities",
    responses={200: ResponseSpec(SystemOneResponse, description="An answer to each question."), **ERRORS},
)
async def decide(request: AnyRequest, data: JSONBody[SystemOneRequest]) -> ASGIApp:
    questions = read_questions(data.questions)
    served = await find_model(request, data.model)
    work = _decide(request, served, data, questions)
    return json_response(request, await run_until_disconnect(request.receive, work))


async def _decide(
    request: AnyRequest, served: ServedModel, data: SystemOneRequest, questions: list[Question]
) -> SystemOneResponse:
    services, arrival = services_of(request), time.perf_counter()
    generator, metrics = served.generator, services.metrics.of(served.id)
    with Visit(request, served.id) as visit, generator.hold():
        info = await generator.wait_ready(services.settings.load_timeout_seconds)
        salt = scoped_salt(visit.principal, data.cache_salt or "", services.settings.isolate_keys)
        state = as_text(data.state)
        num_chars = sum(len(state) + len(question.text()) for question in questions)
        encoded = await services.pool.run(num_chars, lambda: [_encode(served, info, state, q) for q in questions])
        requests = [
            ScoreRequest(
                request_id=new_id("dec"),
                prompt_ids=prompt,
                continuations=labels,
                priority=data.priority or 0,
                cache_salt=salt,
                owner=visit.principal.key_id,
            )
            for prompt, labels in encoded
        ]
        num_tokens = sum(len(each.prompt_ids) for each in requests)
        with charged(visit, generator, metrics, num_tokens, arrival) as charge:
            scores = await run_scores(served, requests)
            charge.num_cached_tokens = sum(score.num_cached_tokens for score in scores)
            charge.queue_seconds = scores[0].queue_seconds
    answers = {
        question.id: to_answer(question, softmax(score.totals))
        for question, score in zip(questions, scores, strict=True)
    }
    details = InputTokensDetails(cached_tokens=charge.num_cached_tokens)
    usage = DecisionUsage(input_tokens=num_tokens, input_tokens_details=details)
    return SystemOneResponse(model=served.id, answers=answers, usage=usage)


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


def _check_question(name: str, question: Any) -> None:
    try:
        convert(question, DecisionQuestion)
    except InvalidRequest as error:
        where = f"questions.{name}.{error.param}" if error.param else f"questions.{name}"
        what = str(error).removeprefix(error.param or "body").lstrip(":").strip()
        raise InvalidRequest(f"{where}: {what}", param=where, code=error.code) from None
