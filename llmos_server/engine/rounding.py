"""To how many bits a packed model's products round their activations: 16, or 8 where a measurement allows it.

With 8 bits a product takes about 0.6 of the time wherever arithmetic is the limit. What it does to log-probabilities
depends on the model, so it is measured on a text, once, and noted beside the compiled kernels. It is fixed before
anything is served: answers never depend on load.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from statistics import fmean
from typing import Protocol

import msgspec
from tokenizers import Tokenizer

from llmos_server.contracts import GenerateRequest, SamplingParams
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import Chunk, Runner, StepPlan
from llmos_server.models.packed_decoder import PRODUCTS

log = logging.getLogger("llmos.worker")

LIMIT = 0.05
"""Mean absolute difference of log-probabilities, in nats, that rounding may make on the text; other texts come out up
to a quarter off. The default model is at half of it, and 8 bits everywhere, as other engines have them, are above."""
CLEAR = (0.7 * LIMIT, 1.1 * LIMIT)
"""What the text's first MIN_TOKENS have to be below or above to decide alone: they come out up to 30 % off the whole.
With 8 billion weights on two cores the whole text takes 11 to 13 s each time that it is computed."""
WAYS = (("gate_up", "down", "out"), ("gate_up", "out"), ("down", "out"))
"""Products that get 8 bits together, most time saved first. qkv and the head lose most by it and save least."""
MIN_TOKENS = 64
VERSION = 1
"""Of what the kernels make of it: notes of another are not read."""
TEXT = """The river had been rising since Tuesday, and by the weekend most of the lower road was gone. Anna counted the
sandbags twice, wrote the number 240 in her notebook, and called the office in Lyon. "We need four more trucks," she
said, "and somebody who can read a map." In 1998 the same bridge had been closed for eleven days; nobody wanted that
again. def area(width, height): return width * height. Most people think that a battery stores electricity, but it
stores chemical energy, which is turned into a current when the circuit is closed. First, melt the butter over a low
heat; second, add the flour, stirring all the time; third, pour in the milk. The committee will meet on 14 March to
decide whether the proposal should be accepted, changed or withdrawn."""


class Rounding(Protocol):
    """models.packed_decoder.PackedDecoder, as far as it matters here."""

    backend: str
    vocab_size: int

    @property
    def is_quantised(self) -> bool: ...

    def round_to_bytes(self, products: Collection[str], *, everywhere: bool = False) -> None: ...


def round_activations(
    model: Rounding, runner: Runner, config: WorkerConfig, max_model_len: int, notes: Path
) -> tuple[str, ...]:
    """Set it as `config.activations` says; returns the products that round to 8 bits.

    notes: the folder of what was measured before. Pages are written to: call it before the first step.
    """
    if config.activations == "auto" and model.is_quantised:
        note = notes / f"rounding-{_digest(config, model)}.json"
        products = _read(note)
        if products is None:
            products = _measure(model, runner, config, max_model_len)
            _write(note, products)
    else:
        products = PRODUCTS if config.activations == "int8" and model.is_quantised else ()
    model.round_to_bytes(products, everywhere=config.activations == "int8")
    if products:
        log.info("activations of %s are rounded to 8 bits", ", ".join(products))
    return products


def _measure(model: Rounding, runner: Runner, config: WorkerConfig, max_model_len: int) -> tuple[str, ...]:
    ids = _text_ids(Path(config.model_folder), model.vocab_size)[:max_model_len]
    if len(ids) < MIN_TOKENS:
        return ()
    num_pages = -(-len(ids) // config.page_size)
    goes_on = 2 * num_pages * config.page_size <= max_model_len  # Each pass has pages of its own, to be continued.
    counts = (MIN_TOKENS, len(ids)) if goes_on else (len(ids),)
    exact = _Pass(runner, ids, range(num_pages))
    for products in WAYS:
        rounded = _Pass(runner, ids, range(num_pages, 2 * num_pages) if goes_on else range(num_pages))
        if _is_allowed(products, model, exact, rounded, counts):
            return products
    return ()


def _is_allowed(
    products: tuple[str, ...], model: Rounding, exact: _Pass, rounded: _Pass, counts: tuple[int, ...]
) -> bool:
    """counts: of tokens to look at, the fewest first."""
    for count in counts:
        model.round_to_bytes(())
        expected = exact.logprobs(count)
        model.round_to_bytes(products)
        difference = fmean(abs(a - b) for a, b in zip(expected, rounded.logprobs(count), strict=True))
        log.info(
            "activations of %s in 8 bits: log-probabilities %.4f off on average over %d tokens",
            ", ".join(products), difference, count,
        )  # fmt: skip
        if not CLEAR[0] < difference <= CLEAR[1]:
            break
    return difference <= LIMIT  # Not where it is NaN.


def _text_ids(folder: Path, vocab_size: int) -> list[int]:
    """[] without a tokenizer to read, or where its tokens are not the model's."""
    try:
        ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT.replace("\n", " ")).ids
    except Exception:  # The library has no narrower one.
        return []
    return ids if max(ids, default=0) < vocab_size else []


class _Pass:
    """The text through the model, as far as it was asked for."""

    def __init__(self, runner: Runner, ids: list[int], pages: range) -> None:
        sampling = SamplingParams(max_tokens=0, seed=0, prompt_logprobs=0)
        self._sequence = Sequence(GenerateRequest(request_id="", prompt_ids=ids, sampling=sampling), 0, 0.0)
        self._sequence.pages = list(pages)
        self._runner = runner
        self._num_computed = 0
        self._logprobs: list[float] = []

    def logprobs(self, count: int) -> list[float]:
        """Of the tokens that the first `count` foretell. What is new is computed with the model as it is now."""
        start, self._num_computed = self._num_computed, max(count, self._num_computed)
        if start < count:
            chunk = Chunk(self._sequence, start, count - start, [], wants_prompt_logprobs=True)
            # Told of the pages at the start, so that they are cleared when they are handed out.
            plan = StepPlan([chunk], page_clears=[] if start else self._sequence.pages)
            entries = self._runner.sample(plan, self._runner.forward(plan)).prompt_logprobs[0]
            self._logprobs += [entry.logprob for entry in entries]
        return self._logprobs[:count]


def _digest(config: WorkerConfig, model: Rounding) -> str:
    parts = (config.model_digest, config.quantization, config.cache_dtype, model.backend, VERSION, LIMIT, WAYS, TEXT)
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()[:24]


def _read(note: Path) -> tuple[str, ...] | None:
    try:
        products = msgspec.json.decode(note.read_bytes(), type=tuple[str, ...])
    except (OSError, msgspec.DecodeError):
        return None
    return products if set(products) <= set(PRODUCTS) else None


def _write(note: Path, products: tuple[str, ...]) -> None:
    """Whole or not at all; a folder that can't be written to costs the next load a measurement."""
    with contextlib.suppress(OSError), _unfinished(note) as path:
        path.write_bytes(msgspec.json.encode(products))
        path.replace(note)


@contextlib.contextmanager
def _unfinished(note: Path) -> Iterator[Path]:
    path = note.with_suffix(f".{os.getpid()}")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
