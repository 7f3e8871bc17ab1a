"""For each route that takes a body: one that is answered, with as many fields as can be, and its fields' table."""

from __future__ import annotations

from typing import Any

from llmos_server.api.anthropic import fields as anthropic_fields
from llmos_server.api.batches.handlers import CREATE_BATCH
from llmos_server.api.bodies import decision_fields, fields
from llmos_server.api.evals import fields as eval_fields
from llmos_server.api.fine_tuning import fields as tuning_fields
from llmos_server.api.ollama import tables as ollama
from llmos_server.api.responding import fields as responding
from llmos_server.api.stored import fields as stored

MESSAGE = {"role": "user", "content": [{"type": "text", "text": "Hi"}], "name": "Ann"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CHAT: dict[str, Any] = {
    "model": "tiny",
    "messages": [
        MESSAGE,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}}}}
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "max_tokens": 5,
    "temperature": 0.5,
    "n": 2,
    "seed": 1,
    "stop": ["x"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "logprobs": True,
    "top_logprobs": 2,
    "logit_bias": {"7": 1},
    "chat_template_kwargs": {"enable_thinking": False},
}
COMPLETION: dict[str, Any] = {
    **{name: CHAT[name] for name in ("model", "max_tokens", "temperature", "n", "seed", "stop", "logit_bias")},
    "prompt": ["a", "b"],
    "logprobs": 2,
    "echo": True,
}
SKILL: dict[str, Any] = {"text": "x", "model": "tiny", "words": [{"word": "a"}], "times": 2, "stream": True}
SYSTEMONE: dict[str, Any] = {
    "state": {"text": "Hi", "from": ["Ann", 1, None]},
    "questions": {
        "team": {"type": "choice", "instructions": "Who?", "criteria": {"a": None, "b": "the others"}},
        "haste": {"type": "score", "instructions": {"ask": "How soon?"}, "criteria": ["late", ["now"]]},
        "polite": {"type": "noul", "instructions": ["Is it?"], "criteria": {"true": "yes"}},
    },
}
OLLAMA: dict[str, Any] = {
    "model": "tiny:latest",
    "messages": [
        {"role": "user", "content": "Hi", "images": []},
        {"role": "assistant", "thinking": "Hm.", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "tool", "tool_name": "f", "content": "x"},
    ],
    "tools": CHAT["tools"],
    "options": {"num_predict": 5, "num_ctx": 1000, "temperature": 0.5, "top_k": 3, "stop": ["x"], "num_gpu": 1},
    "think": False,
    "keep_alive": "5m",
    "logprobs": True,
    "top_logprobs": 2,
    "truncate": True,
}
GENERATE: dict[str, Any] = {
    **{name: OLLAMA[name] for name in ("model", "options", "think", "keep_alive", "logprobs")},
    "prompt": "Hi",
    "system": "Be brief.",
    "raw": False,
    "format": {"type": "object", "properties": {"a": {"type": "integer"}}},
    "stream": False,
}
BLOCKS: list[Any] = [
    {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "x"}], "is_error": True},
    {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
]
USES: list[Any] = [
    {"type": "thinking", "thinking": "hm", "signature": "s"},
    {"type": "text", "text": "So."},
    {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
]
TURNS: dict[str, Any] = {
    "model": "tiny",
    "system": [{"type": "text", "text": "S"}],
    "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": USES},
        {"role": "user", "content": BLOCKS},
    ],
    "tools": [{"name": "f", "input_schema": {"properties": {"a": {"type": "integer"}}}}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"effort": "low"},
}
SAMPLING: dict[str, Any] = {"max_tokens": 5, "stop_sequences": ["x"], "temperature": 0.5, "top_k": 3, "stream": True}
ITEMS: list[dict[str, Any]] = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": 1}'},
    {"type": "function_call_output", "call_id": "c", "output": "x"},
    {"role": "user", "content": "Bye"},
]
INPUT: dict[str, Any] = {
    "model": "tiny",
    "input": ITEMS,
    "instructions": "S",
    "tools": [{"type": "function", "name": "f", "parameters": {"properties": {"a": {"type": "integer"}}}}],
    "tool_choice": "auto",
    "conversation": {"id": "conv_1"},
}
RESPONSE: dict[str, Any] = {
    **{name: value for name, value in INPUT.items() if name != "conversation"},
    "max_output_tokens": 5,
    "metadata": {"a": "b"},
    "store": True,
    "stream": True,
    "include": ["message.output_text.logprobs"],
    "top_logprobs": 2,
    "text": {"format": {"type": "text"}},
}
FEEDBACK = {
    "model": "tiny",
    "messages": CHAT["messages"],
    "answer": "Hi",
    "rating": -1,
    "correction": "Ho",
    "tags": ["a"],
    "response_id": "resp_1",
    "sampling": {"seed": 1},
}
GRADER = {"type": "string_check", "name": "g", "operation": "eq", "input": "{{sample.output_text}}", "reference": "Hi"}
GRADED = {"grader": GRADER, "item": {"a": "b"}, "model_sample": "Hi"}
BATCH = {"input_file_id": "file-1", "endpoint": "/v1/embeddings", "completion_window": "24h", "metadata": {"a": "b"}}
TUNING: dict[str, Any] = {
    "model": "tiny",
    "training_file": "file-1",
    "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": "auto"}}},
    "suffix": "mine",
    "seed": 1,
    "metadata": {"a": "b"},
    "set": {"lora_r": 8},
}
EVAL: dict[str, Any] = {
    "name": "e",
    "metadata": {"a": "b"},
    "data_source_config": {"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True},
    "testing_criteria": [
        GRADER,
        {
            "type": "multi",
            "name": "m",
            "graders": {"g": GRADER},
            "calculate_output": "2 * g - 1",
            "pass_threshold": 0.5,
        },
    ],
}
RUN: dict[str, Any] = {
    "name": "r",
    "metadata": {"a": "b"},
    "data_source": {
        "type": "completions",
        "model": "tiny",
        "sampling_params": {"temperature": 0, "max_completion_tokens": 3},
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{item.a}}"}]},
        "source": {"type": "file_content", "content": [{"item": {"a": "b"}}]},
    },
}
ROUTES: dict[str, tuple[dict[str, Any], Any]] = {
    "/v1/batches": (BATCH, CREATE_BATCH),
    "/v1/evals": (EVAL, eval_fields.CREATE_EVAL),
    "/v1/evals/eval_1": ({"name": "x", "metadata": {"a": "b"}}, eval_fields.UPDATE_EVAL),
    "/v1/evals/eval_1/runs": (RUN, eval_fields.CREATE_RUN),
    "/v1/fine_tuning/jobs": (TUNING, tuning_fields.CREATE_JOB),
    "/v1/fine_tuning/alpha/graders/run": (GRADED, dict.fromkeys(GRADED)),
    "/v1/fine_tuning/alpha/graders/validate": ({"grader": GRADER}, {"grader": None}),
    "/v1/responses": (RESPONSE, responding.RESPONSE),
    "/v1/responses/input_tokens": (INPUT, responding.INPUT_TOKENS),
    "/v1/conversations": ({"metadata": {"a": "b"}, "items": ITEMS}, stored.CREATE_CONVERSATION),
    "/v1/conversations/conv_1": ({"metadata": {"a": "b"}}, stored.UPDATE_CONVERSATION),
    "/v1/conversations/conv_1/items": ({"items": ITEMS}, stored.CREATE_ITEMS),
    "/v1/messages": ({**TURNS, **SAMPLING}, anthropic_fields.MESSAGES),
    "/v1/messages/count_tokens": (TURNS, anthropic_fields.COUNT_TOKENS),
    "/v1/chat/completions": (CHAT, fields.CHAT),
    "/v1/chat/completions/render": ({"messages": CHAT["messages"]}, fields.CHAT),
    "/v1/completions": (COMPLETION, fields.COMPLETION),
    "/v1/llmos/feedback": (FEEDBACK, stored.CREATE_FEEDBACK),
    "/v1/embeddings": ({"input": ["Hi", "Ho"], "dimensions": 4, "truncate_prompt_tokens": -1}, fields.EMBEDDING),
    "/v1/skills/shout/run": (SKILL, dict.fromkeys(SKILL)),
    "/v1/systemone": (SYSTEMONE, decision_fields.SYSTEMONE),
    "/v1/llmos/plugins/shouting/size": (SKILL, dict.fromkeys(SKILL)),
    "/v1/rerank": ({"query": "Hi", "documents": ["a", {"text": "b"}], "top_n": 1}, decision_fields.RERANK),
    "/v1/score": ({"text_1": "Hi", "text_2": ["a", {"text": "b"}]}, decision_fields.SCORE),
    "/v1/classify": ({"model": "kinds", "input": ["Hi", "Ho"], "use_activation": False}, decision_fields.CLASSIFY),
    "/tokenize": ({"messages": [MESSAGE], "return_token_strs": True}, fields.TOKENIZE),
    "/detokenize": ({"tokens": [72, 105]}, fields.DETOKENIZE),
    "/api/chat": (OLLAMA, ollama.CHAT),
    "/api/generate": (GENERATE, ollama.GENERATE),
    "/api/embed": ({"model": "small", "input": ["Hi", "Ho"], "truncate": True, "keep_alive": 1}, ollama.EMBED),
    "/api/embeddings": ({"model": "small", "prompt": "Hi"}, ollama.EMBEDDINGS),
    "/api/show": ({"model": "tiny", "name": "tiny"}, ollama.NAME),
}
