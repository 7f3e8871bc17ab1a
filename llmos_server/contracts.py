"""The frozen nouns that cross folders and processes, and the Protocols that app.py wires. Nothing here imports torch,
nor anything of LLMOS but the chapter of adapters."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import msgspec

from llmos_server.adapter_contracts import AdapterStats, LoadedAdapter

FinishReason = Literal["stop", "length"]

MAX_LOGPROBS = 20
"""Most alternatives a client may ask for at one position (OpenAI's limit)."""


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are chosen. Everything is resolved: no None stands for "the server's default".

    The order in which the sampler applies them: logit_bias, min_tokens (bans stop tokens), repetition, presence and
    frequency penalties, grammar, temperature, min_p, top_k, top_p.
    """

    max_tokens: int
    """Upper bound on generated tokens; 0 computes the prompt only."""
    seed: int
    """Noise is a function of (seed, choice index, position), so a seed repeats alone, batched and after preemption."""
    min_tokens: int = 0
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps every token."""
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    """Over prompt and output, as in vLLM and Transformers. 1 is off."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    """Both over the output only, as at OpenAI. 0 is off."""
    logit_bias: dict[int, float] = {}
    stop_token_ids: tuple[int, ...] = ()
    """Ends the choice; holds the model's end-of-turn ids unless the client sent ignore_eos. Not part of the output."""
    logprobs: int | None = None
    """None: none. k: the chosen token's, and the k best alternatives (k may be 0). Before penalties and temperature."""
    prompt_logprobs: int | None = None
    """The same for each prompt token; such a request skips the prefix-cache look-up."""
    grammar: str = ""
    """What the output has to be, as llguidance's text ("" for anything); stop tokens end it where it is complete, and
    it ends by itself where nothing can follow. Beats min_tokens where only an end is left."""


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the API asks of an engine: one tokenised prompt, n choices."""

    request_id: str
    prompt_ids: list[int]
    sampling: SamplingParams
    n: int = 1
    priority: int = 0
    """Lower runs earlier (vLLM's convention); equal priorities are first come, first served."""
    cache_salt: str = ""
    """Requests share cached pages only with requests of the same salt."""
    owner: str = ""
    """Whose turn it takes: owners share an engine evenly, however many requests each has. "" is nobody."""
    continuations: list[list[int]] = []
    """What each of the n choices says: nothing is drawn, and log-probabilities tell how likely the model finds it. See
    ScoreRequest."""
    adapter: str = ""
    """Digest of the adapter that the model is computed with; "" for none."""


class ScoreRequest(msgspec.Struct, frozen=True, kw_only=True):
    """How likely is each continuation of the same prompt? The prompt is computed once for all of them."""

    request_id: str
    prompt_ids: list[int]
    continuations: list[list[int]]
    """At least one, each of at least one token."""
    priority: int = 0
    cache_salt: str = ""
    owner: str = ""
    adapter: str = ""
    """These four as GenerateRequest's."""

    def to_generate(self) -> GenerateRequest:
        """The same, as an engine runs it."""
        sampling = SamplingParams(max_tokens=max(map(len, self.continuations), default=0), seed=0, logprobs=0)
        return GenerateRequest(**msgspec.structs.asdict(self), sampling=sampling, n=len(self.continuations))


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """What a ScoreRequest comes to."""

    logprobs: list[list[float]]
    """Of each token of each continuation, given the prompt and the tokens before it: the model's own log-softmax."""
    num_cached_tokens: int = 0
    """Prompt tokens taken from the prefix cache."""
    queue_seconds: float | None = None
    prefill_seconds: float | None = None

    @property
    def totals(self) -> list[float]:
        """Log-probability of each continuation as a whole."""
        return [math.fsum(tokens) for tokens in self.logprobs]


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """The model's own log-softmax at one position: the token's, and the best alternatives, best first."""

    token_id: int
    logprob: float
    top: list[tuple[int, float]] = []


class ChoiceDelta(msgspec.Struct, frozen=True, array_like=True):
    """What one engine step adds to one choice of one request."""

    request_id: str
    index: int
    token_ids: list[int]
    """New tokens, without the stop token that may have ended the choice."""
    finish_reason: FinishReason | None = None
    stop_token_id: int | None = None
    """The stop token that ended the choice, if one did."""
    logprobs: list[TokenLogprob] | None = None
    """One entry per entry of token_ids, when asked for."""
    cumulative_logprob: float = 0.0
    """Sum over the choice so far, the stop token included; 0.0 unless logprobs were asked for."""
    num_cached_tokens: int = 0
    """Prompt tokens taken from the prefix cache at the request's first admission."""
    prompt_logprobs: list[TokenLogprob | None] | None = None
    """In choice 0's first delta when asked for; entry 0 is None (nothing precedes it)."""
    queue_seconds: float | None = None
    """In choice 0's first delta: arrival in the engine to first scheduling."""
    prefill_seconds: float | None = None
    """In choice 0's first delta: first scheduling to first token."""
    stop_logprob: TokenLogprob | None = None
    """Of the stop token, when log-probabilities were asked for."""


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a loaded engine publishes about itself."""

    model_digest: str
    architecture: str
    dtype: str
    device: str
    vocab_size: int
    context_length: int
    """The checkpoint's own limit, in tokens."""
    max_model_len: int
    """The limit enforced at admission: the smaller of context_length and what the page pool holds."""
    page_size: int
    num_pages: int
    page_bytes: int = 0
    """Of one in all layers; 0: they can't be given back to the system."""
    cache_dtype: str = ""
    load_seconds: float


class EngineStats(msgspec.Struct, frozen=True, array_like=True):
    """Gauges of the last step (free pages: what a new request could get) and counters since the worker started."""

    num_running: int = 0
    num_waiting: int = 0
    num_free_pages: int = 0
    num_pages: int = 0
    num_preemptions: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    """Prompt tokens found in the prefix cache, of prefix_queries looked up."""
    num_steps: int = 0
    queue_seconds: float = 0.0
    """Estimated time until all that waits now has begun; 0 while the engine's speed isn't known."""
    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens: int = 0
    """Guessed tokens that were right, of num_draft_tokens that were computed, in num_drafts steps of a sequence."""
    num_grammars: int = 0
    grammar_seconds: float = 0.0
    """What it took to compile so many grammars."""
    num_cached_pages: int = 0
    num_shared_pages: int = 0
    """Of the free pages, those with content that is found by prefix; and of the others, those that several hold."""
    adapters: AdapterStats = AdapterStats()


class PageLayout(msgspec.Struct, frozen=True):
    """What each page of a KV cache is, between two steps; stats of the same moment."""

    stats: EngineStats
    pages: str
    """A letter for each: "." free, "c" cached, "u" used by one, "s" shared (by copies to come, too), "-" given back."""


class EncodeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the API asks of an encoder: texts as token ids, special tokens included, each within the model's limit."""

    request_id: str
    inputs: list[list[int]]
    owner: str = ""
    second_starts: list[int] = []
    """Of pairs: where in each input the second text begins, its length where the model isn't told; [] for others."""


PoolingKind = Literal["mean", "cls", "max"]

ENCODER_SPEC = "encoder.json"
"""The file beside an encoder's config that holds its EncoderSpec."""


class EncoderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How the vectors of a text's tokens become its embedding."""

    pooling: PoolingKind
    """Over all tokens, special ones included; cls takes the first."""
    normalize: bool
    """To length 1."""
    max_input_tokens: int
    """Longest input, special tokens included."""
    is_matryoshka: bool = False
    """The model was trained so that the begin of an embedding is an embedding."""
    matryoshka_dimensions: list[int] = []
    """The lengths it was trained for; none: any length will do."""


Activation = Literal["softmax", "sigmoid", "identity"]

CLASSIFIER_SPEC = "classifier.json"
"""The file beside a classifier's config that holds its ClassifierSpec."""


class ClassifierSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What an encoder with a classification head says of a text, or of a pair of texts."""

    labels: list[str]
    """Of its outputs, in order. One alone: a score, as cross-encoders give it."""
    activation: Activation
    """What makes probabilities, or scores, of its outputs."""
    max_input_tokens: int
    """Longest input, special tokens included."""


class EncoderInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a loaded encoder publishes about itself."""

    model_digest: str
    architecture: str
    dtype: str
    device: str
    vocab_size: int
    max_input_tokens: int
    """Longest input, special tokens included."""
    num_dimensions: int
    """Length of an embedding; of a classifier's output, which has a number for each label."""
    load_seconds: float
    is_matryoshka: bool = False
    """See EncoderSpec."""
    matryoshka_dimensions: list[int] = []
    labels: list[str] = []
    """A classifier's; see ClassifierSpec. What it encodes are then outputs, before the activation."""
    activation: Activation = "identity"


EngineState = Literal["unloaded", "loading", "ready", "restarting", "failed", "stopped"]
"""unloaded: no worker runs and none is wanted; the first request that waits for it has it loaded."""


class Generation(Protocol):
    """A request that was handed to an engine. Iterate it; abort it when nobody wants the rest."""

    request_id: str
    has_begun: bool
    """The engine has given it its first step."""

    def __aiter__(self) -> AsyncIterator[list[ChoiceDelta]]: ...

    async def __anext__(self) -> list[ChoiceDelta]:
        """All deltas that have arrived since the last call, at least one, in order.

        Ends when every choice has finished or was aborted. Raises errors.EngineFailed when the worker died.
        """
        ...

    def abort(self, index: int | None = None) -> None:
        """Stop one choice, or all of them. Safe to call twice, and after the end. Pages are free by the next step."""
        ...


class Engine(Protocol):
    """What every engine has in common, whatever its model computes; torch-free."""

    @property
    def state(self) -> EngineState: ...

    @property
    def load_failure(self) -> str:
        """Why the state is "failed", and what comes next; "" in another state."""
        ...

    def hold(self) -> AbstractContextManager[None]:
        """Within it the model is not evicted. Enter before wait_ready, leave when the request is over."""
        ...


class Generator(Engine, Protocol):
    """The face of a decoder's engine that the API sees."""

    @property
    def info(self) -> EngineInfo | None:
        """None until the model has been loaded for the first time."""
        ...

    @property
    def stats(self) -> EngineStats: ...

    async def wait_ready(self, timeout: float | None = None) -> EngineInfo:
        """Load the model if need be and wait. Raises EngineFailed when that failed, EngineBusy on time-out or crash."""
        ...

    def submit(self, request: GenerateRequest) -> Generation:
        """Hand a request over; returns at once. Raises errors.EngineFailed or errors.EngineBusy when not ready."""
        ...

    @property
    def adapters(self) -> list[LoadedAdapter]:
        """The least recently used first."""
        ...

    async def load_adapter(self, digest: str) -> None:
        """Before a request asks for it. Raises as submit does, and InvalidRequest when it can't be loaded."""
        ...

    async def drop_adapter(self, digest: str) -> None:
        """Returns when no request uses it any more. Raises as submit does."""
        ...

    async def map_pages(self) -> PageLayout:
        """Asks the worker, which answers between two steps. Raises as submit does, and EngineFailed when it dies."""
        ...

    async def score(self, request: ScoreRequest) -> Scores:
        """Raises as submit does, and EngineFailed when the worker dies meanwhile. Cancelling gives it up."""
        ...


class Encoder(Engine, Protocol):
    """The face of an encoder's engine that the API sees."""

    @property
    def info(self) -> EncoderInfo | None:
        """None until the model has been loaded for the first time."""
        ...

    async def wait_ready(self, timeout: float | None = None) -> EncoderInfo:
        """As Generator's."""
        ...

    async def encode(self, request: EncodeRequest) -> list[bytes]:
        """One embedding, or classifier's output, an input, in order: little-endian float32, num_dimensions of them.
        Cancelling gives it up.

        Raises errors.EngineFailed or errors.EngineBusy when there is no ready worker, or it died.
        """
        ...


ModelKind = Literal["decoder", "encoder", "classifier"]
"""encoder: gives embeddings; classifier: an encoder with a classification head, cross-encoders among them."""


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One model in the registry: everything that serving needs, on disk."""

    name: str
    """As clients write it: "smollm2:135m", "hf:org/name", "file:/path"."""
    source: str
    """The full reference that it was pulled from."""
    digest: str
    """sha256 over weights, config, tokenizer and template: "sha256:<64 hex>"; with "+int8" or "+int4" if quantised."""
    folder: str
    """Absolute; holds config.json, tokenizer.json, generation_config.json and, if there is one, chat_template.jinja."""
    weights: list[str]
    """Absolute paths: one .gguf, or safetensors shards."""
    context_length: int
    size_bytes: int
    created: int
    """Unix seconds of the import."""
    kind: ModelKind = "decoder"
    num_parameters: int = 0
    elements: dict[str, int] = {}
    """Of all weight tensors, and by type, as the files name them ("Q4_1" ...); older imports didn't count them."""
    code: dict[str, str] = {}
    """Python files in the folder, name -> sha256, that the worker may run: only of what models.remote_code names."""
    quantization: Literal["none", "int8", "int4"] = "none"
    """How float weights are rounded when they are loaded, as models.options has it; not in manifests."""
