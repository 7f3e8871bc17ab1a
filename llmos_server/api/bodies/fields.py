"""Which request fields are honoured, refused or accepted as hints: the tables behind docs/api.md.

A test holds that each honoured field is in the endpoint's struct, that each is in the docs, and that each field of
OpenAI's own document is in a table.
"""

from __future__ import annotations

from typing import Any

from llmos_server.api.bodies.field_rules import Rule, Table, hint, honoured, refused, values

_EFFECTLESS = "a hint that changes no answer"
_OTHER_SAMPLER = "this sampler isn't supported; use temperature, top_p, top_k, min_p and the penalties"
_OLDER_TOOLS = "it is an older name; send tools"
_MEDIA = "this model reads text only; send text parts"

ADAPTER = "an adapter of the model, by its suffix or its full name; the same as its full name as the model"
OTHER_ADAPTER_NAMES = ("lora", "lora_path", "lora_name", "adapter_id")
"""llama.cpp's, SGLang's, Xinference's and TGI's."""

_RESPONSES = "it is the Responses API's: send this body to /v1/responses, or send messages"


def equals(*accepted: Any) -> Any:
    """Exact: 1 and True are different values on the wire."""
    return lambda value: any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in accepted
    )


def _moved(name: str) -> Rule:
    return refused(f"send structured_outputs with {name}")


JSON_SCHEMA: Table = {
    "schema": honoured("a JSON Schema"),
    "strict": honoured("true refuses what a grammar can't hold; else a finished answer is checked for that"),
    "name": hint(_EFFECTLESS),
    "description": hint(_EFFECTLESS),
}

RESPONSE_FORMAT: Table = {
    "type": honoured("text, json_object, json_schema"),
    "json_schema": honoured("only with the type json_schema", nested=JSON_SCHEMA),
    "schema": honoured("only with the type json_object: a JSON Schema, not strict (llama.cpp)"),
}

STRUCTURED_OUTPUTS: Table = {
    "json": honoured("a JSON Schema, or its text; strict"),
    "regex": honoured("the whole answer matches it; no look-around, no back-references"),
    "choice": honoured("one of up to 2048 texts"),
    "grammar": honoured("Lark as llguidance has it (rule start), GBNF (rule root); special tokens by id: <[2]>"),
    "json_object": honoured("true: any JSON object"),
    "structural_tag": refused("write it as a grammar"),
    "disable_any_whitespace": values(equals(False), "JSON is written on one line, a space or none behind separators"),
    "disable_additional_properties": values(equals(False), "say additionalProperties: false in the schema"),
    "whitespace_pattern": refused("JSON is written on one line, a space or none behind separators"),
    "disable_fallback": hint("there is one implementation"),
}

FUNCTION: Table = {
    "name": honoured("1 to 128 letters, digits, _, - and ."),
    "description": honoured("for the model"),
    "parameters": honoured("a JSON Schema of an object; no parameters when absent"),
    "strict": honoured("true refuses what a grammar can't hold; else finished arguments are checked for that"),
}

TOOL: Table = {
    "type": honoured("function"),
    "function": honoured("", nested=FUNCTION),
    "cache_control": hint("prefixes are cached without being asked"),
}

STREAM_OPTIONS: Table = {
    "include_usage": honoured("a last chunk with `usage` and no choices"),
    "continuous_usage_stats": honoured("`usage` so far in every chunk (vLLM); needs include_usage"),
    "include_obfuscation": hint(_EFFECTLESS),
}

PART: Table = {
    "type": honoured("text (also input_text, output_text), refusal"),
    "text": honoured(),
    "refusal": honoured(),
    "cache_control": hint("prefixes are cached without being asked"),
    "annotations": hint("echoed by clients"),
    "logprobs": hint("echoed by clients"),
    "prompt_cache_breakpoint": hint("prefixes are cached without being asked"),
    **{
        name: refused(_MEDIA, code="unsupported_content")
        for name in (
            "image_url",
            "image",
            "image_embeds",
            "input_audio",
            "audio",
            "audio_url",
            "video",
            "video_url",
            "file",
            "file_id",
            "file_data",
            "source",
        )
    },
}

