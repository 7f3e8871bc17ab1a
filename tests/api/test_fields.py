"""The one rule for fields."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from llmos_server.api.anthropic import fields as anthropic_fields
from llmos_server.api.batches.handlers import CREATE_BATCH
from llmos_server.api.bodies import decision_fields, fields
from llmos_server.api.bodies.field_rules import Status
from llmos_server.api.evals import fields as eval_fields
from llmos_server.api.fine_tuning import fields as tuning_fields
from llmos_server.api.responding import fields as response_fields
from llmos_server.api.responding.items import STRUCTS as ITEM_STRUCTS
from llmos_server.api.schemas import anthropic, fine_tuning
from llmos_server.api.schemas.admin_inspection import AttentionRequest, PreviewRequest
from llmos_server.api.schemas.batches import CreateBatchRequest
from llmos_server.api.schemas.chat import ChatCompletionRequest, ChatMessage, ContentPart
from llmos_server.api.schemas.common import StreamOptions
from llmos_server.api.schemas.completions import CompletionRequest
from llmos_server.api.schemas.embeddings import EmbeddingRequest
from llmos_server.api.schemas.evals import CreateEvalRequest, CreateEvalRunRequest, UpdateEvalRequest
from llmos_server.api.schemas.feedback import CreateFeedbackRequest
from llmos_server.api.schemas.graders import RunGraderRequest, ValidateGraderRequest
from llmos_server.api.schemas.relevance import ClassifyRequest, RerankRequest, ScoreRequest, TextDocument
from llmos_server.api.schemas.responses import ReasoningConfig, ResponseRequest, TextConfig, TextFormat
from llmos_server.api.schemas.structured import JsonSchemaFormat, ResponseFormat, StructuredOutputs
from llmos_server.api.schemas.systemone import DecisionQuestion, SystemOneRequest
from llmos_server.api.schemas.tokenize import DetokenizeRequest, TokenizeRequest
from llmos_server.api.schemas.tools import FunctionDefinition, ToolDefinition
from llmos_server.api.stored import fields as stored_fields
from llmos_server.evaluation import sources
from llmos_server.evaluation.graders import spec as grader_spec

STRUCTS = [
    (fields.CHAT, ChatCompletionRequest),
    (fields.COMPLETION, CompletionRequest),
    (fields.MESSAGE, ChatMessage),
    (stored_fields.CREATE_FEEDBACK, CreateFeedbackRequest),
    (CREATE_BATCH, CreateBatchRequest),
    (fields.PART, ContentPart),
    (fields.STREAM_OPTIONS, StreamOptions),
    (fields.TOOL, ToolDefinition),
    (fields.FUNCTION, FunctionDefinition),
    (fields.TOKENIZE, TokenizeRequest),
    (fields.DETOKENIZE, DetokenizeRequest),
    (fields.PROMPT, PreviewRequest),
    (fields.ATTENTION, AttentionRequest),
    (fields.EMBEDDING, EmbeddingRequest),
    (fields.RESPONSE_FORMAT, ResponseFormat),
    (fields.JSON_SCHEMA, JsonSchemaFormat),
    (fields.STRUCTURED_OUTPUTS, StructuredOutputs),
    (decision_fields.SYSTEMONE, SystemOneRequest),
    (decision_fields.QUESTION, DecisionQuestion),
    (decision_fields.RERANK, RerankRequest),
    (decision_fields.SCORE, ScoreRequest),
    (decision_fields.CLASSIFY, ClassifyRequest),
    (decision_fields.DOCUMENT, TextDocument),
    (response_fields.RESPONSE, ResponseRequest),
    (response_fields.TEXT, TextConfig),
    (response_fields.FORMAT, TextFormat),
    (response_fields.REASONING_CONFIG, ReasoningConfig),
    *((response_fields.ITEMS[kind], struct) for kind, struct in ITEM_STRUCTS.items()),
    (eval_fields.RUN_GRADER, RunGraderRequest),
    (eval_fields.VALIDATE_GRADER, ValidateGraderRequest),
    (eval_fields.MESSAGE, grader_spec.Message),
    (eval_fields.GRADER_SAMPLING, grader_spec.GraderSampling),
    (eval_fields.CREATE_EVAL, CreateEvalRequest),
    (eval_fields.UPDATE_EVAL, UpdateEvalRequest),
    (eval_fields.CREATE_RUN, CreateEvalRunRequest),
    (anthropic_fields.MESSAGES, anthropic.MessagesRequest),
    (anthropic_fields.COUNT_TOKENS, anthropic.CountTokensRequest),
    (anthropic_fields.MESSAGE, anthropic.InputMessage),
    (anthropic_fields.BLOCK, anthropic.Block),
    (anthropic_fields.RESULT_BLOCK, anthropic.ResultBlock),
    (anthropic_fields.TOOL, anthropic.ToolParam),
    (anthropic_fields.TOOL_CHOICE, anthropic.ToolChoice),
    (anthropic_fields.THINKING, anthropic.Thinking),
    (anthropic_fields.OUTPUT_CONFIG, anthropic.OutputConfig),
    (anthropic_fields.OUTPUT_FORMAT, anthropic.OutputFormat),
    (tuning_fields.CREATE_JOB, fine_tuning.CreateFineTuningJobRequest),
    (tuning_fields.METHOD, fine_tuning.Method),
    (
        {**tuning_fields.DPO_HYPERPARAMETERS, **tuning_fields.REINFORCEMENT_HYPERPARAMETERS},
        fine_tuning.Hyperparameters,
    ),
    (tuning_fields.REINFORCEMENT, fine_tuning.ReinforcementConfig),
    (tuning_fields.GATE, fine_tuning.Gate),
]


@pytest.mark.parametrize(("table", "struct"), STRUCTS)
def test_a_field_is_in_the_struct_exactly_when_it_is_honoured(table, struct):
    honoured = {name for name, rule in table.items() if rule.status is Status.HONOURED}
    assert honoured == {field.encode_name for field in msgspec.structs.fields(struct)}


TYPED = [
    (eval_fields.STRING_CHECK, grader_spec.StringCheck),
    (eval_fields.TEXT_SIMILARITY, grader_spec.TextSimilarity),
    (eval_fields.LABEL_MODEL, grader_spec.LabelModel),
    (eval_fields.SCORE_MODEL, grader_spec.ScoreModel),
    (eval_fields.PYTHON, grader_spec.Python),
    (eval_fields.MULTI, grader_spec.Multi),
    (eval_fields.SOURCES["file_content"], sources.FileContent),
    (eval_fields.SOURCES["file_id"], sources.FileId),
    (eval_fields.STORED_RESPONSES, sources.StoredResponses),
    (eval_fields.INPUT_MESSAGES["template"], sources.TemplateMessages),
    (eval_fields.INPUT_MESSAGES["item_reference"], sources.ItemReference),
    (eval_fields.COMPLETION_SAMPLING, sources.CompletionSampling),
    (eval_fields.RESPONSE_SAMPLING, sources.ResponseSampling),
    (eval_fields.DATA_SOURCES["jsonl"], sources.Jsonl),
    (eval_fields.DATA_SOURCES["completions"], sources.Completions),
    (eval_fields.DATA_SOURCES["responses"], sources.Responses),
]
"""Structs that are told apart by `type`, which is no field of theirs."""


@pytest.mark.parametrize(("table", "struct"), TYPED)
def test_the_same_of_typed_objects(table, struct):
    honoured = {name for name, rule in table.items() if rule.status is Status.HONOURED}
    named = {field.encode_name for field in msgspec.structs.fields(struct)}
    assert honoured - {"type"} == named - {"type"}
    assert "type" in table or struct in (sources.CompletionSampling, sources.ResponseSampling)


def openai_fields(name: str) -> set[str]:
    path = os.environ.get("OPENAI_OPENAPI", "")
    if not Path(path).is_file():
        pytest.skip("OPENAI_OPENAPI names no copy of OpenAI's openapi.json")
    schemas = json.loads(Path(path).read_text())["components"]["schemas"]

    def collect(schema: dict) -> set[str]:
        if "$ref" in schema:
            return collect(schemas[schema["$ref"].rsplit("/", 1)[1]])
        found = set(schema.get("properties", {}))
        for part in schema.get("allOf", []):
            found |= collect(part)
        return found

    return collect(schemas[name])


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("CreateChatCompletionRequest", fields.CHAT),
        ("CreateCompletionRequest", fields.COMPLETION),
        ("CreateEmbeddingRequest", fields.EMBEDDING),
        ("CreateResponse", response_fields.RESPONSE),
        ("ResponseTextParam", response_fields.TEXT),
        ("TextResponseFormatJsonSchema", response_fields.FORMAT),
        ("Reasoning", response_fields.REASONING_CONFIG),
        ("EasyInputMessage", response_fields.MESSAGE),
        ("OutputMessage", response_fields.MESSAGE),
        ("FunctionToolCall", response_fields.CALL),
        ("FunctionCallOutputItemParam", response_fields.CALL_OUTPUT),
        ("ReasoningItem", response_fields.REASONING),
        ("ItemReferenceParam", response_fields.REFERENCE),
        ("MCPToolCall", response_fields.MCP_CALL),
        ("MCPListTools", response_fields.MCP_LIST),
        ("MCPApprovalRequest", response_fields.APPROVAL_REQUEST),
        ("MCPApprovalResponse", response_fields.APPROVAL_RESPONSE),
        ("FunctionToolParam", response_fields.FUNCTION),
        ("NamespaceToolParam", response_fields.NAMESPACE),
        ("ChatCompletionRequestAssistantMessage", fields.MESSAGE),
        ("ChatCompletionRequestUserMessage", fields.MESSAGE),
        ("ChatCompletionRequestToolMessage", fields.MESSAGE),
        ("ChatCompletionResponseMessage", fields.MESSAGE),
        ("ChatCompletionRequestMessageContentPartText", fields.PART),
        ("ChatCompletionRequestMessageContentPartImage", fields.PART),
        ("ChatCompletionRequestMessageContentPartAudio", fields.PART),
        ("ChatCompletionRequestMessageContentPartFile", fields.PART),
        ("RunGraderRequest", eval_fields.RUN_GRADER),
        ("ValidateGraderRequest", eval_fields.VALIDATE_GRADER),
        ("EvalItem", eval_fields.MESSAGE),
        ("EvalGraderStringCheck", eval_fields.STRING_CHECK),
        ("EvalGraderTextSimilarity", eval_fields.TEXT_SIMILARITY),
        ("EvalGraderLabelModel", eval_fields.LABEL_MODEL),
        ("EvalGraderScoreModel", eval_fields.SCORE_MODEL),
        ("EvalGraderPython", eval_fields.PYTHON),
        ("GraderMulti", eval_fields.MULTI),
        ("CreateEvalRequest", eval_fields.CREATE_EVAL),
        ("CreateEvalRunRequest", eval_fields.CREATE_RUN),
        ("CreateEvalJsonlRunDataSource", eval_fields.DATA_SOURCES["jsonl"]),
        ("CreateEvalCompletionsRunDataSource", eval_fields.DATA_SOURCES["completions"]),
        ("CreateEvalResponsesRunDataSource", eval_fields.DATA_SOURCES["responses"]),
        ("EvalJsonlFileContentSource", eval_fields.SOURCES["file_content"]),
        ("EvalJsonlFileIdSource", eval_fields.SOURCES["file_id"]),
        ("EvalResponsesSource", eval_fields.STORED_RESPONSES),
        ("CreateFineTuningJobRequest", tuning_fields.CREATE_JOB),
        ("FineTuneMethod", tuning_fields.METHOD),
        ("FineTuneSupervisedHyperparameters", tuning_fields.HYPERPARAMETERS),
        ("FineTuneDPOHyperparameters", tuning_fields.DPO_HYPERPARAMETERS),
        ("FineTuneReinforcementHyperparameters", tuning_fields.REINFORCEMENT_HYPERPARAMETERS),
        ("FineTuneReinforcementMethod", tuning_fields.REINFORCEMENT),
    ],
)
def test_every_field_of_openais_document_has_a_rule(name, table):
    assert openai_fields(name) - set(table) == set()


async def test_null_equals_absent(api):
    nulls = {name: None for name in fields.CHAT if name not in ("messages", "model")}
    reply = await api.chat(**nulls, unheard_of=None)
    assert reply.status_code == 200
    assert "X-LLMOS-Ignored" not in reply.headers
    nulls = {name: None for name in fields.COMPLETION if name not in ("prompt", "model")}
    assert (await api.complete(**nulls)).status_code == 200


@pytest.mark.parametrize(
    "harmless",
    [
        {"tools": []},
        {"functions": [], "function_call": "none"},
        {"tool_choice": "none"},
        {"tool_choice": "auto", "parallel_tool_calls": True},
        {"store": False},
        {"service_tier": "auto"},
        {"service_tier": "default"},
        {"modalities": ["text"]},
        {"response_format": {"type": "text"}},
        {"use_beam_search": False, "length_penalty": 1.0, "repeat_penalty": 1},
        {"prompt_cache_key": "k", "safety_identifier": "s", "verbosity": "low", "user": "u", "metadata": {"a": "b"}},
        {"prediction": {"type": "content", "content": "x"}},
        {"best_of": 1, "echo": False},
        {"stop": []},
    ],
)
async def test_what_asks_for_what_happens_anyway_is_honoured(api, harmless):
    reply = await api.chat(**harmless, headers={"X-LLMOS-Strict": "1"})
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(
    ("refused", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice.function.name"),
        ({"response_format": {"type": "structural_tag"}}, "response_format.type"),
        ({"store": True}, "store"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
        ({"structured_outputs": {"structural_tag": {"a": 1}}}, "structured_outputs.structural_tag"),
        ({"guided_json": {"type": "object"}}, "guided_json"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"chat_template": "x"}, "chat_template"),
        ({"prompt_logprobs": 1}, "prompt_logprobs"),
        ({"n_predict": 5}, "n_predict"),
        ({"repeat_penalty": 1.3}, "repeat_penalty"),
        ({"length_penalty": True}, "length_penalty"),
    ],
)
async def test_what_would_change_the_answer_is_refused_by_name(api, refused, param):
    reply = await api.chat(**refused)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert param in error["message"]
    assert api.generator.requests == []


async def test_completions_refuse_a_suffix(api):
    assert (await api.complete(suffix="x")).json()["error"]["param"] == "suffix"


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url", "image_url": {"url": "data:"}}, "messages[0].content[1].image_url"),
        ({"type": "input_audio", "input_audio": {"data": ""}}, "messages[0].content[1].input_audio"),
        ({"type": "file", "file": {"file_id": "f"}}, "messages[0].content[1].file"),
        ({"type": "hologram"}, "messages[0].content[1].type"),
        ({"type": "text"}, "messages[0].content[1].text"),
        ({"type": "text", "text": 5}, "messages[0].content[1].text"),
        ("bare", "messages[0].content[1]"),
    ],
)
async def test_parts_that_are_no_text_are_refused_by_place(api, part, param):
    reply = await api.chat(messages=[{"role": "user", "content": [{"type": "text", "text": "a"}, part]}])
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_text_parts_are_read(api):
    parts = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "input_text", "text": "b"}]
    reply = await api.chat(messages=[{"role": "user", "content": parts}])
    assert "X-LLMOS-Ignored" not in reply.headers
    assert api.renderer.decode(api.generator.requests[0].prompt_ids).startswith("user:a\nb\n")


async def test_unknown_fields_are_ignored_and_told(api):
    reply = await api.chat(
        messages=[{"role": "user", "content": [{"type": "text", "text": "x", "shiny": 1}], "mood": "good"}],
        tempratur=1, stream_options={"include_usage": True, "odd": 2}, stream=True,
    )  # fmt: skip
    assert reply.status_code == 200
    told = reply.headers["X-LLMOS-Ignored"].split(", ")
    assert sorted(told) == ["messages[0].content[0].shiny", "messages[0].mood", "stream_options.odd", "tempratur"]
    metrics = (await api.http.get("/metrics")).text
    assert 'llmos:ignored_request_fields_total{field="messages[].mood"} 1.0' in metrics


async def test_the_header_stays_small_and_safe(api):
    names = {f"field\r\nSet-Cookie: {i} é{'x' * 500}": 1 for i in range(500)}
    reply = await api.chat(**names)
    assert reply.status_code == 200
    assert len(reply.headers["X-LLMOS-Ignored"]) < 2000
    assert reply.headers["X-LLMOS-Ignored"].endswith("and 480 more")
    assert "set-cookie" not in reply.headers
    metrics = (await api.http.get("/metrics")).text
    assert metrics.count("llmos:ignored_request_fields_total{") <= 101


@pytest.mark.parametrize("how", ["header", "setting"])
async def test_strict_refuses_unknown_fields(make_api, how):
    api = make_api(settings={"strict": how == "setting"})
    reply = await api.chat(tempratur=1, headers={"X-LLMOS-Strict": "1"} if how == "header" else {})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "unknown_parameter", "tempratur")
    assert "tempratur" in error["message"]


async def test_template_variables_that_the_template_never_reads_are_told(api):
    reply = await api.chat(chat_template_kwargs={"enable_thinking": False, "magic": 1})
    assert reply.headers["X-LLMOS-Ignored"] == "chat_template_kwargs.magic"
    reply = await api.chat(chat_template_kwargs={"magic": 1}, headers={"X-LLMOS-Strict": "1"})
    assert reply.status_code == 400


ROME = '{"city": "Rome"}'


async def test_what_sdks_echo_back_is_accepted(api):
    """Assistant messages as openai, litellm, langchain and others send them on the next turn."""
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hi", "name": "ann"},
        {
            "role": "assistant", "content": "Hello", "refusal": None, "annotations": [], "audio": None,
            "function_call": None, "tool_calls": None, "reasoning_content": "hm", "provider_specific_fields": {"a": 1},
            "thinking_blocks": [], "parsed": None, "reasoning_details": [{}], "reasoning": "hm",
        },
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant", "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "w", "arguments": ROME}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "assistant", "content": None, "function_call": {"name": "w", "arguments": "{}"}},
        {"role": "function", "name": "w", "content": "rain"},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}], "tool_calls": []},
    ]  # fmt: skip
    reply = await api.chat(messages=messages, headers={"X-LLMOS-Strict": "1"})
    assert reply.status_code == 200, reply.text
    text = api.renderer.decode(api.generator.requests[0].prompt_ids)
    assert text.startswith("system:Be brief.\n")
    assert '<tool_call>\n{"name": "w", "arguments": {"city": "Rome"}}\n</tool_call>' in text
    assert "assistant:No.\n" in text
    assert "assistant:Never.\n" in text


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("Hi", "messages"),
        (["Hi"], "messages[0]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "robot", "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "assistant", "content": "x", "audio": {"id": "a"}}], "messages[0].audio"),
    ],
)
async def test_broken_messages_are_named(api, messages, param):
    reply = await api.chat(messages=messages)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [-0.1, 2.1, "0.5", [], True]),
        ("top_p", [0, 1.1, -1]),
        ("top_k", [-2, 1.5, "1"]),
        ("min_p", [-0.1, 1.1]),
        ("repetition_penalty", [0, -1]),
        ("presence_penalty", [-2.1, 2.1]),
        ("frequency_penalty", [-2.1, 2.1]),
        ("n", [0, -1, 65, 1.5, "2"]),
        ("max_tokens", [-2, 0, "5", 1.5, True]),
        ("max_completion_tokens", [0, -5]),
        ("min_tokens", [-1]),
        ("seed", [2**63, -(2**63) - 1, 2**80, "1", 1.5]),
        ("stop", ["", [""], ["a"] * 17, "x" * 513, [1], 5]),
        ("stop_token_ids", [[-1], [300], ["1"], 5]),
        (
            "logit_bias",
            [{"a": 1}, {"-1": 1}, {"300": 1}, {"1": 101}, {"1": -101}, {"1": "2"}, {"٣": 1}, {"9" * 5000: 1}, 5],
        ),
        ("logprobs", [1, "true"]),
        ("stream", [1, "true"]),
        ("priority", ["high", 2**40]),
        ("cache_salt", [5, "x" * 257]),
        ("chat_template_kwargs", [5, []]),
        ("on_overflow", ["truncate", 1]),
        ("ignore_eos", [1]),
        ("model", [5]),
    ],
)
async def test_values_out_of_range_are_refused_by_name(api, name, values):
    for value in values:
        reply = await api.chat(**{name: value})
        error = reply.json()["error"]
        assert reply.status_code == 400, (name, value)
        assert error["param"].startswith(name), (name, value, error)
        assert name in error["message"]


@pytest.mark.parametrize("empty", [[], {}, "", None])
async def test_a_refused_field_that_is_empty_asks_for_nothing(api, empty):
    assert (await api.chat(grammar=empty)).status_code == 200
    assert (await api.complete(suffix=empty)).status_code == 200


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens"),
    ],
)
async def test_fields_that_contradict_each_other_are_refused(api, options, param):
    reply = await api.chat(**options)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
