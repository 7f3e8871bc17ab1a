"""What is drawn is what was measured: curves, distributions, maps of pages."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
import tui_data
from hypothesis import given
from hypothesis import strategies as st
from llmos_tui.client import decode
from llmos_tui.history import History, ModelHistory, quantile, subtract
from llmos_tui.widgets.distribution import bars, in_words
from llmos_tui.widgets.graph import braille, nice_top
from llmos_tui.widgets.page_map import KINDS, PageMapView, scaled
from llmos_tui.widgets.usage_bar import bar
from llmos_tui.wire.live import Histogram, LiveModel, Overview, Pages


def wired(data: dict[str, Any], kind: Any) -> Any:
    return decode(msgspec.json.encode(data), kind)


def model(second: float, **changes: Any) -> LiveModel:
    return wired(tui_data.decoder(second, **changes), LiveModel)


def dots(lines: list[str]) -> int:
    return sum((ord(letter) - 0x2800).bit_count() for line in lines for letter in line if letter != " ")


def test_a_curve_has_a_dot_for_each_step() -> None:
    assert braille([0, 1, 2, 3, 4, 5, 6, 7, 8], 5, 2, 8.0)[0][:2] == "  "
    assert dots(braille([1, 2, 3, 4, 5, 6, 7, 8], 4, 2, 8.0)) == 36
    assert braille([8.0, 8.0], 1, 2, 8.0) == ["⣿", "⣿"]
    assert braille([], 3, 1, 1.0) == ["   "]
    assert dots(braille([0.001], 3, 2, 100.0)) == 1


def test_the_newest_value_is_at_the_right_and_old_ones_leave() -> None:
    assert braille([9.0] * 50 + [0, 0], 2, 1, 9.0) == ["⣿ "]


@given(st.floats(min_value=1e-6, max_value=1e12))
def test_the_scale_is_round_and_close(value: float) -> None:
    top = nice_top(value)
    assert value <= top * (1 + 1e-9)
    assert top <= 10 * value


def test_rates_are_differences_over_a_second_at_least() -> None:
    history = ModelHistory()
    for step in range(21):  # Ten a second; the counter moves once in five steps.
        history.add(step / 10, model(0, generation_tokens_total=100 * (step // 5)))
    assert [round(rate) for _, rate in history.rates_out][-5:] == [200, 200, 200, 200, 200]


def test_a_server_that_was_started_anew_has_no_negative_rate() -> None:
    history = ModelHistory()
    for second, total in enumerate([1000, 1300, 20, 320]):
        history.add(float(second), model(0, generation_tokens_total=total))
    assert [rate for _, rate in history.rates_out] == [300.0, 300.0]


def test_the_last_minute_is_what_came_since_the_sample_before_it() -> None:
    history = ModelHistory()
    for second in range(200):
        history.add(float(second), model(second))
    window = history.window("ttft")
    assert window is not None
    assert window.seconds == 60.0
    assert sum(window.histogram.counts) == 3 * 60
    assert [round(rate) for _, rate in history.rates_in][-1] == 900


def test_only_so_much_is_kept() -> None:
    history = ModelHistory()
    for second in range(1000):
        history.add(float(second), model(0))
    assert len(history.rates_in) <= 401
    assert len(history._samples) <= 401


def test_models_that_are_gone_are_forgotten_and_cpu_is_a_share_of_a_core() -> None:
    history = History()
    history.add(wired(tui_data.overview(0), Overview))
    before = history.of("smollm2:135m")
    history.add(wired(tui_data.overview(2, models=[]), Overview))
    assert history.cpu_share == pytest.approx(0.08)
    assert history.of("smollm2:135m") is not before


def test_histograms_that_do_not_fit_are_taken_as_new() -> None:
    later = Histogram(bounds=[1.0], counts=[5, 1], sum=3.0)
    assert subtract(later, Histogram(bounds=[1.0], counts=[2, 1], sum=1.0)).counts == [3, 0]
    assert subtract(later, Histogram(bounds=[2.0], counts=[2, 1])) is later
    assert subtract(later, Histogram(bounds=[1.0], counts=[9, 1])) is later


def test_quantiles() -> None:
    histogram = Histogram(bounds=[1.0, 2.0, 4.0], counts=[10, 0, 10, 2], sum=40.0)
    assert quantile(histogram, 0.25) == pytest.approx(0.55)
    assert quantile(histogram, 0.5) == pytest.approx(2.2)
    assert quantile(histogram, 1.0) == float("inf")
    assert quantile(Histogram(bounds=[1.0], counts=[0, 0]), 0.5) is None


@given(st.lists(st.integers(0, 50), min_size=2, max_size=20), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_quantiles_rise(counts: list[int], a: float, b: float) -> None:
    histogram = Histogram(bounds=[0.5 * (n + 1) for n in range(len(counts) - 1)], counts=counts)
    low, high = quantile(histogram, min(a, b)), quantile(histogram, max(a, b))
    assert low is None or (high is not None and low <= high + 1e-9)


def test_a_distribution_in_words_has_what_fits() -> None:
    histogram = Histogram(bounds=[0.1, 1.0], counts=[98, 1, 1], sum=3.0)
    assert in_words("TTFT", histogram, 60) == "TTFT p50 51 ms p95 97 ms p99 1.0 s"
    assert in_words("TTFT", histogram, 28) == "TTFT p50 51 ms p99 1.0 s"
    assert in_words("TTFT", histogram, 10) == "TTFT p50 51 ms"
    assert in_words("TTFT", Histogram(bounds=[1.0], counts=[0, 1]), 60).endswith("p99 over 1.0 s")
    assert in_words("ITL", Histogram(), 60) == "ITL none"


def test_bars_are_in_proportion_and_none_is_hidden() -> None:
    assert bars([8, 4, 0, 1], 4, 1) == ["█▄ ▁"]
    assert bars([1000, 1], 2, 2) == ["█ ", "█▁"]
    assert bars([1, 1, 1, 1, 4, 4], 3, 1) == ["▂▂█"]
    assert bars([], 3, 2) == ["   ", "   "]


@given(st.text(alphabet="suc.", min_size=1, max_size=3000), st.integers(1, 400))
def test_a_map_has_room_and_each_cell_tells_what_most_of_its_pages_are(pages: str, cells: int) -> None:
    drawn, step = scaled(pages, cells)
    assert len(drawn) <= cells
    if len(pages) <= cells:
        assert (drawn, step) == (pages, 1)
    for number, letter in enumerate(drawn):
        part = Counter(pages[number * step : (number + 1) * step])
        assert part[letter] == max(part.values())


def test_of_equally_many_pages_the_more_used_are_shown() -> None:
    assert scaled("us" * 2, 2) == ("ss", 2)
    assert scaled("c." * 2, 2) == ("cc", 2)


def test_signs_of_pages_differ_without_colours() -> None:
    assert len({sign for _, sign in KINDS.values()}) == 5


def test_the_legend_has_the_counts_and_the_scale() -> None:
    pages = Pages(num_pages=10, num_free=1, num_cached=2, num_used=3, num_shared=4, page_size=16)
    text = "".join(part for _, part in PageMapView._legend(pages, 3, num_lent=0))
    assert text == "10 pages ▚ 4 shared  █ 3 used  ▒ 2 cached  · 1 free  3 a cell, 16 tokens each"
    assert "1 free  and 5 lent  3 a cell" in "".join(part for _, part in PageMapView._legend(pages, 3, num_lent=5))


def test_a_bar_is_exact_to_an_eighth() -> None:
    assert bar(0.5, 4) == "██  "
    assert bar(0.53, 4) == "██▏ "
    assert bar(0.0001, 4) == "▏   "
    assert bar(0.0, 2) == "  "
    assert bar(7.0, 2) == "██"
