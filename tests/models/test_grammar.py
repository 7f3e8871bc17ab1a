"""Grammars on real networks: the same tokens with and without guesses, and what has ended parses."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tiny_archs
from llguidance import LLMatcher
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from llmos_server.contracts import GenerateRequest, SamplingParams
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.core import EngineCore
from llmos_server.engine.draft_loading import create_pair
from llmos_server.engine.grammar import GrammarCompiler
from llmos_server.engine.messages import DraftConfig
from llmos_server.engine.model_runner import create_runner
from llmos_server.engine.ngram import NgramProposer
from llmos_server.engine.scheduler import Scheduler

PACKABLE = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "head_dim": 16}
PAGE_SIZE = 16
END = 96
SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "string", "maxLength": 8},
        "b": {"type": "array", "items": {"type": "integer", "minimum": -20, "maximum": 20}, "maxItems": 4},
        "c": {"enum": ["left", "right"]},
    },
    "required": ["a", "b", "c"],
    "additionalProperties": False,
}
JSON = LLMatcher.grammar_from_json_schema(SCHEMA, overrides={"whitespace_flexible": False})
PATTERN = r"(ab|ba){3,9}c?"


def write_tokenizer(folder: Path) -> None:
    """One printable ASCII character a token, and the end."""
    characters = [chr(code) for code in range(0x21, 0x7F)]
    vocabulary = {token: i for i, token in enumerate([*characters, "Ġ", "Ċ"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    assert tokenizer.token_to_id("<end>") == END
    (folder / "tokenizer.json").write_text(tokenizer.to_str())


def requests() -> list[GenerateRequest]:
    def make(name: str, grammar: str, n: int = 1, **options: Any) -> GenerateRequest:
        params = {"max_tokens": 120, "seed": 3, "stop_token_ids": (END,), "logprobs": 1} | options
        sampling = SamplingParams(grammar=grammar, **params)
        return GenerateRequest(request_id=name, prompt_ids=[*range(40), len(made)], sampling=sampling, n=n)

    made: list[GenerateRequest] = []
    made.append(make("greedy", JSON, temperature=0.0))
    made.append(make("choices", JSON, n=3))
    made.append(make("few", JSON, temperature=0.8, top_p=0.9, top_k=20, min_p=0.01))
    made.append(make("changed", JSON, frequency_penalty=0.6, repetition_penalty=1.1, logit_bias={2: 3.0, 65: -50.0}))
    made.append(make("cut", JSON, max_tokens=9))
    regex = LLMatcher.grammar_from_regex(PATTERN)
    made.append(make("pattern", regex, min_tokens=30, temperature=1.2, logprobs=None))
    made.append(make("greedy pattern", regex, temperature=0.0, presence_penalty=0.1))
    made.append(make("free", "", max_tokens=30))
    return made


@pytest.fixture
def folder(checkpoint: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "llama", **changes: Any) -> Path:
        copy = tmp_path / name
        shutil.copytree(checkpoint(name, **changes).folder, copy)
        write_tokenizer(copy)
        return copy

    return make


def answer(runner: Any, info: Any, model: Path, num_pages: int, proposer: Any) -> Any:
    """By choice its tokens with log-probabilities, and how it ended; and the engine's counts."""
    blocks = BlockManager(num_pages, PAGE_SIZE, model_digest="tiny")
    scheduler = Scheduler(
        blocks, max_num_seqs=8, max_num_batched_tokens=64, proposer=proposer, max_draft_tokens=4 if proposer else 0
    )
    compiler = GrammarCompiler(model, info.vocab_size)
    core = EngineCore(scheduler, runner, info, clock=lambda: 0.0, compiler=compiler)
    for request in requests():
        if request.sampling.grammar:
            compiler.compile(request.sampling.grammar)  # So that all start together, in any run.
        core.add(request)
    answers: dict[tuple[str, int], tuple[list[Any], Any]] = {}
    while core.has_work:
        for delta in core.step():
            tokens, _ = answers.get((delta.request_id, delta.index), ([], None))
            tokens += zip(delta.token_ids, delta.logprobs or itertools.repeat(None), strict=False)
            answers[delta.request_id, delta.index] = tokens, (delta.finish_reason, delta.stop_token_id)
        core.check_integrity()
    assert core.take_failed() == {}
    assert core.take_broken() == []
    return answers, core.stats()


def check(answers: Any, model: Path) -> None:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    ended = 0
    for (name, _), (tokens, (reason, _)) in answers.items():
        text = tokenizer.decode([token for token, _ in tokens])
        ended += reason == "stop"
        if reason == "stop" and "pattern" in name:
            assert re.fullmatch(PATTERN, text)
        elif reason == "stop":
            jsonschema.validate(json.loads(text), SCHEMA)
    assert answers["cut", 0][1] == ("length", None)
    assert ended >= 8


@pytest.mark.parametrize("numerics", ["fast", "exact"])
def test_guesses_and_preemptions_change_no_token(folder: Any, make_worker_config: Any, numerics: str) -> None:
    model = folder(**PACKABLE)
    files = [str(path) for path in model.glob("*.safetensors")]
    loaded = create_runner(make_worker_config(model, files, PAGE_SIZE, 2**23, numerics))
    plain, stats = answer(*loaded, model, 90, None)
    check(plain, model)
    assert stats.num_preemptions == 0
    for num_pages, proposer in ((90, NgramProposer()), (17, NgramProposer()), (17, None)):
        guessed, stats = answer(*loaded, model, num_pages, proposer)
        assert guessed == plain
        assert (stats.num_accepted_tokens > 0) == (proposer is not None)
        assert (stats.num_preemptions > 0) == (num_pages == 17)


def test_a_draft_model_guesses_under_the_grammar_too(folder: Any, make_worker_config: Any) -> None:
    """The model itself: all that it guesses is right only if it knows the grammar."""
    model = folder(**PACKABLE)
    files = [str(path) for path in model.glob("*.safetensors")]
    config = make_worker_config(model, files, PAGE_SIZE, 2**22, "fast")
    runner, info = create_pair(config, DraftConfig("itself", str(model), files), clock=lambda: 0.0)
    plain, guessed = (answer(runner, info, model, 60, proposer) for proposer in (None, runner.draft))
    assert guessed[0] == plain[0]
    num_wrong = guessed[1].num_draft_tokens - guessed[1].num_accepted_tokens
    assert num_wrong <= len(guessed[0]), "but for ends, which are right but no part of the answer"
    assert guessed[1].num_accepted_tokens > 100
    assert guessed[1].num_steps < plain[1].num_steps


def test_transformers_backend_follows_a_grammar(make_worker_config: Any, tmp_path: Path) -> None:
    tiny_archs.create("gpt_neox", {"vocab_size": END + 1}).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    files = [str(path) for path in tmp_path.glob("*.safetensors")]
    runner, info = create_runner(make_worker_config(tmp_path, files, PAGE_SIZE, 2**23))
    check(answer(runner, info, tmp_path, 90, None)[0], tmp_path)