MESSAGE: Table = {
    "role": honoured("system, developer (as system), user, assistant, tool, function"),
    "content": honoured("a string, a list of text parts (joined by line breaks), null for assistant", nested=PART),
    "name": honoured("given to the chat template"),
    "tool_calls": honoured("given to the chat template, arguments as an object"),
    "tool_call_id": honoured("of a call before it; given to the chat template"),
    "function_call": honoured("given to the chat template as a tool call"),
    "reasoning_content": honoured("given to the chat template"),
    "reasoning": honoured("the same as reasoning_content"),
    "refusal": honoured("stands for content where that is null"),
    "audio": refused("this server made no audio that could be continued", code="unsupported_content"),
    **{
        name: hint("echoed by clients from an earlier answer")
        for name in (
            "annotations",
            "parsed",
            "provider_specific_fields",
            "thinking_blocks",
            "reasoning_details",
            "images",
            "token_ids",
            "finish_reason",
            "logprobs",
            "index",
            "id",
            "status",
            "phase",
        )
    },
}

_GENERATION: Table = {
    "model": honoured("a served name or alias; the default model when absent"),
    "adapter": honoured(ADAPTER),
    "temperature": honoured("0 to 2, 1 when absent; 0 is greedy"),
    "top_p": honoured("above 0, up to 1"),
    "top_k": honoured("-1 or 0 keep every token"),
    "min_p": honoured("0 to 1"),
    "repetition_penalty": honoured("above 0; over prompt and answer"),
    "presence_penalty": honoured("-2 to 2"),
    "frequency_penalty": honoured("-2 to 2"),
    "logit_bias": honoured("token ids (as strings) to -100 .. 100"),
    "n": honoured("1 to the setting max_n"),
    "seed": honoured("the same seed gives the same text; random when absent, or -1"),
    "stop": honoured("a string, or up to 16 of at most 512 characters; never part of the answer"),
    "stop_token_ids": honoured("up to 256; never part of the answer"),
    "ignore_eos": honoured("go on past the model's own end, to max_tokens"),
    "min_tokens": honoured("no end before as many tokens; at most max_tokens"),
    "skip_special_tokens": honoured("true when absent"),
    "stream": honoured(),
    "stream_options": honoured("only with stream", nested=STREAM_OPTIONS),
    "priority": honoured("lower runs earlier among the requests of one key; 0 when absent"),
    "cache_salt": honoured("cached prefixes are shared only under the same salt"),
    "user": hint(_EFFECTLESS),
    "metadata": hint(_EFFECTLESS),
    "prompt_cache_key": hint("prefixes are cached without being asked"),
    "prompt_cache_retention": hint("prefixes are cached without being asked"),
    "prompt_cache_options": hint("prefixes are cached without being asked"),
    "cache_prompt": hint("prefixes are cached without being asked"),
    "safety_identifier": hint(_EFFECTLESS),
    "id_slot": hint("sequences have no slots here"),
    "service_tier": values(equals("auto", "default"), "there is one tier; send auto, default or nothing"),
    "use_beam_search": values(equals(False), "beam search isn't supported; use n or best_of"),
    "length_penalty": values(equals(1), "beam search isn't supported"),
    "early_stopping": values(equals(False), "beam search isn't supported"),
    "include_stop_str_in_output": values(equals(False), "stop strings are never part of the answer"),
    "spaces_between_special_tokens": values(equals(True), "text is decoded as the tokenizer does"),
    "return_tokens_as_token_ids": values(equals(False), "tokens are shown as text; see /tokenize for ids"),
    "return_token_ids": honoured("true: the ids of the prompt's and of the generated tokens, too (vLLM)"),
    "truncate_prompt_tokens": refused("prompts aren't cut; shorten it, or see on_overflow of chat completions"),
    "allowed_token_ids": refused("use logit_bias"),
    "bad_words": refused("use logit_bias"),
    "logits_processors": refused("no code from requests is run"),
    "prompt_embeds": refused("send text or token ids"),
    "mm_processor_kwargs": refused(_MEDIA),
    "n_predict": values(equals(-1), "send max_tokens"),
    "repeat_penalty": values(equals(1), "send repetition_penalty"),
    "n_probs": values(equals(0), "send logprobs"),
    "typical_p": values(equals(1), _OTHER_SAMPLER),
    "tfs_z": values(equals(1), _OTHER_SAMPLER),
    "mirostat": values(equals(0), _OTHER_SAMPLER),
    "dynatemp_range": values(equals(0), _OTHER_SAMPLER),
    "dry_multiplier": values(equals(0), _OTHER_SAMPLER),
    "xtc_probability": values(equals(0), _OTHER_SAMPLER),
    "samplers": refused(_OTHER_SAMPLER),
    **{name: refused("send adapter, or the adapter's name as the model") for name in OTHER_ADAPTER_NAMES},
    "response_format": honoured("the form of the answer, see below", nested=RESPONSE_FORMAT),
    "structured_outputs": honoured("the same as vLLM has it, see below", nested=STRUCTURED_OUTPUTS),
    "guided_json": _moved("json"),
    "guided_regex": _moved("regex"),
    "guided_choice": _moved("choice"),
    "guided_grammar": _moved("grammar"),
    "guided_decoding_backend": refused("there is one implementation"),
    "guided_whitespace_pattern": refused("JSON is written on one line, a space or none behind separators"),
    "json_schema": refused("send response_format of the type json_schema"),
    "grammar": _moved("grammar"),
    "regex": _moved("regex"),
    "ebnf": _moved("grammar"),
    "stop_regex": refused("send stop, or a grammar"),
}

