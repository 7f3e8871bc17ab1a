"""models.options: what the operator asks of one model shows in its version, and is refused where it can't be done."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from llmos_server.app import check_options
from llmos_server.contracts import ModelVersion
from llmos_server.engine.quantization import check_quantization
from llmos_server.errors import SettingsError, UnsupportedModel
from llmos_server.registry.registry import create_registry
from llmos_server.settings import EngineSettings, ModelOptions, ModelsSettings, Settings

CONFIG = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4}


def settings_of(home: Path, how: Any, *names: str, **engine: Any) -> Settings:
    options = {name: ModelOptions(quantization=how) for name in names}
    aliases = {"mine": f"file:{home.parent / 'tiny'}"}
    return Settings(home=home, models=ModelsSettings(aliases=aliases, options=options), engine=EngineSettings(**engine))


def test_a_version_shows_it(fakes: ModuleType, tmp_path: Path) -> None:
    folder, home = fakes.write_folder(tmp_path / "tiny"), tmp_path / "home"
    plain = create_registry(settings_of(home, "none"))
    pulled = plain.pull(f"file:{folder}", fakes.RecordingProgress())
    assert pulled.quantization == "none"
    quantised = create_registry(settings_of(home, "int4", "mine"))
    for version in (quantised.get("mine"), quantised.servable()[0], quantised.pull("mine", fakes.RecordingProgress())):
        assert (version.quantization, version.digest) == ("int4", f"{pulled.digest}+int4")
    assert plain.get("mine") == pulled


def test_a_first_pull_shows_it(fakes: ModuleType, tmp_path: Path) -> None:
    folder = fakes.write_folder(tmp_path / "tiny")
    registry = create_registry(settings_of(tmp_path / "home", "int8", f"file:{folder}"))
    assert registry.pull("mine", fakes.RecordingProgress()).digest.endswith("+int8")


def test_a_name_that_is_no_models(fakes: ModuleType, tmp_path: Path) -> None:
    folder, home = fakes.write_folder(tmp_path / "tiny"), tmp_path / "home"
    create_registry(settings_of(home, "none")).pull(f"file:{folder}", fakes.RecordingProgress())
    for wrong, right in {"smolm2:135m": "smollm2:135m", "mines": "mine"}.items():
        settings = settings_of(home, "int8", wrong)
        with pytest.raises(SettingsError, match=rf"models.options.\"{wrong}\": .*Did you mean '{right}'"):
            check_options(settings, create_registry(settings))


def test_what_the_start_refuses(fakes: ModuleType, tmp_path: Path) -> None:
    fakes.write_folder(tmp_path / "tiny")
    home = tmp_path / "home"
    settings = settings_of(home, "int8", "mine", numerics="exact")
    registry = create_registry(settings)
    registry.pull("mine", fakes.RecordingProgress())
    with pytest.raises(SettingsError, match=r'models.options."mine": .*engine.numerics = "fast"'):
        check_options(settings, registry)
    unquantised = settings_of(home, "none", "mine", numerics="exact")
    check_options(unquantised, create_registry(unquantised))


@pytest.mark.parametrize(
    ("changes", "config", "engine", "words"),
    [
        ({}, {}, {}, ""),
        ({"kind": "encoder"}, {}, {}, "only decoders"),
        ({"elements": {"Q4_K": 1, "F32": 1}}, {}, {}, "integers already .Q4_K.: take one .* in F16 or BF16"),
        ({"code": {"a.py": "0"}}, {}, {}, "own code"),
        ({}, {"model_type": "gemma2"}, {}, "'gemma2'"),
        ({}, {"hidden_size": 48}, {}, "hidden_size = 48 is no multiple of 32"),
        ({}, {"hidden_size": None}, {}, "doesn't tell the shape"),
        ({}, {}, {"device": "cuda"}, 'engine.device = "cpu"'),
        ({}, {}, {"numerics": "exact"}, 'engine.numerics = "fast"'),
    ],
)
def test_reasons(tmp_path: Path, changes: Any, config: Any, engine: Any, words: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | config))
    version = ModelVersion(
        name="a", source="a", digest="a", folder=str(tmp_path), weights=[], context_length=1, size_bytes=1, created=0,
        elements={"BF16": 9},
    )  # fmt: skip
    version = msgspec.structs.replace(version, **changes)
    check_quantization(version, "none", EngineSettings(**engine))
    if not words:
        check_quantization(version, "int4", EngineSettings(**engine))
        return
    with pytest.raises(UnsupportedModel, match=rf'^a: quantization = "int4" .*{words}.*below \[models.options\]'):
        check_quantization(version, "int4", EngineSettings(**engine))
