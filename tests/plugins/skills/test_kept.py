"""What a translation must not change is hidden from the model, and comes back byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmos_plugins.translation.kept import MARK, find_kept, marks_in, mask, unmask

PIECES = [
    *(
        "Hello",
        " ",
        "\n",
        "\n\n",
        "a",
        ".",
        "<x1/>",
        "<x2/>",
        "<x",
        "1/>",
        "<",
        ">",
        "/>",
        "x3",
        "{",
        "}",
        "{name}",
        "{}",
    ),
    *(
        "{{ a }}",
        "%s",
        "%",
        "%(k)s",
        "%1$s",
        "%%",
        "${v}",
        "$v",
        "$",
        "`",
        "``",
        "```\n",
        "~~~\n",
        "<b>",
        "</b>",
        "<br/>",
    ),
    *("<pre>", "</pre>", "<!--", "-->", "[", "](", "](u)", "![", "[t](http://a.b)", ")", "http://a.b/c", "me@a.org"),
    *(
        "&amp;",
        "&",
        "\\n",
        "\\",
        "---\n",
        "| ",
        "- ",
        "# ",
        '"',
        "'",
        "é",
        "中",
        "\u2028",
        "LLMOS",
        "{n, plural, other {#}}",
    ),
]
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.text(max_size=60))


@given(text=TEXTS)
def test_what_was_masked_comes_back(text: str) -> None:
    masked = mask(text, ["LLMOS"])
    assert unmask(masked.text, masked.kept) == text
    assert marks_in(masked.text) == list(range(1, len(masked.kept) + 1)), "a mark of the source's own"
    assert all(1 <= first < second <= len(masked.kept) for first, second in masked.pairs | masked.places)


@given(text=TEXTS)
def test_what_is_left_holds_nothing_to_keep(text: str) -> None:
    """Else the check of answers would take it for the model's invention."""
    left = MARK.sub(" ", mask(text).text)
    assert [kept for kept in find_kept(left) if MARK.fullmatch(kept)] == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "Hi {name}, {0} of {user.name!r} at {when:%H:%M}, {d, short}",
            ["{name}", "{0}", "{user.name!r}", "{when:%H:%M}", "{d, short}"],
        ),
        ("%s, %d, %(x)s, %1$s, %.2f, %-5d, %@, %% done", ["%s", "%d", "%(x)s", "%1$s", "%.2f", "%-5d", "%@", "%%"]),
        ("100% sure, 50% more, 5%d", []),
        (
            "{{x}} {% if a %} {# c #} ${x} #{x} %{x} $name <%= y %> <?php z ?>",
            ["{{x}}", "{% if a %}", "{# c #}", "${x}", "#{x}", "%{x}", "$name", "<%= y %>", "<?php z ?>"],
        ),
        ("costs $5", []),
        ('<a href="x>y" class=z>link</a><br/> 1 < 2 > 0', ['<a href="x>y" class=z>', "</a><br/>"]),
        (
            '[the docs](http://a.b/c_(d) "title") ![alt](i.png) [a][b]',
            ["[", '](http://a.b/c_(d) "title")', "![", "](i.png)", "[", "][b]"],
        ),
        ("[just brackets] (and more)", []),
        ("`a b` and ``c ` d``", ["`a b`", "``c ` d``"]),
        ("See http://a.b/c?d=e. Or (www.a.org/x), me@a.org!", ["http://a.b/c?d=e", "www.a.org/x", "me@a.org"]),
        ("a&nbsp;b&#39;c&#x27; R&D", ["&nbsp;", "&#39;", "&#x27;"]),
        ("one\\ntwo C:\\tools", ["\\n"]),
        ("```py\nprint(1)\n```\ntext", ["```py\nprint(1)\n```"]),
        ("```\nnever closed", []),
        (
            "<pre>a\nb</pre> <!-- c\nd --> <CODE>e</Code> <script>f",
            ["<pre>a\nb</pre>", "<!-- c\nd -->", "<CODE>e</Code>", "<script>"],
        ),
        ("---\ntitle: a\n---\ntext", ["---\ntitle: a\n---\n"]),
        ("{n, plural, one {# day} other {# days}} left", ["{n, plural, one {# day} other {# days}}"]),
    ],
)
def test_what_is_kept(text: str, kept: list[str]) -> None:
    assert mask(text).kept == kept


def test_terms_are_kept_as_whole_words() -> None:
    assert mask("LLMOS, llmos, LLMOSes and C++!", ["LLMOS", "C++"]).kept == ["LLMOS", "C++"]


def test_what_belongs_together_is_known() -> None:
    masked = mask("<p>a <b>b</b> [c](d) e</p> %s f %s {} g {h} {}")
    assert masked.pairs == {(2, 3), (4, 5), (1, 6)}
    assert masked.places == {(7, 8), (8, 9), (9, 11)}
    assert masked.followers[1] == [6]
    assert (masked.openers, masked.closers) == ({1, 2, 4}, {3, 5, 6})


@pytest.mark.parametrize(
    "piece", ["<pre>", "<a ", "`", "[", "{{", "%(", "<a '", "{a, plural,", "```\n", "<!--", "x@", "](", "A. "]
)
def test_a_hostile_text_ends(piece: str) -> None:
    text = piece * (50_000 // len(piece))
    masked = mask(text)
    assert unmask(masked.text, masked.kept) == text
