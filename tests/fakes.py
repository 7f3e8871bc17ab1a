"""Stand-ins for an engine and a model's text side: scripted tokens, one byte a token."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from llmos_server import Route, RouteAnswer, Skill, SkillContext, hookimpl
from llmos_server.access.keys import create_key
from llmos_server.adapter_contracts import AdapterStats, LoadedAdapter
from llmos_server.chat.pairs import PairEncoder
from llmos_server.chat.reasoning import Markers, choose_reasoning
from llmos_server.chat.tools.formats import Style, choose_style
from llmos_server.chat.tools.history import write_history
from llmos_server.contracts import (
    ChoiceDelta,
    EncodeRequest,
    EncoderInfo,
    EngineInfo,
    EngineState,
    EngineStats,
    GenerateRequest,
    PageLayout,
    ScoreRequest,
    Scores,
    TokenLogprob,
)
from llmos_server.engine.scoring import collect_scores
from llmos_server.errors import InvalidRequest
from llmos_server.key_contracts import StoredKey
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings

EOS, BOS, TURN = 256, 257, 258
SPECIAL = {EOS: "<eos>", BOS: "<bos>", TURN: "<turn>"}


class ByteRenderer:
    """A tokenizer whose tokens are bytes, so that characters are torn; and a chat template of one line a message."""

    vocab_size = 300
    eos_ids = frozenset({EOS})
    bos_id: int | None = BOS
    strips_first_space = False

    def __init__(
        self, *, has_template: bool = True, adds_bos: bool = False, template: str = "", markers: Sequence[str] = ()
    ) -> None:
        """template: stands for a chat template that reads `tools`; it is only looked at, for markers. markers: further
        special tokens, from 280 on."""
        self._markers = {marker: 280 + place for place, marker in enumerate(markers)}
        self.special_ids = frozenset([*SPECIAL, *self._markers.values()])
        self.has_template = has_template
        self.template_variables = frozenset({"messages", "add_generation_prompt", "enable_thinking"})
        self.template_variables |= {"tools"} if template else set()
        self._template = template
        self._adds_bos = adds_bos

    def tool_style(self, name: str = "auto") -> Style:
        return choose_style(self._template, self.template_variables, name)

    def reasoning_markers(self, name: str = "auto") -> Markers | None:
        return choose_reasoning(self._template, name)

    def marker_tokens(self, markers: Iterable[str]) -> dict[str, int]:
        return {marker: self._markers[marker] for marker in markers if marker in self._markers}

    def render(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        return self.decode(self.encode_chat(messages, **options), skip_special_tokens=False)

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_kwargs: Mapping[str, Any] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_format: str = "auto",
        turns: str = "auto",
    ) -> list[int]:
        messages, tools = write_history(messages, tools, self.tool_style(tool_format), in_system=True)
        ids: list[int] = []
        for tool in tools or []:
            ids += [TURN, *f"tool:{tool}\n".encode()]
        for message in messages:
            content = message["content"]
            if not isinstance(content, str):
                content = "\n".join(part["text"] for part in content)
            if "REFUSE" in content:
                raise InvalidRequest("The model's chat template refuses these messages: no", code="template_error")
            calls = "".join(repr(call) for call in message.get("tool_calls", ()))
            ids += [TURN, *f"{message['role']}:{content}{calls}\n".encode()]
        if template_kwargs:
            ids = [*repr(sorted(template_kwargs.items())).encode(), *ids]
        if continue_final_message:
            return ids[:-1]
        return [*ids, TURN, *b"assistant:"] if add_generation_prompt else ids

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True, param: str = "prompt"
    ) -> list[int]:
        return [*([BOS] if self._adds_bos and add_special_tokens else []), *text.encode()]

    def encode_continuation(self, prompt_ids: Sequence[int], text: str, *, param: str) -> list[int]:
        return list(text.encode())

    def encode_batch(self, texts: Sequence[str], *, param: str) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def pair_encoder(self) -> PairEncoder:
        """[TURN, first, EOS, second, EOS]; tokens are of the second kind from the second text on."""
        tokenizer = Tokenizer(WordLevel({"a": 97, **{text: i for i, text in SPECIAL.items()}}, unk_token="a"))
        tokenizer.post_processor = TemplateProcessing(
            single="<turn> $A <eos>",
            pair="<turn>:0 $A:0 <eos>:0 $B:1 <eos>:1",
            special_tokens=[("<turn>", TURN), ("<eos>", EOS)],
        )
        return PairEncoder(tokenizer, lambda text: list(text.encode()))

    @property
    def affixes(self) -> tuple[list[int], list[int]]:
        return ([BOS] if self._adds_bos else []), []

    def truncate(self, ids: list[int], limit: int, *, side: str = "right") -> list[int]:
        before = self.affixes[0]
        inner = ids[len(before) :]
        room = limit - len(before)
        return [*before, *(inner[:room] if side == "right" else inner[len(inner) - room :])]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        kept = [i for i in ids if not (skip_special_tokens and i in self.special_ids)]
        return b"".join(self.token_bytes(i) for i in kept).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        literal = next((marker for marker, found in self._markers.items() if found == token_id), SPECIAL.get(token_id))
        if literal is not None:
            return literal.encode()
        return bytes([token_id]) if token_id < 256 else b""

    def token_text(self, token_id: int) -> str:
        return self.token_bytes(token_id).decode("utf-8", "replace")

    def drop_oldest(
        self, messages: Sequence[Mapping[str, Any]], limit: int, **options: Any
    ) -> tuple[list[Mapping[str, Any]], int]:
        for dropped in range(len(messages)):
            if len(self.encode_chat(messages[dropped:], **options)) <= limit:
                return list(messages[dropped:]), dropped
        raise InvalidRequest("still too long", param="messages", code="context_length_exceeded")


def logprob_of(token_id: int, position: int, num_top: int) -> TokenLogprob:
    """Made up, but a function of the token and its place."""
    value = -0.25 - (token_id * 7 + position * 13) % 40 / 16
    top = [((token_id + 3 * rank) % 256, value - rank / 8) for rank in range(num_top)]
    return TokenLogprob(token_id=token_id, logprob=value, top=top)


Script = Callable[[GenerateRequest, int], Sequence[int]]


class ScriptedGeneration:
    """Walks through the script, `tokens_per_step` at a time, all choices in the same step."""

    def __init__(self, generator: ScriptedGenerator, request: GenerateRequest) -> None:
        self.request_id = request.request_id
        self.request = request
        self.has_begun = False
        self.aborted = threading.Event()
        """Every choice was given up, by its index or altogether."""
        self.aborted_choices: set[int] = set()
        self._steps = self._run(generator)

    def __aiter__(self) -> AsyncIterator[list[ChoiceDelta]]:
        return self

    async def __anext__(self) -> list[ChoiceDelta]:
        return await anext(self._steps)

    def abort(self, index: int | None = None) -> None:
        self.aborted_choices |= set(range(self.request.n)) if index is None else {index}
        if len(self.aborted_choices) == self.request.n:
            self.aborted.set()

    async def _run(self, generator: ScriptedGenerator) -> AsyncIterator[list[ChoiceDelta]]:
        if generator.gate is not None:
            await generator.gate.wait()
        self.has_begun = True
        choices = [self._choice(generator, index) for index in range(self.request.n)]
        open_choices = dict(enumerate(choices))
        num_steps = 0
        while open_choices := {i: c for i, c in open_choices.items() if i not in self.aborted_choices}:
            if generator.fail_after is not None and num_steps >= generator.fail_after:
                raise generator.failure
            await asyncio.sleep(generator.step_seconds)
            num_steps += 1
            deltas = [next(choice) for choice in open_choices.values()]
            ended = {delta.index for delta in deltas if delta.finish_reason is not None}
            open_choices = {i: c for i, c in open_choices.items() if i not in ended}
            yield [delta for delta in deltas if delta.index not in self.aborted_choices]

    def _choice(self, generator: ScriptedGenerator, index: int) -> Iterator[ChoiceDelta]:
        sampling, request = self.request.sampling, self.request
        given = request.continuations[index] if request.continuations else None
        script = given or [*generator.script(request, index), EOS]
        extras: dict[str, Any] = {"queue_seconds": 0.001, "prefill_seconds": 0.002} if index == 0 else {}
        if index == 0 and sampling.prompt_logprobs is not None:
            entries = [logprob_of(t, p, sampling.prompt_logprobs) for p, t in enumerate(request.prompt_ids)]
            extras["prompt_logprobs"] = [None, *entries[1:]]
        extras["num_cached_tokens"] = min(generator.num_cached_tokens, len(request.prompt_ids) - 1)
        token_ids: list[int] = []
        finish: dict[str, Any] = {"finish_reason": "length"} if sampling.max_tokens == 0 else {}
        place = count = 0
        while not finish:
            token = script[place % len(script)]
            place += 1
            if token in sampling.stop_token_ids and count >= sampling.min_tokens:
                finish = {"finish_reason": "stop", "stop_token_id": token}
                if sampling.logprobs is not None:
                    finish["stop_logprob"] = logprob_of(token, count, sampling.logprobs)
                break
            if token in sampling.stop_token_ids:
                continue
            token_ids.append(token)
            count += 1
            if count == (len(given) if given else sampling.max_tokens):
                finish = {"finish_reason": "length"}
            elif len(token_ids) == generator.tokens_per_step:
                yield self._delta(index, token_ids, count, extras)
                token_ids, extras = [], {}
        yield self._delta(index, token_ids, count, {**extras, **finish})

    def _delta(self, index: int, token_ids: list[int], count: int, extras: dict[str, Any]) -> ChoiceDelta:
        num_top = self.request.sampling.logprobs
        first = count - len(token_ids)
        logprobs = None
        if num_top is not None:
            logprobs = [logprob_of(token, first + place, num_top) for place, token in enumerate(token_ids)]
        return ChoiceDelta(
            request_id=self.request_id, index=index, token_ids=list(token_ids), logprobs=logprobs, **extras
        )


class ScriptedGenerator:
    """An engine that answers what it is told to.

    script: text, or a function of (request, choice index) to token ids; the end token follows. gate: nothing is
    generated before it is set. fail_after: raise `failure` after so many steps. submit_error: what submit raises.
    """

    def __init__(
        self,
        script: str | Script = "Hello",
        *,
        max_model_len: int = 400,
        tokens_per_step: int = 1,
        step_seconds: float = 0.0,
        state: EngineState = "ready",
    ) -> None:
        self.script: Script = (lambda request, index: list(script.encode())) if isinstance(script, str) else script
        self.tokens_per_step = tokens_per_step
        self.step_seconds = step_seconds
        self.state: EngineState = state
        self.stats = EngineStats(
            num_running=1,
            num_waiting=2,
            num_free_pages=6,
            num_pages=8,
            prefix_queries=30,
            prefix_hits=20,
            num_drafts=4,
            num_draft_tokens=15,
            num_accepted_tokens=9,
            num_cached_pages=4,
            num_shared_pages=1,
            adapters=AdapterStats(num_loaded=2, num_bytes=90, num_loads=3, num_evictions=1, load_seconds=0.5),
        )
        self.gate: asyncio.Event | None = None
        self.loaded = asyncio.Event()
        self.load_error: Exception | None = None
        self.submit_error: Exception | None = None
        self.fail_after: int | None = None
        self.failure: Exception = RuntimeError("not told")
        self.num_cached_tokens = 0
        self.num_holds = 0
        self.num_maps = 0
        self.adapters: list[LoadedAdapter] = []
        self.adapter_failure: Exception | None = None
        """Raised by load_adapter."""
        self.generations: list[ScriptedGeneration] = []
        self._info = EngineInfo(
            model_digest="sha256:" + "ab" * 32,
            architecture="scripted",
            dtype="float32",
            device="cpu",
            vocab_size=ByteRenderer.vocab_size,
            context_length=max_model_len,
            max_model_len=max_model_len,
            page_size=16,
            num_pages=8,
            load_seconds=0.0,
        )

    @property
    def info(self) -> EngineInfo | None:
        return None if self.state in ("loading", "failed") else self._info

    @property
    def requests(self) -> list[GenerateRequest]:
        return [generation.request for generation in self.generations]

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        self.num_holds += 1
        try:
            yield
        finally:
            self.num_holds -= 1

    @property
    def load_failure(self) -> str:
        return "The model could not be loaded: no tensors." if self.state == "failed" else ""

    async def wait_ready(self, timeout: float | None = None) -> EngineInfo:
        if self.state != "ready":
            await self.loaded.wait()
            if self.load_error is not None:
                raise self.load_error
            self.state = "ready"
        return self._info

    def submit(self, request: GenerateRequest) -> ScriptedGeneration:
        if self.submit_error is not None:
            raise self.submit_error
        generation = ScriptedGeneration(self, request)
        self.generations.append(generation)
        return generation

    async def load_adapter(self, digest: str) -> None:
        if self.adapter_failure is not None:
            raise self.adapter_failure
        self.adapters.append(LoadedAdapter(digest=digest, num_bytes=9))

    async def drop_adapter(self, digest: str) -> None:
        self.adapters = [one for one in self.adapters if one.digest != digest]

    async def map_pages(self) -> PageLayout:
        """Of `stats`; counted."""
        self.num_maps += 1
        return PageLayout(self.stats, "..ccccus")

    async def score(self, request: ScoreRequest) -> Scores:
        """Log-probabilities are logprob_of's."""
        return await collect_scores(request, self.submit(request.to_generate()))


