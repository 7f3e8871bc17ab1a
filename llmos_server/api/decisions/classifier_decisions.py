"""Typed questions answered by an encoder with a classification head, in the way that its labels allow.

- **Inference models** (labels entailment and contradiction) judge for each option whether the state entails it, as
  Transformers' zero-shot classification does.
- **Cross-encoders** (one output) tell how well each option goes with the state.
- **Classifiers** know their own classes: a choice among them, from the state alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmos_server.api.decisions.common import Decided
from llmos_server.api.decisions.decision_prompts import TRUE, Question, as_text
from llmos_server.api.encoders.encoding import run_encoder
from llmos_server.api.encoders.relevance import unpack
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.served import ServedModel
from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import EncoderInfo
from llmos_server.errors import InvalidRequest

MAX_STATEMENTS = 2048
"""Options of all questions together: each is an input of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How a classifier decides. yes, no: places of its outputs for "follows" and "contradicts"."""

    labels: list[str]
    yes: int | None = None
    no: int | None = None

    @property
    def reads_statements(self) -> bool:
        return self.yes is not None or len(self.labels) == 1

    def pair(self, state: str, statement: str) -> tuple[str, str]:
        """An inference model reads the premise first, a cross-encoder the query."""
        return (state, statement) if self.yes is not None else (statement, state)

    def scores(self, question: Question, outputs: Sequence[list[float]]) -> list[float]:
        """Of the question's options, from the outputs for its statements (or for the state alone)."""
        if not self.reads_statements:
            places = label_places(question, self.labels)
            return [outputs[0][place] for place in places]
        yes = self.yes or 0
        if question.wire.type == "noul":
            return [outputs[0][yes], outputs[0][self.no] if self.no is not None else 0.0]
        return [output[yes] for output in outputs]


def choose_head(labels: list[str]) -> Head:
    folded = [label.casefold().replace(" ", "_").replace("-", "_") for label in labels]
    yes = next((place for place, label in enumerate(folded) if label.startswith("entail")), None)
    negative = ("contradict", "not_entail", "non_entail")
    no = next((place for place, label in enumerate(folded) if label.startswith(negative)), None)
    return Head(labels=labels, yes=yes, no=no) if yes is not None and no is not None else Head(labels=labels)


async def decide_by_classifier(
    request: AnyRequest, served: ServedModel, state: str, questions: list[Question]
) -> Decided:
    """Raises InvalidRequest for questions that this model can't answer, and for what is too long."""
    statements = [statements_of(question) for question in questions]
    num = sum(map(len, statements))
    if num > MAX_STATEMENTS:
        raise InvalidRequest(
            f"questions hold {num} options in all; this model reads each with the state, at most {MAX_STATEMENTS}.",
            param="questions",
            code="invalid_value",
        )
    num_chars = num * len(state) + sum(len(text) for texts in statements for text in texts)
    inputs, vectors = await run_encoder(
        request, served, num_chars, lambda info: _prepare(served.renderer, info, state, questions, statements)
    )
    outputs = [unpack(vector) for vector in vectors]
    scores, place = [], 0
    for question, texts in zip(questions, statements, strict=True):
        if inputs.head.reads_statements:
            scores.append(inputs.head.scores(question, outputs[place : place + len(texts)]))
            place += len(texts)
        else:
            scores.append(inputs.head.scores(question, outputs))
    return Decided(
        questions=questions, scores=scores, model_digest=inputs.model_digest, num_tokens=sum(map(len, inputs.ids))
    )


def statements_of(question: Question) -> list[str]:
    """What each option claims; of noul that it is true."""
    instructions = as_text(question.wire.instructions)
    if question.wire.type == "noul":
        meaning = question.descriptions[question.options.index(TRUE)]
        return [instructions if meaning is None else as_text(meaning)]
    return [f"{instructions}\n{text}" for text in question.option_texts()]


def label_places(question: Question, labels: list[str]) -> list[int]:
    """Of a choice's options among the model's own classes. Raises InvalidRequest for any other question."""
    known = ", ".join(labels[:20]) + (", …" if len(labels) > 20 else "")
    where = f"questions.{question.id}"
    if question.wire.type != "choice":
        raise InvalidRequest(
            f"{where}.type: this model sorts texts into its own classes ({known}); ask for a choice among them, or ask "
            "a decoder, a cross-encoder or an inference model.",
            param=f"{where}.type",
            code="unsupported_value",
        )
    folded = {label.casefold(): place for place, label in enumerate(labels)}
    exact = {label: place for place, label in enumerate(labels)}
    places = [exact.get(option, folded.get(option.casefold())) for option in question.options]
    unknown = [option for option, place in zip(question.options, places, strict=True) if place is None]
    if unknown or len(set(places)) != len(places):
        raise InvalidRequest(
            f"{where}.criteria: {unknown[0] if unknown else 'an option twice':.100} is no class of this model, which "
            f"knows {known}.",
            param=f"{where}.criteria",
            code="invalid_value",
        )
    return [place for place in places if place is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """An Encodable."""

    ids: list[list[int]]
    second_starts: list[int]
    head: Head
    model_digest: str


def _prepare(
    renderer: Renderer, info: EncoderInfo, state: str, questions: list[Question], statements: list[list[str]]
) -> _Inputs:
    head = choose_head(info.labels)
    if not head.reads_statements:
        for question in questions:
            label_places(question, info.labels)
        (ids,) = renderer.encode_batch([state], param="state")
        _check_length("state", len(ids), info)
        return _Inputs(ids=[ids], second_starts=[], head=head, model_digest=info.model_digest)
    encoder = renderer.pair_encoder()
    pairs = []
    for question, texts in zip(questions, statements, strict=True):
        for text in texts:
            pairs.append(encoder.pair(*head.pair(state, text)))
            _check_length(f"questions.{question.id}", len(pairs[-1].ids), info)
    return _Inputs(
        ids=[pair.ids for pair in pairs],
        second_starts=[pair.second_start for pair in pairs],
        head=head,
        model_digest=info.model_digest,
    )


def _check_length(name: str, num_tokens: int, info: EncoderInfo) -> None:
    if not 1 <= num_tokens <= info.max_input_tokens:
        raise InvalidRequest(
            f"{name}: together with the state it has {num_tokens} tokens; this model takes 1 to "
            f"{info.max_input_tokens}, special tokens included. Shorten the state.",
            param=name,
            code="context_length_exceeded",
        )
