"""The field tables of what decides instead of generating. See fields.py for the rest, and for who holds them true."""

from __future__ import annotations

from llmos_server.api.bodies.field_rules import Table, hint, honoured, refused, values
from llmos_server.api.bodies.fields import ADAPTER

_TEXT_ONLY = "this model reads text only; put it into words"

QUESTION: Table = {
    "type": honoured("choice, score or noul (is it true?)"),
    "instructions": honoured("the question: a string, or an object or list that is read as JSON"),
    "criteria": honoured(
        "choice: option -> description or null, 1 to 255; score: a list of 2 to 10 levels, lowest first; "
        "noul: what true and false mean, may be absent"
    ),
}

_TRUNCATE = "send truncate_prompt_tokens: -1 to have long texts cut"
_ENCODER = "a cross-encoder, or a model for embeddings; the setting models.embedding_default when absent"
_CUT = "cut the second text's end, so that a pair has so many tokens, -1 is the model's limit, and tell (vLLM)"
_ACTIVATION = "false: a cross-encoder's output as it is; true when absent"

_COMMON: Table = {
    "user": hint("a hint that changes no answer"),
    "metadata": hint("a hint that changes no answer"),
    "cache_salt": hint("nothing is cached"),
    "priority": values(lambda value: value == 0, "all owners and requests take turns"),
    "padding": values(lambda value: value == "do_not_pad", "padding changes no score"),
    "truncate": values(lambda value: value in (False, "NONE"), _TRUNCATE),
    "truncation": values(lambda value: value is False, _TRUNCATE),
    "normalize": refused("send use_activation"),
    "softmax": refused("send use_activation"),
    "instruction": refused("write it into the text, as the model was trained with it"),
    "chat_template": refused("pairs are encoded as the tokenizer does"),
    "mm_processor_kwargs": refused(_TEXT_ONLY),
}

DOCUMENT: Table = {
    "text": honoured(),
    "image": refused(_TEXT_ONLY, code="unsupported_content"),
    "content": refused("send text", code="unsupported_content"),
}

RERANK: Table = {
    "query": honoured('a text, or {"text": ...}', nested=DOCUMENT),
    "documents": honoured('1 to 2048 texts, or {"text": ...}', nested=DOCUMENT),
    "model": honoured(_ENCODER),
    "top_n": honoured("so many of the best; 0 is all, also when absent"),
    "return_documents": honoured("false leaves the documents out of the answer; true when absent"),
    "use_activation": honoured(_ACTIVATION),
    "truncate_prompt_tokens": honoured(_CUT),
    "max_tokens_per_doc": honoured("cut documents that are longer, and tell (Cohere)"),
    "truncation_side": values(lambda value: value == "right", "a document's end is cut"),
    "rank_fields": refused("send documents as text"),
    "max_chunks_per_doc": refused("documents aren't cut into chunks; send chunks as documents"),
    "return_embeddings": values(lambda value: value is False, "a cross-encoder has none; see /v1/embeddings"),
    **_COMMON,
}

_TEXTS = 'a text, {"text": ...}, or 1 to 2048 of them'

SCORE: Table = {
    "text_1": honoured(_TEXTS, nested=DOCUMENT),
    "text_2": honoured("the same: as many as in text_1, unless that is one, which goes with each", nested=DOCUMENT),
    "queries": honoured("as text_1, with documents or items (vLLM)", nested=DOCUMENT),
    "documents": honoured("as text_2", nested=DOCUMENT),
    "items": honoured("as text_2", nested=DOCUMENT),
    "data_1": honoured("as text_1 (vLLM)", nested=DOCUMENT),
    "data_2": honoured("as text_2", nested=DOCUMENT),
    "model": honoured(_ENCODER),
    "use_activation": honoured(_ACTIVATION),
    "truncate_prompt_tokens": honoured(_CUT),
    "truncation_side": values(lambda value: value == "right", "the second text's end is cut"),
    "label_token_ids": refused("only encoders score pairs; see /v1/systemone for decoders"),
    "apply_softmax": refused("send use_activation"),
    "item_first": refused("the model reads the first text first"),
    **_COMMON,
}

CLASSIFY: Table = {
    "input": honoured("a text, up to 2048 texts, token ids, or up to 2048 lists of token ids; none empty"),
    "model": honoured("a sequence classifier"),
    "use_activation": honoured("false: the model's outputs as they are; true when absent"),
    "truncate_prompt_tokens": honoured("cut longer inputs to so many tokens, -1 is the model's limit, and tell (vLLM)"),
    "truncation_side": honoured("right keeps an input's begin, left its end; right when absent"),
    "add_special_tokens": values(lambda value: value is True, "texts get the special tokens that the model knows"),
    "messages": refused("send text"),
    **_COMMON,
}

SYSTEMONE: Table = {
    "state": honoured("what is judged: a string, or an object or list that is read as JSON"),
    "questions": honoured("1 to 64, by names of your own", each=QUESTION),
    "model": honoured("a served name or alias; the default model when absent"),
    "adapter": honoured(ADAPTER),
    "calibrated": honoured("false: probabilities as they are, also where a calibration was measured; true when absent"),
    "priority": honoured("lower runs earlier among the requests of one key; 0 when absent"),
    "cache_salt": honoured("cached prefixes are shared only under the same salt"),
    "stream": values(lambda value: value is False, "the answer comes at once; leave it out"),
    "user": hint("a hint that changes no answer"),
    "metadata": hint("a hint that changes no answer"),
    "assets": refused(_TEXT_ONLY, code="unsupported_content"),
    "images": refused(_TEXT_ONLY, code="unsupported_content"),
    "videos": refused(_TEXT_ONLY, code="unsupported_content"),
}
