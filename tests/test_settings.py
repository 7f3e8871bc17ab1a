"""config.toml < environment < flags, and what is told when one of them is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmos_server.errors import SettingsError
from llmos_server.settings import ModelOptions, Settings, load_settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(env={"LLMOS_HOME": str(tmp_path)})
    assert settings == Settings(home=tmp_path)
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 8000)


def test_the_stronger_source_wins_key_by_key(tmp_path: Path) -> None:
    config = write(tmp_path / "a.toml", '[api]\nport = 1\nhost = "127.0.0.2"\nstrict = true\n[log]\nlevel = "debug"\n')
    env = {"LLMOS_API__PORT": "2", "LLMOS_API__HOST": "127.0.0.3"}
    settings = load_settings(config, env, {"api": {"port": 3, "host": None}})
    assert (settings.api.port, settings.api.host, settings.api.strict) == (3, "127.0.0.3", True)
    assert settings.log.level == "debug"


def test_the_files_are_looked_for_in_order(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = {"LLMOS_HOME": str(home)}
    write(home / "config.toml", "[api]\nport = 3\nmax_n = 5\n")
    assert load_settings(env=env).api.port == 3
    write(tmp_path / "config.toml", "[api]\nport = 2\n")
    assert load_settings(env=env).api.port == 2
    assert load_settings(env=env).api.max_n == 5
    named = write(tmp_path / "named.toml", "[api]\nport = 1\n")
    assert load_settings(env=env | {"LLMOS_CONFIG": str(named)}).api.port == 1
    flag = write(tmp_path / "flag.toml", "[api]\nport = 9\n")
    assert load_settings(flag, env | {"LLMOS_CONFIG": str(named)}).api.port == 9


@pytest.mark.parametrize(
    ("name", "text", "section", "key", "value"),
    [
        ("LLMOS_API__STRICT", "true", "api", "strict", True),
        ("LLMOS_API__STRICT", "0", "api", "strict", False),
        ("LLMOS_API__PING_SECONDS", "2.5", "api", "ping_seconds", 2.5),
        ("LLMOS_API__CORS_ORIGINS", "http://a, http://b", "api", "cors_origins", ("http://a", "http://b")),
        ("LLMOS_API__CORS_ORIGINS", '["*"]', "api", "cors_origins", ("*",)),
        ("LLMOS_API__CORS_ORIGINS", "", "api", "cors_origins", ()),
        (
            "LLMOS_MODELS__ALIASES",
            '{"gpt-4o-mini": "smollm2:135m"}',
            "models",
            "aliases",
            {"gpt-4o-mini": "smollm2:135m"},
        ),
        (
            "LLMOS_MODELS__OPTIONS",
            '{"hf:org/name": {"quantization": "int4"}, "b": {}}',
            "models",
            "options",
            {"hf:org/name": ModelOptions(quantization="int4"), "b": ModelOptions()},
        ),
        ("LLMOS_MODELS__DEFAULT", "123", "models", "default", "123"),
        ("LLMOS_ENGINE__DEVICE", "cuda", "engine", "device", "cuda"),
    ],
)
def test_the_environment_is_read_by_type(name: str, text: str, section: str, key: str, value: Any) -> None:
    assert getattr(getattr(load_settings(env={name: text}), section), key) == value


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"LLMOS_API__PROT": "1"}, "'port'"),
        ({"LLMOS_APPI__PORT": "1"}, "'api'"),
        ({"LLMOS_API__PORT": "many"}, "api.port"),
        ({"LLMOS_MODELS__ALIASES": "a=b"}, "not JSON"),
        ({"LLMOS_ENGINE__DEVICE": "tpu"}, "engine.device"),
        ({"LLMOS_LOG__LEVEL": "loud"}, "log.level"),
        (
            {"LLMOS_MODELS__OPTIONS": '{"a": {"quantisation": "int4"}}'},
            r'models.options."a".quantisation.*\'quantization\'',
        ),
        ({"LLMOS_MODELS__OPTIONS": '{"a": {"quantization": "int3"}}'}, r'models.options."a".quantization = \'int3\''),
        ({"LLMOS_MODELS__OPTIONS": '{"a": "int4"}'}, r'write \[models.options."a"\]'),
    ],
)
def test_what_is_wrong_is_named(env: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(env=env)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[api]\nprot = 1\n", "'port'"),
        ("[server]\nport = 1\n", "unknown section"),
        ("api = 1\n", r"write \[api\]"),
        ('[api]\nport = "many"\n', "api.port"),
        ("[api\n", "not valid TOML"),
        ("[api]\nstrict = 1\n", "api.strict"),
        ('[models.options."a"]\nquant = "int8"\n', "'quantization'"),
    ],
)
def test_a_wrong_file_names_itself_or_the_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load_settings(write(tmp_path / "config.toml", text), env={})


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read"):
        load_settings(tmp_path / "none.toml", env={})


def test_other_variables_are_left_alone() -> None:
    env = {"LLMOS_URL": "x", "LLMOS_API_KEY": "x", "LLMOS_TEST_MODEL_FOLDER": "x", "OTHER__KEY": "x"}
    assert load_settings(env=env) == load_settings(env={})


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("api", "port", 99999), ("engine", "threads", -3), ("engine", "page_size", 0), ("api", "max_n", 0)],
)
def test_a_value_out_of_range_is_refused_by_name(section: str, key: str, value: int) -> None:
    with pytest.raises(SettingsError, match=rf"{section}\.{key}"):
        load_settings(env={}, flags={section: {key: value}})
