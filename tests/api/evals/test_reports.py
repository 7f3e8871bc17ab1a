"""Reports: as a page without scripts, and as Markdown; both say the same."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import httpx2

from llmos_server.evaluation.report.markdown import escape

COUNTRIES = ["France", "Italy", "Spain", "Peru"] * 3
GRADERS = [
    {
        "type": "string_check",
        "name": "same",
        "input": "{{ sample.output_text }}",
        "reference": "{{ item.capital }}",
        "operation": "eq",
    },
    {
        "type": "text_similarity",
        "name": "alike",
        "input": "{{ sample.output_text }}",
        "reference": "{{ item.capital }}",
        "evaluation_metric": "chrf",
        "pass_threshold": 0.5,
    },
]


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def get(evals: Any, url: str, **query: str) -> httpx2.Response:
    return httpx2.get(url if url.startswith("http") else evals.url + url, params=query)


def test_a_report_of_two_runs(evals) -> None:
    made = evals.create(name="Capitals <b>&", testing_criteria=GRADERS)
    evals.answers |= {"Italy": "<script>alert(1)</script>|`x`"}
    first = evals.done(made.id, evals.source(COUNTRIES), name="before")
    evals.answers["Italy"] = "Rome"
    second = evals.done(made.id, evals.source(COUNTRIES), name="after")
    reply = get(evals, f"/v1/evals/{made.id}/report", runs=f"{first.id},{second.id}")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    page = Page(reply.text)
    assert not {"script", "b", "img", "link", "a"} & set(page.tags)
    assert page.tags.count("svg") == 3
    for text in ("Capitals <b>&", "after minus before", "+0.250 (+0.000 to +0.500), no clear difference", "macro F1"):
        assert text in page.texts
    assert "fail: <script>alert(1)</script>|`x`" in page.texts
    start = reply.text.index("<svg")
    ET.fromstring(reply.text[start : reply.text.index("</svg>", start) + 6])
    markdown = get(evals, f"/v1/evals/{made.id}/report", runs=f"{first.id},{second.id}", format="markdown").text
    assert "| passed | 0.750 | +0.250 (+0.000 to +0.500), no clear difference |" in markdown
    assert "fail: \\<script\\>alert(1)\\</script\\>\\|\\`x\\`" in markdown
    assert "nc:6" in markdown
    assert "●" in markdown


def test_a_run_tells_where_its_report_is(evals) -> None:
    made = evals.create()
    evals.answers["Peru"] = "Cusco"
    done = evals.done(made.id)
    page = Page(get(evals, done.report_url).text)
    assert "Items that didn't pass" in page.texts
    assert "fail: Cusco" in page.texts
    assert get(evals, done.report_url, format="pdf").json()["error"]["param"] == "format"
    queued = evals.begin(made.id)
    assert get(evals, queued.report_url).json()["error"]["code"] == "run_not_completed"


def test_texts_are_no_markdown() -> None:
    assert escape("a | b\n# c [x](y)") == "a \\| b \\# c \\[x\\](y)"
