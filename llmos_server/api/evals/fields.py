"""Which fields of evals, runs and graders are honoured; see bodies/fields.py."""

from __future__ import annotations

from llmos_server.api.bodies.field_rules import Table, hint, honoured, refused
from llmos_server.evaluation.graders.formula import FUNCTIONS

_LOGS = "chat completions aren't stored on this server; measure stored responses (logs), or send items"
_ECHOED = "echoed by clients"

MESSAGE: Table = {
    "role": honoured("user, assistant, system or developer"),
    "content": honoured(
        "a text with places such as {{item.question}}; a part input_text or output_text; a list of these"
    ),
    "type": honoured("message"),
}
_HEAD: Table = {
    "type": honoured(),
    "name": honoured("told with its results; no two of an eval share one"),
    "id": hint(_ECHOED),
}
_TEXTS: Table = {
    "input": honoured("a text with places such as {{sample.output_text}}"),
    "reference": honoured("what it is compared with, places as well"),
}
_THRESHOLD: Table = {"pass_threshold": honoured("an item passes from this score on")}

STRING_CHECK: Table = {
    **_HEAD,
    **_TEXTS,
    "operation": honoured("eq, ne, like (contains the reference), ilike (in any case)"),
}
TEXT_SIMILARITY: Table = {
    **_HEAD,
    **_TEXTS,
    **_THRESHOLD,
    "evaluation_metric": honoured(
        "fuzzy_match, bleu, gleu, meteor (exact words and stems; no synonyms), cosine, rouge_1 to rouge_5, rouge_l; "
        "extension: chrf. 0 to 1 each"
    ),
    "model": honoured("extension: whose embeddings cosine compares; the default for embeddings when absent"),
}
LABEL_MODEL: Table = {
    **_HEAD,
    "model": honoured("asked for one of the labels, at temperature 0"),
    "input": honoured("the messages that it is asked with", nested=MESSAGE),
    "labels": honoured("up to 256; the answer can be nothing else"),
    "passing_labels": honoured("those with which an item passes"),
    "sampling_params": refused("a label is drawn at temperature 0"),
}
GRADER_SAMPLING: Table = {
    "seed": honoured(),
    "temperature": honoured("0 when absent"),
    "top_p": honoured(),
    "max_completions_tokens": honoured("1024 when absent"),
    "reasoning_effort": honoured("as of chat completions"),
}
SCORE_MODEL: Table = {
    **_HEAD,
    **_THRESHOLD,
    "model": honoured("asked for a number"),
    "input": honoured("the messages that it is asked with", nested=MESSAGE),
    "range": honoured(
        "lowest and highest score; [0, 1] when absent; the middle passes unless pass_threshold says else"
    ),
    "sampling_params": honoured("", nested=GRADER_SAMPLING),
}
PYTHON: Table = {
    **_HEAD,
    **_THRESHOLD,
    "source": honoured("a program with def grade(sample, item), which returns a number; above 0 passes by default"),
    "image_tag": refused("programs run in the server's own sandbox, with Python's standard library alone"),
}
_SINGLE: dict[str, Table] = {
    "string_check": STRING_CHECK,
    "text_similarity": TEXT_SIMILARITY,
    "label_model": LABEL_MODEL,
    "score_model": SCORE_MODEL,
    "python": PYTHON,
}
MULTI: Table = {
    **_HEAD,
    **_THRESHOLD,
    "graders": honoured("graders by the names in the formula, or one of them by its own", by_type=_SINGLE),
    "calculate_output": honoured(f"numbers, the graders' names, + - * / ^, parentheses, {', '.join(FUNCTIONS)}"),
}
GRADERS: dict[str, Table] = {**_SINGLE, "multi": MULTI}

RUN_GRADER: Table = {
    "grader": honoured("", by_type=GRADERS),
    "item": honoured("the namespace item"),
    "model_sample": honoured("sample.output_text; sample.output_json where it is JSON"),
}
VALIDATE_GRADER: Table = {"grader": honoured("", by_type=GRADERS)}

