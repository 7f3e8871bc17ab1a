"""POST /v1/systemone: typed decisions, answered with a probability for every option; nothing is generated."""

from __future__ import annotations

from typing import Any

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.bodies import decision_fields
from llmos_server.api.bodies.body import WireBody, convert
from llmos_server.api.decisions.calibrations import find_calibration
from llmos_server.api.decisions.classifier_decisions import decide_by_classifier
from llmos_server.api.decisions.common import Decided
from llmos_server.api.decisions.decision_answers import to_answer
from llmos_server.api.decisions.decision_prompts import Question, as_text, read_questions
from llmos_server.api.decisions.decoder_decisions import decide_by_decoder
from llmos_server.api.filters.filtered_texts import filter_texts
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.systemone import (
    AppliedCalibration,
    DecisionQuestion,
    DecisionUsage,
    InputTokensDetails,
    SystemOneRequest,
    SystemOneResponse,
)
from llmos_server.api.served import ServedModel
from llmos_server.api.services import services_of
from llmos_server.calibration.calibration import Calibration, calibrated
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
    read_questions(data.questions)  # What is wrong is told before a filter is asked.
    data = await filter_texts(request, data, "systemone")
    questions = read_questions(data.questions)
    served = await find_model(request, data.model, data.adapter)
    work = _decide(request, served, data, questions)
    return json_response(request, await run_until_disconnect(request.receive, work))


async def _decide(
    request: AnyRequest, served: ServedModel, data: SystemOneRequest, questions: list[Question]
) -> SystemOneResponse:
    state = as_text(data.state)
    if served.kind == "classifier":
        decided = await decide_by_classifier(request, served, state, questions)
    else:
        decided = await decide_by_decoder(
            request, served, state, questions, priority=data.priority or 0, cache_salt=data.cache_salt or ""
        )
    found = {} if data.calibrated is False else _calibrations(request, decided)
    answers = {}
    for question, scores in zip(questions, decided.scores, strict=True):
        answers[question.id] = to_answer(question, calibrated(scores, found.get(question.wire.type)))
    details = InputTokensDetails(cached_tokens=decided.num_cached_tokens)
    usage = DecisionUsage(input_tokens=decided.num_tokens, input_tokens_details=details)
    applied: dict[str, AppliedCalibration] = {
        task: AppliedCalibration(temperature=each.temperature, bias=each.bias, num_rows=each.num_rows)
        for task, each in found.items()
    }
    return SystemOneResponse(
        model=served.id, answers=answers, usage=usage, model_digest=decided.model_digest, calibration=applied
    )


def _calibrations(request: AnyRequest, decided: Decided) -> dict[str, Calibration]:
    """Of the types of question that were asked, where they help."""
    services = services_of(request)
    tasks = {question.wire.type for question in decided.questions}
    found = {task: find_calibration(services, decided.model_digest, task) for task in sorted(tasks)}
    return {task: calibration for task, calibration in found.items() if calibration and calibration.helps}


def _check_question(name: str, question: Any) -> None:
    try:
        convert(question, DecisionQuestion)
    except InvalidRequest as error:
        where = f"questions.{name}.{error.param}" if error.param else f"questions.{name}"
        what = str(error).removeprefix(error.param or "body").lstrip(":").strip()
        raise InvalidRequest(f"{where}: {what}", param=where, code=error.code) from None