class ScriptedEncoder:
    """An encoder whose vectors tell what they are of: [number of tokens, sum of tokens, first token, 1].

    gate: nothing is computed before it is set. error: what encode raises.
    """

    def __init__(self, *, max_input_tokens: int = 20, state: EngineState = "ready", **info: Any) -> None:
        self.state: EngineState = state
        self.info = EncoderInfo(
            model_digest="sha256:" + "cd" * 32,
            architecture="scripted",
            dtype="float32",
            device="cpu",
            vocab_size=ByteRenderer.vocab_size,
            max_input_tokens=max_input_tokens,
            num_dimensions=4,
            load_seconds=0.0,
            **info,
        )
        self.requests: list[EncodeRequest] = []
        self.cancelled = threading.Event()
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.num_holds = 0

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        self.num_holds += 1
        try:
            yield
        finally:
            self.num_holds -= 1

    @property
    def load_failure(self) -> str:
        return "The model could not be loaded: no tensors." if self.state == "failed" else ""

    async def wait_ready(self, timeout: float | None = None) -> EncoderInfo:
        assert self.num_holds, "the model might be evicted while it is waited for"
        return self.info

    async def encode(self, request: EncodeRequest) -> list[bytes]:
        assert self.num_holds, "the model might be evicted under its request"
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return [struct.pack("<4f", len(ids), sum(ids), ids[0], 1) for ids in request.inputs]