_CUSTOM: Table = {
    "type": honoured(),
    "item_schema": honoured("a JSON Schema that each item is checked against"),
    "include_sample_schema": honoured("true: graders may name sample, which answers fill in"),
}
_OF_LOGS: Table = {
    "type": honoured(),
    "metadata": honoured("stored responses that runs measure have these pairs, beside those of the run"),
}
_NO_LOGS: Table = {"type": refused(_LOGS, code="unsupported_value")}
CONFIGS: dict[str, Table] = {"custom": _CUSTOM, "logs": _OF_LOGS, "stored_completions": _NO_LOGS}
CREATE_EVAL: Table = {
    "name": honoured("up to 200 characters"),
    "metadata": honoured("up to 16 pairs"),
    "data_source_config": honoured("of the type custom, or logs (stored responses)", by_type=CONFIGS),
    "testing_criteria": honoured("1 to 64 graders; an item passes when it passes all", by_type=GRADERS),
}
UPDATE_EVAL: Table = {
    "name": honoured("up to 200 characters"),
    "metadata": honoured("in place of what there is"),
}

_ROW: Table = {"item": honoured(), "sample": honoured("an answer that was given elsewhere: output_text, and more")}
SOURCES: dict[str, Table] = {
    "file_content": {"type": honoured(), "content": honoured("up to 100,000 items", nested=_ROW)},
    "file_id": {"type": honoured(), "id": honoured("of a file in JSON lines, each with item and, if given, sample")},
    "stored_completions": {"type": refused(_LOGS, code="unsupported_value")},
    "responses": {
        "type": refused("stored responses go with a data_source of the type responses", code="unsupported_value")
    },
}
STORED_RESPONSES: Table = {
    "type": honoured(),
    "model": honoured("as the responses tell it"),
    "metadata": honoured("pairs that they all have"),
    "instructions_search": honoured("a text in their instructions, in any case of its letters"),
    "created_after": honoured("Unix seconds, included"),
    "created_before": honoured("Unix seconds, included; when the run was made where absent"),
    "reasoning_effort": honoured("that was asked for"),
    "temperature": honoured("that was asked for; 1 where none was"),
    "top_p": honoured("that was asked for; 1 where none was"),
    "users": honoured("one of these as user"),
    "tools": honoured("a tool with one of these names, types or labels"),
    "limit": honoured("the newest so many; up to 100,000"),
}
INPUT_MESSAGES: dict[str, Table] = {
    "template": {"type": honoured(), "template": honoured("messages with places that name item", nested=MESSAGE)},
    "item_reference": {"type": honoured(), "item_reference": honoured("a place in item that holds messages")},
}
_SAMPLING: Table = {
    "temperature": honoured("1 when absent"),
    "top_p": honoured(),
    "seed": honoured("42 when absent"),
    "max_completion_tokens": honoured("1024 when absent"),
    "reasoning_effort": honoured("as of chat completions"),
    "tools": honoured("as of the endpoint that is asked"),
}
COMPLETION_SAMPLING: Table = {**_SAMPLING, "response_format": honoured("as of chat completions")}
RESPONSE_SAMPLING: Table = {**_SAMPLING, "text": honoured("as of responses")}
_ASKED: Table = {
    "type": honoured(),
    "source": honoured("the items", by_type=SOURCES),
    "model": honoured("what answers: a served name or alias"),
    "input_messages": honoured("what it is asked", by_type=INPUT_MESSAGES),
}
DATA_SOURCES: dict[str, Table] = {
    "jsonl": {"type": honoured(), "source": honoured("items with their samples", by_type=SOURCES)},
    "completions": {**_ASKED, "sampling_params": honoured("", nested=COMPLETION_SAMPLING)},
    "responses": {
        **_ASKED,
        "source": honoured("the items", by_type={**SOURCES, "responses": STORED_RESPONSES}),
        "sampling_params": honoured("", nested=RESPONSE_SAMPLING),
    },
}
CREATE_RUN: Table = {
    "name": honoured("up to 200 characters"),
    "metadata": honoured("up to 16 pairs"),
    "data_source": honoured("of the type jsonl, completions or responses", by_type=DATA_SOURCES),
}

TABLES: dict[str, Table] = {
    "": CREATE_EVAL,
    ": data_source_config": _CUSTOM,
    ": data_source_config of logs": _OF_LOGS,
    "/{eval_id}/runs": CREATE_RUN,
    "/{eval_id}/runs: data_source": DATA_SOURCES["completions"],
    "/{eval_id}/runs: sampling_params of completions": COMPLETION_SAMPLING,
    "/{eval_id}/runs: sampling_params of responses": RESPONSE_SAMPLING,
    "/{eval_id}/runs: source of stored responses": STORED_RESPONSES,
}
"""For the docs."""
