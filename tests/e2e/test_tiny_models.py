"""Checkpoints of one's own, served as a user serves them, against Transformers' `generate` on the same weights."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from transformers import PreTrainedModel

from llmos_server.engine.speculation import PROBE_STEPS
from llmos_server.registry.gguf_tokenizer import build_tokenizer

NUM_TOKENS = 12
EXACT = {"LLMOS_ENGINE__NUMERICS": "exact"}
"""The equalities here are the exact kernels'; tests/models/test_packed_decoder.py holds the compiled ones to them."""
TEXT = "The sea is wide; they've seen 1,234 ships in Zürich. 東京\n"


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.loads(response.read())
    return answer


def reference(model: PreTrainedModel, prompt: list[int]) -> tuple[list[int], list[float]]:
    """Greedy token ids and their log-probabilities."""
    ids = torch.tensor([prompt])
    with torch.no_grad():
        whole = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NUM_TOKENS,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        logprobs = model(whole).logits[0].log_softmax(-1)
    answer = whole[0, len(prompt) :].tolist()
    return answer, [float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(answer)]


TRANSFORMERS: dict[str, dict[str, Any]] = {
    "gemma2": {
        "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window": 9,
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 8.0,
    },
    "gpt_oss": {
        "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window": 9,
        "num_local_experts": 4,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
}
"""model_type -> config: two that run on Transformers' code; tests/models/test_architectures.py has them all."""


@pytest.fixture(params=["folder", "gguf", pytest.param("gemma2", marks=pytest.mark.proof), "gpt_oss"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, PreTrainedModel]:
    """The name to serve, relative to tmp_path, and the model whose weights are in the files."""
    tokenizer = tiny_models.train_tokenizer()
    if request.param == "folder":
        model = tiny_models.create_model(tokenizer, "mistral", sliding_window=9)
        tiny_models.save_folder(tmp_path / "tiny", model, tokenizer, max_shard_size="80KB")
        assert len(list((tmp_path / "tiny").glob("*.safetensors"))) > 1
        return "file:tiny", model
    if request.param in TRANSFORMERS:
        model = tiny_models.create_model(tokenizer, request.param, **TRANSFORMERS[request.param])
        tiny_models.save_folder(tmp_path / "tiny", model, tokenizer)
        return "file:tiny", model
    model = tiny_models.create_model(tokenizer, "llama")
    metadata = tiny_models.byte_level_metadata(tokenizer)
    tiny_models.save_gguf(tmp_path / "tiny.gguf", model, metadata, "llama", ["Q8_0"])
    return "file:tiny.gguf", model


@pytest.fixture
def server(checkpoint: tuple[str, PreTrainedModel], tmp_path: Path, start_server: Any) -> Iterator[Any]:
    """The model is its own draft model."""
    name, _ = checkpoint
    env = {"LLMOS_HOME": str(tmp_path / "home"), "LLMOS_MODELS__DRAFTS": json.dumps({name: name})}
    server = start_server(tmp_path, name, "--threads", "1", env={**env, **EXACT})
    server.wait_until_ready()
    yield server
    assert server.stop() == 0


def test_a_checkpoint_of_ones_own_gives_the_tokens_of_generate(
    checkpoint: tuple[str, PreTrainedModel], server: Any
) -> None:
    url, (_, model) = server.url, checkpoint
    tokenizer = tiny_models.train_tokenizer()
    prompt = tokenizer.encode(TEXT).ids
    assert post(f"{url}/tokenize", {"prompt": TEXT})["tokens"] == prompt
    expected, logprobs = reference(model, prompt)
    options = {"max_tokens": NUM_TOKENS, "temperature": 0, "logprobs": 0, "ignore_eos": True}
    with urllib.request.urlopen(f"{url}/v1/models", timeout=60) as response:
        name = json.loads(response.read())["data"][0]["id"]
    [choice] = post(f"{url}/v1/completions", {"model": name, "prompt": TEXT, **options})["choices"]
    assert choice["text"] == tokenizer.decode(expected)
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(logprobs, abs=1e-4)

    question = [{"role": "user", "content": "Where is the sea?"}]
    rendered = tokenizer.encode("<|im_start|>user\nWhere is the sea?<|im_end|>\n<|im_start|>assistant\n").ids
    chat = post(f"{url}/v1/chat/completions", {"model": name, "messages": question, "max_tokens": 8, "temperature": 0})
    assert chat["usage"]["prompt_tokens"] == len(rendered)

    long = {"model": name, "prompt": TEXT, "max_tokens": PROBE_STEPS + 9, "temperature": 0, "ignore_eos": True}
    assert post(f"{url}/v1/completions", long)["usage"]["completion_tokens"] == PROBE_STEPS + 9
    drafted, accepted = (server.metric(f"llmos:spec_decode_num_{kind}_tokens_total") for kind in ("draft", "accepted"))
    assert drafted == accepted > 0, "it guesses what it says"


def test_a_decoder_that_pages_cant_serve_is_refused_by_name(tmp_path: Path, start_server: Any) -> None:
    """The registry can't know it; the worker finds out, and its log, which the answers point to, says why."""
    tokenizer = tiny_models.train_tokenizer()
    model = tiny_models.create_model(tokenizer, "lfm2", layer_types=["conv", "full_attention"])
    tiny_models.save_folder(tmp_path / "tiny", model, tokenizer)
    server = start_server(tmp_path, "file:tiny", "--threads", "1", env={"LLMOS_HOME": str(tmp_path / "home"), **EXACT})
    try:
        server.wait_for(lambda: "could not be loaded" in server.get("/ready")[1], "refused")
        assert server.get("/ready")[0] == 503
        reason = "model_type 'lfm2' can't be served over the paged cache: only 1 of its 2 layers attend"
        assert reason in server.log.read_text()
    finally:
        assert server.stop() == 0


def streamed(url: str, body: dict[str, Any]) -> str:
    data = json.dumps({**body, "stream": True}).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    text = ""
    with urllib.request.urlopen(request, timeout=60) as response:
        for line in response:
            if line.startswith(b"data: {"):
                text += json.loads(line[6:])["choices"][0]["text"]
    return text


def test_a_sentencepiece_model_in_k_types_streams_what_it_answers(tmp_path: Path, start_server: Any) -> None:
    """Spaces before words, characters that are made of bytes, and nine packed types in one file."""
    original = tiny_models.train_sentencepiece()
    metadata = tiny_models.sentencepiece_metadata(original)
    tokenizer = build_tokenizer(metadata)
    model = tiny_models.create_model(tokenizer, "llama", **tiny_models.MIXED_SHAPE)
    tiny_models.save_gguf(tmp_path / "tiny.gguf", model, metadata, "llama", tiny_models.MIXED)
    server = start_server(
        tmp_path, "file:tiny.gguf", "--threads", "1", env={"LLMOS_HOME": str(tmp_path / "home"), **EXACT}
    )
    try:
        server.wait_until_ready()
        check_sentencepiece_model(server.url, original, model)
    finally:
        assert server.stop() == 0


def piece_bytes(original: Any, index: int) -> bytes:
    piece = original.id_to_piece(index)
    if original.is_byte(index):
        return bytes([int(piece[3:5], 16)])
    return b"" if original.is_control(index) else piece.replace("▁", " ").encode()


def check_sentencepiece_model(url: str, original: Any, model: PreTrainedModel) -> None:
    prompt = original.encode(TEXT)
    assert post(f"{url}/tokenize", {"prompt": TEXT})["tokens"] == prompt
    assert post(f"{url}/detokenize", {"tokens": prompt})["prompt"] == TEXT
    expected, logprobs = reference(model, prompt)
    with urllib.request.urlopen(f"{url}/v1/models", timeout=60) as response:
        name = json.loads(response.read())["data"][0]["id"]
    body = {"model": name, "prompt": TEXT, "max_tokens": NUM_TOKENS, "temperature": 0, "ignore_eos": True}
    [choice] = post(f"{url}/v1/completions", {**body, "logprobs": 0})["choices"]
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(logprobs, abs=1e-4)
    assert choice["text"] == b"".join(piece_bytes(original, i) for i in expected).decode("utf-8", "replace")
    assert streamed(f"{url}/v1/completions", body) == choice["text"]
    # A first piece that begins with a space loses it when only a control token came before: streamed or not.
    for text in ("<|im_start|>", "the sea 東", "🙂"):
        body = {"model": name, "prompt": text, "seed": 3, "max_tokens": 40, "temperature": 1.5}
        whole = post(f"{url}/v1/completions", body)["choices"][0]["text"]
        assert streamed(f"{url}/v1/completions", body) == whole