class ShoutInput(msgspec.Struct, kw_only=True):
    text: str
    words: list[dict[str, str]] = []
    times: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1


class ShoutOutput(msgspec.Struct):
    result: str


class Shout(Skill[ShoutInput, ShoutOutput]):
    """Asks the model once, and repeats the answer in capitals."""

    name = "shout"
    version = "1"
    description = "Answers in capitals."
    input_type = ShoutInput
    output_type = ShoutOutput

    async def run(self, input: ShoutInput, context: SkillContext) -> ShoutOutput:
        context.progress(0, 1)
        reply = await context.chat([{"role": "user", "content": input.text}], max_tokens=5)
        return ShoutOutput(reply.text.upper() * input.times)


class ShoutPlugin:
    hook_api = "1.0"

    @hookimpl
    def register_skills(self) -> list[Any]:
        return [Shout()]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [Route(method="POST", path="size", handle=lambda asked: RouteAnswer(content={"size": len(asked.body)}))]


def create_skills(**settings: Any) -> PluginHost:
    """A host with the skill "shout"."""
    host = PluginHost(PluginsSettings(**settings))
    host.add(Candidate(name="shouting", source="built-in", load=ShoutPlugin), {})
    return host


class ScriptedClassifier(ScriptedEncoder):
    """A classifier whose outputs depend on all tokens, and on where the second text begins; see output_of."""

    def __init__(self, *labels: str, activation: str = "softmax", **options: Any) -> None:
        super().__init__(labels=list(labels), activation=activation, **options)

    async def encode(self, request: EncodeRequest) -> list[bytes]:
        await super().encode(request)
        starts = request.second_starts or map(len, request.inputs)
        num = len(self.info.labels)
        return [
            struct.pack(f"<{num}f", *output_of(ids, start, num))
            for ids, start in zip(request.inputs, starts, strict=True)
        ]


def output_of(ids: list[int], second_start: int, num_labels: int) -> list[float]:
    weight = sum(place * token for place, token in enumerate(ids, 1)) + 7 * second_start
    return [weight * (label + 1) % 23 / 4 - 2 for label in range(num_labels)]


class MemoryKeys:
    """A key store without a database."""

    def __init__(self) -> None:
        self.stored: dict[str, StoredKey] = {}
        self.num_lookups = 0

    def add(self, **fields: Any) -> str:
        """What the key's owner sends."""
        key = create_key()
        self.stored[key.id] = StoredKey(id=key.id, name="n", secret_hash=key.secret_hash, created=1, **fields)
        return key.text

    def revoke(self, key_id: str) -> None:
        self.stored[key_id] = msgspec.structs.replace(self.stored[key_id], revoked=2)

    async def get(self, key_id: str) -> StoredKey | None:
        self.num_lookups += 1
        return self.stored.get(key_id)

    async def any_was_made(self) -> bool:
        return bool(self.stored)
