"""Files of training examples as a whole: nothing is lost, everything is counted, memory stays flat."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.data.examples import ChatExample, Example
from llmos_server.data.lines import read_lines
from llmos_server.data.reading import BadExamples, read_examples
from llmos_server.data.report import MAX_ERRORS, Report, ReportWriter, check_file
from llmos_server.data.scanning import Scan
from llmos_server.errors import InvalidRequest

GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
SUPERVISED = Scan("supervised")


def chat(answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer}]}


def check(tmp_path: Path, data: bytes, scan: Scan = SUPERVISED, **options: Any) -> Report:
    path = tmp_path / "file.jsonl"
    path.write_bytes(data)
    return check_file(path, scan, **options)


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def codes(report: Report) -> list[tuple[int, str]]:
    return [(finding.line, finding.code) for finding in report.findings]


def test_a_good_file(tmp_path: Path) -> None:
    report = check(tmp_path, b"\xef\xbb\xbf" + lines(GOOD) + b"\r\n \n" + json.dumps(chat("é")).encode())
    assert report.is_good
    assert (report.num_lines, report.num_blank, report.num_examples, report.num_bad) == (4, 2, 2, 0)
    assert report.warnings == {"byte_order_mark": 1}
    assert report.summary() == "2 examples in 4 lines."


def test_bad_lines_are_told_by_number(tmp_path: Path) -> None:
    data = lines(GOOD) + b"{'messages': []}\n{\nnot json\n[1]\n3\n" + lines({"messages": [{"role": "user"}]})
    report = check(tmp_path, data)
    assert codes(report)[:3] == [(2, "not_json"), (3, "not_json"), (4, "not_json")]
    assert codes(report)[3:5] == [(5, "not_an_object"), (6, "not_an_object")]
    assert {finding.line for finding in report.findings} == {2, 3, 4, 5, 6, 7}
    assert (report.num_examples, report.num_bad) == (1, 6)
    assert report.summary(1).startswith("6 of 7 lines can't be trained on. line 2: Names and texts stand in double")
    assert report.summary(1).endswith(" And 6 more errors.")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (json.dumps(GOOD).encode("utf-16"), "not_utf8"),
        (json.dumps(GOOD).encode("utf-16-le"), "not_utf8"),
        (b"\x1f\x8b\x08\x00", "not_text"),
        (b"PK\x03\x04", "not_text"),
        (b"", "empty_file"),
        (b"\n \r\n", "empty_file"),
    ],
)
def test_a_file_that_has_no_examples(tmp_path: Path, data: bytes, code: str) -> None:
    report = check(tmp_path, data)
    assert codes(report) == [(0, code)]
    assert report.num_examples == 0


def test_mixed_encodings_are_told_by_line(tmp_path: Path) -> None:
    wide = json.dumps(chat("é"), ensure_ascii=False)
    report = check(tmp_path, b"\n".join(wide.encode(name) for name in ("utf-8", "cp1252", "utf-16-le")))
    assert codes(report) == [(2, "not_utf8"), (3, "not_utf8"), (0, "mixed_encodings")]
    assert "'é'" in report.findings[0].message
    assert report.num_examples == 1


def test_other_formats_are_known_by_their_fields(tmp_path: Path) -> None:
    others = ({"prompt": "a", "completion": "b"}, {"conversations": []}, {"input": {}, "preferred_output": []})
    report = check(tmp_path, lines(*others))
    assert report.errors == {"wrong_format": 3}
    assert "method dpo" in report.findings[2].message


def test_duplicates_are_counted_and_kept(tmp_path: Path) -> None:
    again = b'{"messages":  [{"content": "Hi", "role": "user"}, {"role": "assistant", "content": "Hello"}]}\n'
    report = check(tmp_path, lines(GOOD, chat("a")) + again + lines(GOOD, chat("a")))
    assert report.is_good
    assert (report.num_examples, report.num_duplicates) == (5, 3)
    assert report.warnings == {"duplicate": 3}
    assert [finding.message[:30] for finding in report.findings] == [
        "It says the same as line 1; bo",
        "It says the same as line 1; bo",
        "It says the same as line 2; bo",
    ]


class ByCharacters:
    """Implements Lengths: each character of the last message is a token."""

    max_tokens = 10

    def count(self, example: Example) -> int:
        assert isinstance(example, ChatExample)
        text = str(example.messages[-1]["content"])
        if text == "unwritable":
            raise InvalidRequest("No such turn.", param="messages", code="template_error")
        return len(text)


def test_what_is_too_long_is_told_by_how_much(tmp_path: Path) -> None:
    report = check(tmp_path, lines(GOOD, chat("x" * 13), chat("unwritable")), lengths=ByCharacters())
    assert codes(report) == [(2, "too_long"), (3, "template_error")]
    assert "13 tokens, 3 more than the 10" in report.findings[0].message
    assert (report.num_examples, report.num_bad) == (1, 2)
    assert (report.num_tokens, report.longest_tokens, report.longest_line) == (18, 13, 2)


def test_many_errors_are_counted_and_not_kept(tmp_path: Path) -> None:
    report = check(tmp_path, b"no\n" * 1000)
    assert len(report.findings) == MAX_ERRORS
    assert report.errors == {"not_json": 1000}


def test_a_plain_text_has_an_example_a_line(tmp_path: Path) -> None:
    report = check(tmp_path, b"Once\n\n{not json\n", Scan("text", is_plain=True))
    assert (report.num_examples, report.num_blank, report.is_good) == (2, 1, True)


class Endless(io.RawIOBase):
    """A line of so many bytes, and a good one behind it."""

    def __init__(self, num_bytes: int) -> None:
        self.left = num_bytes
        self.end = b"\n" + lines(GOOD)

    def read(self, size: int = -1) -> bytes:
        if self.left:
            given = min(size, self.left)
            self.left -= given
            return b"x" * given
        end, self.end = self.end, b""
        return end


def test_a_line_of_three_gigabytes_is_refused_in_flat_memory() -> None:
    tracemalloc.start()
    try:
        writer = ReportWriter("supervised")
        for scanned in SUPERVISED.stream(Endless(3 * 2**30)):
            writer.add(scanned)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    report = writer.finish()
    assert codes(report) == [(1, "line_too_long")]
    assert (report.num_examples, report.num_lines) == (1, 2)
    assert peak < 80 * 2**20


def test_training_reads_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(lines(GOOD, chat("b")))
    assert [example.line for example in read_examples(path, SUPERVISED)] == [1, 2]
    path.write_bytes(lines(GOOD, GOOD))
    told: list[Report] = []
    assert len(list(read_examples(path, SUPERVISED, on_report=told.append))) == 2
    assert told[0].num_duplicates == 1
    path.write_bytes(lines(GOOD) + b"no\n" + lines(GOOD) + b"no\n")
    read: list[Example] = []
    with pytest.raises(BadExamples, match=r"training_file: 2 of 4 lines .* line 2: The line is no JSON"):
        read.extend(read_examples(path, SUPERVISED))
    assert len(read) <= 1


@given(st.binary(max_size=300), st.integers(1, 40))
def test_lines_are_the_files_bytes(data: bytes, most: int) -> None:
    found = list(read_lines(io.BytesIO(data), most))
    expected = data.split(b"\n")
    expected = expected if expected[-1] else expected[:-1]
    assert len(found) == len(expected)
    for number, (line, whole) in enumerate(zip(found, expected, strict=True), 1):
        assert line.number == number
        if len(whole) > most:
            assert line.data is None
            assert line.num_bytes == len(whole)
        else:
            assert line.data == whole.removesuffix(b"\r")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("role", "content", "messages", "input", "tools", "text", "weight", "x")), inner, max_size=3
        )
    ),
    max_leaves=12,
)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(("user", "assistant", "tool", "bot")) | JSON, "content": JSON})
LINE = st.one_of(
    JSON.map(lambda value: json.dumps(value).encode()),
    st.lists(MESSAGE, max_size=3).map(lambda messages: json.dumps({"messages": messages}).encode()),
    st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"")),
    st.just(json.dumps(GOOD).encode()),
    st.sampled_from((b"", b" ", b"\xef\xbb\xbf", b"\xef\xbb\xbf{}")),
)


@given(st.lists(LINE, max_size=8), st.sampled_from(("supervised", "preference", "reinforcement", "text")))
def test_no_line_is_lost_and_nothing_raises(data: list[bytes], format: Any) -> None:
    raw = b"\n".join(data)
    writer = ReportWriter(format)
    for scanned in Scan(format).stream(io.BytesIO(raw)):
        writer.add(scanned)
    report = writer.finish()
    assert report.num_lines == report.num_blank + report.num_examples + report.num_bad
    if 0 not in {finding.line for finding in report.findings if finding.code in ("not_utf8", "not_text")}:
        assert report.num_lines == len(list(read_lines(io.BytesIO(raw))))
        assert report.num_examples >= (data.count(json.dumps(GOOD).encode()) if format == "supervised" else 0)
    assert report.is_good == (not any(finding.is_error for finding in report.findings))