_TEMPLATE: Table = {
    "add_generation_prompt": honoured("true when absent"),
    "continue_final_message": honoured("go on with the last message instead of starting one"),
    "chat_template_kwargs": honoured("variables for the chat template"),
}

CHAT: Table = {
    "messages": honoured("see below", nested=MESSAGE),
    **_GENERATION,
    "max_completion_tokens": honoured("upper bound on the answer; all the room that is left when absent"),
    "max_tokens": honoured("older name of max_completion_tokens, which wins when both are given; -1 is no bound"),
    "logprobs": honoured("true or false"),
    "top_logprobs": honoured("0 to 20; needs logprobs"),
    **_TEMPLATE,
    "on_overflow": honoured("error, or drop_oldest: leave out the oldest turns of a chat that is too long, and say so"),
    "reasoning_effort": honoured("given to a chat template that reads it; none also sets enable_thinking to false"),
    "metadata": honoured("with the model skill:NAME: fields of its input, and `model`; else without effect"),
    "tools": honoured("functions that the model may call, see below", by_type={"": TOOL, "function": TOOL}),
    "tool_choice": honoured("auto, none, required, a function or allowed_tools; auto when there are tools"),
    "parallel_tool_calls": honoured("false: at most one call an answer; true when absent"),
    "store": values(equals(False), "answers aren't stored"),
    "modalities": values(equals(["text"]), _MEDIA),
    "functions": refused(_OLDER_TOOLS),
    "function_call": values(equals("none", "auto"), "it is an older name; send tool_choice"),
    "verbosity": hint(_EFFECTLESS),
    "prediction": hint("it could only make the answer faster"),
    "audio": refused("answers are text only"),
    "moderation": refused("there is no moderation model"),
    "web_search_options": refused("the server doesn't search the web"),
    "prompt_logprobs": refused("use /v1/completions with echo and logprobs"),
    "best_of": values(equals(1), "only /v1/completions has best_of; use n"),
    "echo": values(equals(False), "only /v1/completions has echo"),
    "add_special_tokens": values(equals(False), "the chat template writes the special tokens"),
    "chat_template": refused("the model's own template is used; chat_template_kwargs sets its variables"),
    "documents": refused("put the documents into a message"),
    **{name: refused(_RESPONSES) for name in ("input", "instructions", "previous_response_id", "conversation")},
    **{
        name: refused("use chat_template_kwargs for what the model's template knows")
        for name in ("thinking", "enable_thinking", "thinking_token_budget", "reasoning_budget_tokens")
    },
}

COMPLETION: Table = {
    "prompt": honoured("a string, a list of strings, token ids, or a list of lists of token ids"),
    **_GENERATION,
    "max_tokens": honoured("upper bound on the answer; 16 when absent; 0 computes the prompt only, -1 is no bound"),
    "logprobs": honoured("0 to 20 alternatives"),
    "echo": honoured("the prompt, and its logprobs, before the answer"),
    "best_of": honoured("n of so many choices, by log-probability per token; not streamed"),
    "add_special_tokens": honoured("true when absent; of prompts given as text"),
    "suffix": refused("filling in the middle isn't supported"),
    "prompt_logprobs": refused("use echo with logprobs"),
    "on_overflow": values(equals("error"), "a plain prompt has no turns that could be dropped"),
}

_PREFIX = "put the words that the model wants before a text into the text"
_TRUNCATE = "send truncate_prompt_tokens: -1 to have long inputs cut"

