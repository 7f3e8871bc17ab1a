"""A model's own Python code: never pulled unless the operator names the model, and never run by the registry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import constants

from llmos_server.contracts import ModelVersion
from llmos_server.errors import ModelNotFound, SettingsError, UnsupportedModel
from llmos_server.registry.registry import Registry
from llmos_server.registry.remote_code import RemoteCode

REPO = "org/model"
OWN = {"auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}}


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Is written by the model's code when that runs."""
    return tmp_path / "it-ran"


@pytest.fixture
def folder(fakes: ModuleType, tmp_path: Path, trap: Path) -> Path:
    source: Path = fakes.write_folder(tmp_path / "model", model_type="mine", **OWN)
    (source / "mine.py").write_text(f"open({str(trap)!r}, 'w').close()")
    (source / "helper.py").write_text("used = False")
    return source


def create_registry(tmp_path: Path, *names: str, hub: str = "http://127.0.0.1:9") -> Registry:
    return Registry(tmp_path / "home", {}, 5.0, remote_code=names, hub_endpoint=hub)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("named", "source", "expected"),
    [
        ("hf:org/model", "hf:org/model", True),
        ("hf:org/model", "hf:org/model@main", True),
        ("hf:org/model@ab", "hf:org/model@ab", True),
        ("hf:org/model@ab", "hf:org/model", False),
        ("hf:org/model@ab", "hf:org/model@cd", False),
        ("hf:org/model", "hf:org/model2", False),
        ("hf:org/model", "hf:Org/model", False),
        ("hf:org/model", "hf:org/model/a.gguf", False),
        ("/models/mine", "file:/models/mine", True),
        ("file:/models/mine/", "file:/models/mine", True),
        ("/models", "file:/models/mine", False),
        ("/models/mine", "pypi:mine==1", False),
    ],
)
def test_names_are_exact(named: str, source: str, expected: bool) -> None:
    assert RemoteCode([named]).rule(source).is_named is expected


@pytest.mark.parametrize(
    "name", ["*", "hf:org/*", "hf:org", "smollm2:135m", "pypi:a==1", "hf:a/b/c.gguf", "hf:a/b:c", ""]
)
def test_other_names_are_refused_at_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"models\.remote_code"):
        create_registry(tmp_path, name)


def test_unnamed_code_is_refused_with_the_setting_and_the_risk(
    fakes: ModuleType, tmp_path: Path, folder: Path, trap: Path
) -> None:
    expected = rf'no model_type \'mine\'.*models\.remote_code = \["{folder}"\].*all that the server\'s user can'
    with pytest.raises(UnsupportedModel, match=expected):
        create_registry(tmp_path, "/another").pull(f"file:{folder}", fakes.RecordingProgress())
    assert not trap.exists()


def pull(fakes: ModuleType, tmp_path: Path, folder: Path) -> ModelVersion:
    return create_registry(tmp_path, str(folder)).pull(f"file:{folder}", fakes.RecordingProgress())


def test_named_code_is_taken_with_its_digests_and_not_run(
    fakes: ModuleType, tmp_path: Path, folder: Path, trap: Path
) -> None:
    version = pull(fakes, tmp_path, folder)
    assert version.code == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("helper.py", "mine.py")
    }
    assert Path(version.folder, "mine.py").read_bytes() == (folder / "mine.py").read_bytes()
    assert not trap.exists()
    (folder / "helper.py").write_text("changed = True")
    with pytest.raises(ModelNotFound, match="changed"):
        create_registry(tmp_path, str(folder)).get(f"file:{folder}")
    assert pull(fakes, tmp_path, folder).digest != version.digest


def test_a_model_that_was_pulled_before_it_was_named_is_pulled_again(
    fakes: ModuleType, tmp_path: Path, folder: Path
) -> None:
    """Its type is one that Transformers has, so it could be served without its code."""
    change_config(folder, model_type="llama")
    unnamed, named, name = create_registry(tmp_path), create_registry(tmp_path, str(folder)), f"file:{folder}"
    assert unnamed.pull(name, fakes.RecordingProgress()).code == {}
    with pytest.raises(ModelNotFound, match=rf"before models\.remote_code named it.*llmos pull {name}"):
        named.get(name)
    assert named.servable() == []
    assert named.pull(name, fakes.RecordingProgress()).code
    assert named.get(name).code
    assert unnamed.get(name).code == {}, "it isn't named any more"
    assert [version.code for version in unnamed.servable()] == [{}]


@pytest.mark.parametrize(
    ("reference", "match"),
    [
        ("other/repo--mine.Model", "code of another repository"),
        ("absent.Model", "no class in a file beside it"),
        ("sub.mine.Model", "no class in a file beside it"),
        (["mine.Model"], "no class in a file beside it"),
    ],
)
@pytest.mark.parametrize("key", ["AutoConfig", "AutoModelForCausalLM"])
def test_classes_that_lie_elsewhere_are_refused(
    fakes: ModuleType, tmp_path: Path, folder: Path, key: str, reference: Any, match: str
) -> None:
    change_config(folder, auto_map={**OWN["auto_map"], key: reference})
    with pytest.raises(UnsupportedModel, match=f"{key} is .*{match}"):
        pull(fakes, tmp_path, folder)


def test_unused_classes_may_not_lie_in_another_repository_either(
    fakes: ModuleType, tmp_path: Path, folder: Path
) -> None:
    """The model's own code could ask for them."""
    change_config(folder, auto_map={**OWN["auto_map"], "AutoTokenizer": ["other/repo--mine.Tokenizer", None]})
    with pytest.raises(UnsupportedModel, match=r"AutoTokenizer is .*code of another repository"):
        pull(fakes, tmp_path, folder)


@pytest.fixture
def hub(fakes: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    with fakes.FakeHub(REPO, {**files, "sub/deep.py": b"", "not-a-module.py": b""}) as server:
        yield server


def test_a_repositorys_code_is_downloaded_only_if_named(fakes: ModuleType, tmp_path: Path, hub: Any) -> None:
    name = f"hf:{REPO}@main"
    with pytest.raises(UnsupportedModel, match=rf'models\.remote_code = \["{name}"\]'):
        create_registry(tmp_path, hub=hub.endpoint).pull(name, fakes.RecordingProgress())
    assert {name for name, _ in hub.downloads} == {"config.json", "tokenizer.json"}
    version = create_registry(tmp_path, name, hub=hub.endpoint).pull(name, fakes.RecordingProgress())
    assert set(version.code) == {"mine.py", "helper.py"}
    assert {name for name, _ in hub.downloads} == {*version.code, "config.json", "tokenizer.json", "model.safetensors"}


def test_a_repository_that_points_to_another_is_refused_before_its_weights(
    fakes: ModuleType, tmp_path: Path, folder: Path, hub: Any
) -> None:
    change_config(folder, auto_map={"AutoModelForCausalLM": "other/repo--mine.Model"})
    hub.files["config.json"] = (folder / "config.json").read_bytes()
    with pytest.raises(UnsupportedModel, match="another repository"):
        create_registry(tmp_path, f"hf:{REPO}", hub=hub.endpoint).pull(f"hf:{REPO}", fakes.RecordingProgress())
    assert "model.safetensors" not in {name for name, _ in hub.downloads}
