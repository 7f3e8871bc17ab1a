"""A grammar's text, and what it allows after the tokens so far. The parsing is llguidance's.

llguidance works without the GIL and without raising: a matcher that meets an error, or a limit, stays in that state.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from llmos_server.engine.mask_budget import MaskBudget
from llmos_server.engine.sequence import Mask
from llmos_server.errors import InvalidRequest, UnsupportedModel

MAX_CACHED = 32
"""Compiled grammars that are kept, the last used ones."""
LIMITS = LLParserLimits(
    initial_lexer_fuel=250_000, step_lexer_fuel=50_000, step_max_items=20_000, max_lexer_states=50_000,
    verbose_errors=False,
)  # fmt: skip
"""A quarter of the library's own bounds: what a token costs at most delays all streams, and a compiled grammar is kept.
Without `verbose_errors` no error repeats the grammar."""
LISTED = "; following special tokens"
"""Begins a list of them in the parser's errors."""
NOTHING_FITS = "no token of this model fits"
TOO_SLOW = (
    "working out which tokens fit takes more than 10 ms of processor time for each, and other answers wait for it"
)


class SequenceGrammar:
    """Implements sequence.Constraint: how far one sequence is in its grammar."""

    def __init__(self, tokens: GrammarTokens, matcher: LLMatcher, budget: MaskBudget) -> None:
        self._tokens = tokens
        self._start = matcher
        self._budget = budget
        self._matcher = matcher.deep_copy()
        self._is_stuck = False
        self._is_slow = False

    def fork(self) -> SequenceGrammar:
        return SequenceGrammar(self._tokens, self._start, self._budget.fork())

    @property
    def is_complete(self) -> bool:
        return self._matcher.is_stopped() and not self._matcher.is_error()

    @property
    def error(self) -> str:
        if self._is_slow:
            return TOO_SLOW
        return NOTHING_FITS if self._is_stuck else in_short(self._matcher.get_error())

    def accept(self, token_id: int) -> None:
        self._matcher.consume_token(token_id)

    def masks(self, draft_ids: list[int], stop_token_ids: Collection[int]) -> list[Mask]:
        """Guesses are followed by a copy: a matcher that takes tokens back (rollback, llguidance 1.9.1) may then allow
        what it doesn't accept."""
        self._is_slow = self._budget.is_spent
        if self._is_slow:
            return []
        first = self._mask(self._matcher, stop_token_ids)
        self._is_stuck = first is not None and not first.any()
        if first is None or self._is_stuck:
            return []
        masks = [first]
        guesser = self._matcher.deep_copy() if draft_ids else self._matcher
        for token_id in draft_ids:
            if token_id in stop_token_ids or not masks[-1][token_id] or guesser.is_stopped():
                break
            guesser.consume_token(token_id)
            mask = None if guesser.is_stopped() else self._mask(guesser, stop_token_ids)
            if mask is None:
                break
            masks.append(mask)
        return masks

    def _mask(self, matcher: LLMatcher, stop_token_ids: Collection[int]) -> Mask | None:
        bits = np.frombuffer(self._budget.run(matcher.compute_bitmask), dtype=np.uint8)
        return None if matcher.is_error() else self._tokens.to_mask(bits, stop_token_ids)


class GrammarTokens:
    """The model's tokens as the parser sees them, and one of our own, one id past the vocabulary: it is allowed where
    the text may end. Which of the model's tokens end it is the request's business."""

    def __init__(self, folder: Path, vocab_size: int) -> None:
        """vocab_size: the model's, which may be padded. Raises UnsupportedModel where the tokenizer can't be read."""
        path = folder / "tokenizer.json"
        try:
            text, self._end_id = sealed(path.read_text(encoding="utf-8"))
            self.tokenizer = LLTokenizer(text, n_vocab=self._end_id + 1, eos_token=[self._end_id])
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise UnsupportedModel(f"{path}: no grammar can be followed with this tokenizer ({error}).") from error
        self._vocab_size = vocab_size

    def to_mask(self, bits: np.ndarray[Any, np.dtype[np.uint8]], stop_token_ids: Collection[int]) -> Mask:
        """bits: one a token, and one for the end. A stop token stands for the end; as text it is allowed only where
        nothing else is left."""
        named = np.unpackbits(bits, bitorder="little").view(np.bool_)
        can_end = bool(named[self._end_id])
        mask = np.zeros(self._vocab_size, dtype=np.bool_)
        size = min(self._vocab_size, self._end_id)
        mask[:size] = named[:size]
        stops = list(stop_token_ids)
        as_text = mask[stops]
        mask[stops] = can_end
        if not can_end and as_text.any() and not mask.any():
            mask[stops] = as_text
        return mask