EMBEDDING: Table = {
    "input": honoured("a text, up to 2048 texts, token ids, or up to 2048 lists of token ids; none empty"),
    "model": honoured("a served encoder or alias; the setting models.embedding_default when absent"),
    "encoding_format": honoured("float or base64 (little-endian float32); float when absent"),
    "dimensions": honoured("the model's own, or shorter for models that were trained for it (Matryoshka)"),
    "truncate_prompt_tokens": honoured("cut longer inputs to so many tokens, -1 is the model's limit, and tell (vLLM)"),
    "truncation_side": honoured("right keeps an input's begin, left its end; right when absent"),
    "user": hint(_EFFECTLESS),
    "metadata": hint(_EFFECTLESS),
    "cache_salt": hint("embeddings aren't cached"),
    "add_special_tokens": values(equals(True), "texts get the special tokens that the model was trained with"),
    "normalize": refused("the model's own normalisation is used"),
    "embd_normalize": values(equals(2), "the model's own normalisation is used"),
    "truncate": values(equals(False, "NONE"), _TRUNCATE),
    "truncation": values(equals(False), _TRUNCATE),
    "priority": values(equals(0), "all owners and requests take turns"),
    "embed_dtype": values(equals("float32"), "embeddings are float32"),
    "endianness": values(equals("native", "little"), "base64 is little-endian"),
    "input_type": refused(_PREFIX),
    "task": refused(_PREFIX),
    "task_type": refused(_PREFIX),
    "prompt_name": refused(_PREFIX),
    "instruction": refused(_PREFIX),
    "messages": refused("send text"),
    "mm_processor_kwargs": refused(_MEDIA),
}

PROMPT: Table = {
    "model": honoured("the default model when absent"),
    "prompt": honoured("text; or messages"),
    "messages": honoured("as for chat completions; or prompt", nested=MESSAGE),
    "add_special_tokens": honoured("of a prompt; true when absent"),
    **_TEMPLATE,
    "tools": honoured("as for chat completions", nested=TOOL),
    "chat_template": refused("the model's own template is used"),
}

TOKENIZE: Table = {
    **PROMPT,
    "return_token_strs": honoured("the text of each token, too"),
    "media_io_kwargs": refused(_MEDIA),
    "mm_processor_kwargs": refused(_MEDIA),
}

ATTENTION: Table = {
    **PROMPT,
    "layer": honoured("from 0 on; 0 when absent"),
    "head": honoured("from 0 on; the mean over all heads when absent"),
}

DETOKENIZE: Table = {
    "model": honoured("the default model when absent"),
    "tokens": honoured("token ids"),
}

MODEL_NAME: Table = {"model": honoured("a model's name or alias")}

STORE_SCORE: Table = {
    "version": honoured("of the skill that was measured; another than the server's is refused"),
    "model": honoured("a served name or alias"),
    "model_digest": honoured("of the weights that were measured; others than the model's are refused"),
    "figures": honoured("names and values; the skill's metric is among them"),
    "num_cases": honoured("at least 1"),
    "num_failed": honoured("runs without an output"),
}

CREATE_KEY: Table = {
    "name": honoured("1 to 64 characters; no two living keys share one"),
    "is_admin": honoured("may use /admin; false when absent"),
    "models": honoured("the names or aliases that it may use; all when absent"),
    "skills": honoured("the skills that it may run; all when absent"),
    "tools": honoured("the tools of the server that it may have run; all when absent"),
    "max_in_flight": honoured("most requests at once; no limit when absent"),
    "tokens_per_minute": honoured("of prompts and answers together; no limit when absent"),
}

CHANGE_KEY: Table = {
    "name": honoured("another one"),
    "models": honoured("the names or aliases that it may use; null: all of them"),
    "skills": honoured("the skills that it may run; null: all of them"),
    "tools": honoured("the tools of the server that it may have run; null: all of them"),
    "max_in_flight": honoured("most requests at once; null: no limit"),
    "tokens_per_minute": honoured("of prompts and answers together; null: no limit"),
    "is_admin": refused("who administers isn't changed; make another key, and revoke this one"),
}

ADAPTER_NAME: Table = {
    "name": honoured("as it is asked for: BASE:SUFFIX"),
    "owner": honoured("the id of the key that made it; nobody's, or else the only one of that name when absent"),
}

ALIAS: Table = {"alias": honoured("the name that applications ask for")}

PROMOTE: Table = {
    **ALIAS,
    "model": honoured("what is to answer: a model, an adapter (BASE:SUFFIX) or another alias"),
    "owner": honoured("the id of the key that made the adapter, where several have one of that name"),
}

PRUNE: Table = {
    "kinds": honoured(
        "responses, conversations, feedback, files, jobs, evals, adapters; all when absent, of adapters only with `key`"
    ),
    "older_than": honoured(
        "30m, 24h, 7d, 4w or a day such as 2026-11-24 (UTC); of conversations since the last change"
    ),
    "key": honoured("a key's id or name: only its objects; all of them without older_than"),
    "dry_run": honoured("true counts, and removes nothing"),
}
