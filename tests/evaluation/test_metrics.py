"""Metrics: what papers and their reference programs give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.evaluation.asking import cosine
from llmos_server.evaluation.metrics.bootstrap import interval_of_difference, interval_of_mean
from llmos_server.evaluation.metrics.corpus import calibration, corpus_bleu, corpus_chrf, score_labels
from llmos_server.evaluation.metrics.overlap import METRICS, fuzzy_match, gleu, meteor, rouge

TEXT = "the cat sat on the mat today"
OTHER = "the cats sat on a mat today"


@pytest.mark.parametrize("name", METRICS)
def test_equal_texts_score_1_and_unlike_ones_0(name) -> None:
    metric = METRICS[name]
    assert metric(TEXT, TEXT) == pytest.approx(1, abs=0.01)
    assert metric("xyz", TEXT) == pytest.approx(0, abs=0.15)
    assert 0 < metric(TEXT, "the cat sat on the mat") < 1


def test_fuzzy_match_is_rapidfuzzs_ratio() -> None:
    assert fuzzy_match("this is a test", "this is a test!") == pytest.approx(0.9655172)
    assert fuzzy_match("", "") == 1
    assert fuzzy_match("", "a") == 0


@given(st.text("abc", max_size=30), st.text("abc", max_size=30))
def test_the_common_subsequence_is_the_longest(first, second) -> None:
    table = np.zeros((len(first) + 1, len(second) + 1), int)
    for i, a in enumerate(first, 1):
        for j, b in enumerate(second, 1):
            table[i, j] = table[i - 1, j - 1] + 1 if a == b else max(table[i - 1, j], table[i, j - 1])
    total = len(first) + len(second)
    assert fuzzy_match(first, second) == (2 * table[-1, -1] / total if total else 1)


def test_gleu_is_the_smaller_of_precision_and_recall() -> None:
    # 7 + 6 + 5 + 4 n-grams of each; in common 5 words, then "sat on" and "mat today".
    assert gleu(TEXT, OTHER) == pytest.approx(7 / 22)


def test_rouge_knows_words_of_any_script() -> None:
    assert rouge("привет, мир", "привет мир", "rouge1") == 1
    assert rouge(TEXT, OTHER, "rouge1") == pytest.approx(5 / 7)


def test_meteor_finds_stems_and_no_synonyms() -> None:
    assert meteor("cats", "cat") == meteor("cat", "cat") > 0
    assert meteor("big", "large") == 0
    assert meteor("", "cat") == 0


def test_sets_are_told_with_sacrebleus_signature() -> None:
    bleu = corpus_bleu([TEXT, "a b c d"], [TEXT, "a b c d"])
    assert bleu.score == pytest.approx(100)
    assert "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:" in bleu.signature
    assert "nc:6|nw:0" in corpus_chrf([TEXT], [OTHER]).signature


def test_labels() -> None:
    scores = score_labels(["a", "b", "c"], ["a", "b", "b"])
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.f1 == pytest.approx({"a": 1, "b": 2 / 3})
    assert scores.macro_f1 == pytest.approx(5 / 6)


def test_calibration() -> None:
    assert calibration([0.9] * 10, [True] * 9 + [False]).ece == pytest.approx(0)
    assert calibration([0.9] * 10, [False] * 10).ece == pytest.approx(0.9)


def test_a_paired_interval_is_narrow_where_items_differ_more_than_models() -> None:
    chance = np.random.default_rng(0)
    hard = chance.random(200)
    before, after = hard.tolist(), (hard + 0.05 + chance.normal(0, 0.02, 200)).tolist()
    paired = interval_of_difference(before, after)
    assert paired.mean == pytest.approx(0.05, abs=0.01)
    assert 0.04 < paired.low < paired.high < 0.06
    assert interval_of_mean(before).high - interval_of_mean(before).low > 0.06
    assert interval_of_difference(before, after) == paired


def test_cosine() -> None:
    assert cosine([1, 0], [0, 2]) == 0
    assert cosine([1, 1], [2, 2]) == pytest.approx(1)
    assert cosine([0, 0], [1, 0]) == 0