class GrammarCompiler:
    """Grammars of one model, from text; the last ones are kept. `find` is for one thread, `compile` for another."""

    def __init__(self, folder: Path, vocab_size: int, create_budget: Callable[[], MaskBudget] = MaskBudget) -> None:
        """folder: the model's. The tokenizer, which takes some 0.3 s, is read when it is first needed."""
        self._folder = folder
        self._vocab_size = vocab_size
        self._create_budget = create_budget
        self._tokens: GrammarTokens | None = None
        self._kept: OrderedDict[str, SequenceGrammar] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, text: str) -> SequenceGrammar | None:
        with self._lock:
            grammar = self._kept.get(text)
            if grammar is not None:
                self._kept.move_to_end(text)
            return grammar

    def compile(self, text: str) -> SequenceGrammar:
        """Raises InvalidRequest for a grammar that can't be followed, UnsupportedModel for such a tokenizer."""
        if (known := self.find(text)) is not None:
            return known
        if self._tokens is None:
            self._tokens = GrammarTokens(self._folder, self._vocab_size)
        matcher = LLMatcher(self._tokens.tokenizer, text, log_level=0, limits=LIMITS)
        if not matcher.is_error():
            matcher.compute_bitmask()  # What the lexer learns by it is in every copy.
        if matcher.is_error():
            raise InvalidRequest(f"The grammar can't be used: {in_short(matcher.get_error())}", code="invalid_grammar")
        grammar = SequenceGrammar(self._tokens, matcher, self._create_budget())
        with self._lock:
            self._kept[text] = grammar
            while len(self._kept) > MAX_CACHED:
                self._kept.popitem(last=False)
        return grammar


def sealed(tokenizer: str) -> tuple[str, int]:
    """tokenizer: a tokenizer.json's text. The same with a token more, for the end, and its id; and with names
    of special tokens that nobody can guess.

    The parser turns text that a grammar forces into tokens as the tokenizer does, which would find special ones in it:
    an enum's "<|im_end|>" would end the answer.
    """
    parsed: dict[str, Any] = json.loads(tokenizer)
    model = parsed["model"]
    entries = parsed.setdefault("added_tokens", None) or []
    secret = secrets.token_hex(8)
    names = {entry["content"]: f"<|{entry['id']}:{secret}|>" for entry in entries if entry.get("special")}
    if isinstance(model["vocab"], list):  # Unigram's: pairs of piece and score, in the order of their ids.
        model["vocab"] = [[names.get(piece, piece), *rest] for piece, *rest in model["vocab"]]
        ids = list(range(len(model["vocab"])))
    else:
        model["vocab"] = {names.get(token, token): token_id for token, token_id in model["vocab"].items()}
        ids = list(model["vocab"].values())
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    end_id = max([*ids, *(entry["id"] for entry in entries)], default=-1) + 1
    end = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    parsed["added_tokens"] = [
        *({**entry, "content": names.get(entry["content"], entry["content"])} for entry in entries),
        {"id": end_id, "content": f"<|end:{secret}|>", "special": True, **end},
    ]
    return json.dumps(parsed), end_id


def in_short(message: str) -> str:
    """Without the names of the special tokens: see `sealed`."""
    return " ".join(message.split(LISTED)[0].split())[:300]
