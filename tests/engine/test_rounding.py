"""Which products round their activations to 8 bits: as the measurement says, and never more than is promised."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from llmos_server.contracts import TokenLogprob
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.rounding import CLEAR, LIMIT, MIN_TOKENS, WAYS, round_activations
from llmos_server.engine.step import StepPlan, StepResult
from llmos_server.models.packed_decoder import PRODUCTS

FAR = 2 * LIMIT
NAN = math.nan


class FakeModel:
    """Log-probabilities are off by what each rounded product costs."""

    backend = "fake"
    vocab_size = 1000

    def __init__(self, costs: dict[str, float], *, is_quantised: bool = True, later: float = 1.0) -> None:
        """later: times the costs, after the first tokens."""
        self._later = later
        self.is_quantised = is_quantised
        self.rounded: tuple[str, ...] = ()
        self.rounds_everywhere = False
        self.num_runs = 0
        self.num_tokens = 0
        self._costs = costs

    def round_to_bytes(self, products: Collection[str], *, everywhere: bool = False) -> None:
        self.rounded = tuple(products)
        self.rounds_everywhere = everywhere

    def forward(self, plan: StepPlan) -> int:
        self.num_runs += 1
        self.num_tokens += plan.num_tokens
        return plan.num_tokens

    def sample(self, plan: StepPlan, hidden: int) -> StepResult:
        off = sum(self._costs.get(name, 0.0) for name in self.rounded)
        [chunk] = plan.chunks
        last = min(chunk.start + hidden, len(chunk.sequence.request.prompt_ids) - 1)
        places = range(chunk.start, last)
        offs = [off * (-1) ** i * (1 if i < MIN_TOKENS else self._later) for i in places]
        return StepResult([], {0: [TokenLogprob(0, -1.0 + number, []) for number in offs]})


@pytest.fixture
def decide(tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    tokenizer = Tokenizer(models.WordLevel({"the": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    def decide(
        model: FakeModel,
        activations: Literal["auto", "int8", "int16"] = "auto",
        digest: str = "a",
        max_model_len: int = 512,
        folder: Path = tmp_path,
    ) -> tuple[str, ...]:
        config = WorkerConfig(
            epoch=0, commands_endpoint="", reports_endpoint="", model_digest=digest, model_folder=str(folder),
            weights=[], device="cpu", threads=1, page_size=16, cache_bytes=0, max_num_seqs=1,
            max_num_batched_tokens=512, prefix_caching=True, activations=activations,
        )  # fmt: skip
        products = round_activations(model, model, config, max_model_len, tmp_path)
        assert model.rounded == products
        return products

    return decide


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({}, ("gate_up", "down", "out")),
        ({"gate_up": 0.3 * LIMIT, "down": 0.3 * LIMIT, "out": 0.3 * LIMIT}, ("gate_up", "down", "out")),
        ({"down": FAR}, ("gate_up", "out")),
        ({"gate_up": FAR}, ("down", "out")),
        ({"out": FAR}, ()),
        ({"gate_up": NAN}, ("down", "out")),
        ({"out": NAN}, ()),
    ],
)
def test_no_more_than_the_limit_allows(decide, costs: dict[str, float], expected: tuple[str, ...]) -> None:
    assert decide(FakeModel(costs)) == expected


@pytest.mark.parametrize(
    ("cost", "later", "is_allowed", "looks"),
    [
        (0.9 * CLEAR[0], 9.0, True, 1),
        (1.1 * CLEAR[1], 0.0, False, 1),
        (0.9 * LIMIT, 1.0, True, 2),
        (0.9 * LIMIT, 2.0, False, 2),
        (1.05 * LIMIT, 0.9, True, 2),
    ],
)
def test_the_first_tokens_decide_what_is_clear(decide, cost: float, later: float, is_allowed: bool, looks: int) -> None:
    """The rest is computed only then, for 16 bits once for all ways."""
    model = FakeModel({"out": cost}, later=later)
    assert decide(model) == (WAYS[0] if is_allowed else ())
    num_ways = 1 if is_allowed else len(WAYS)
    whole = 164  # The text's tokens, of this tokenizer.
    assert model.num_tokens == (1 + num_ways) * (MIN_TOKENS if looks == 1 else whole)
    assert model.num_runs == (1 + num_ways) * looks


def test_with_pages_for_one_pass_the_whole_text_decides(decide) -> None:
    model = FakeModel({"out": 0.9 * CLEAR[0]}, later=9.0)
    assert decide(model, max_model_len=160) == ()
    assert model.num_runs == 1 + len(WAYS)


def test_it_is_measured_once_a_model(decide) -> None:
    first, second, other = FakeModel({"down": FAR}), FakeModel({}), FakeModel({})
    assert decide(first) == decide(second) == ("gate_up", "out")
    assert second.num_runs == 0
    assert decide(other, digest="b") == ("gate_up", "down", "out")
    assert other.num_runs == 2


@pytest.mark.parametrize("content", [b"", b"[1]", b'["qkv", "mlp"]', b"\xff"])
def test_a_broken_note_is_measured_again(decide, tmp_path: Path, content: bytes) -> None:
    decide(FakeModel({}))
    [note] = tmp_path.glob("rounding-*.json")
    note.write_bytes(content)
    assert decide(FakeModel({"down": FAR})) == ("gate_up", "out")
    assert [path.name for path in tmp_path.glob("rounding-*")] == [note.name]


def test_where_nothing_can_be_measured_16_bits_stay(decide, tmp_path: Path) -> None:
    assert decide(FakeModel({}), max_model_len=40) == ()
    assert decide(FakeModel({}), digest="b", folder=tmp_path / "no tokenizer") == ()
    small = FakeModel({})
    small.vocab_size = 2
    assert decide(small, digest="c") == ()


def test_what_is_asked_for_is_done_unmeasured(decide) -> None:
    model = FakeModel(dict.fromkeys(PRODUCTS, FAR))
    assert decide(model, "int8") == PRODUCTS
    assert model.rounds_everywhere
    assert decide(model, "int16") == ()
    assert not model.rounds_everywhere
    assert decide(FakeModel({}, is_quantised=False), "int8") == ()
    assert model.num_runs == 0
