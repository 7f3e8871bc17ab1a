from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import constants
from tokenizers import Tokenizer

from llmos_server.errors import PullCancelled, PullError, UnsupportedModel
from llmos_server.registry.registry import Registry

REPO = "org/model"


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests have a hub of their own, also where the rest runs with HF_HUB_OFFLINE."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def files(fakes: ModuleType, tmp_path: Path) -> dict[str, bytes]:
    """A repository with safetensors and much that nobody asked for."""
    source = fakes.write_folder(tmp_path / "repo")
    found = {path.name: path.read_bytes() for path in source.iterdir()}
    return {**found, "README.md": b"#", "pytorch_model.bin": b"pickle", "run.py": b"x", "original/w.safetensors": b"x"}


@pytest.fixture
def hub(fakes: ModuleType, files: dict[str, bytes]) -> Iterator[Any]:
    with fakes.FakeHub(REPO, files) as server:
        yield server


@pytest.fixture
def online(tmp_path: Path, hub: Any) -> Registry:
    return Registry(tmp_path / "home", {}, 5.0, hub_endpoint=hub.endpoint)


def test_safetensors_config_and_tokenizer_are_fetched_and_nothing_else(
    fakes: ModuleType, tmp_path: Path, hub: Any, online: Registry
) -> None:
    version = online.pull(f"hf:{REPO}", fakes.RecordingProgress())
    assert version.name == version.source == f"hf:{REPO}"
    assert {name for name, _ in hub.downloads} == {"config.json", "tokenizer.json", "model.safetensors"}
    assert Path(version.weights[0]).read_bytes() == hub.files["model.safetensors"]
    assert Path(version.weights[0]).resolve().parent == tmp_path / "home" / "blobs"
    assert not list((tmp_path / "home" / "staging").iterdir())
    assert online.get(f"hf:{REPO}") == version


def test_shards_of_the_index(fakes: ModuleType, hub: Any, online: Registry) -> None:
    weights = hub.files.pop("model.safetensors")
    names = ["model-1.safetensors", "model-2.safetensors"]
    hub.files |= dict.fromkeys([*names, "consolidated.safetensors"], weights)
    hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": names[1], "b": names[0]}}).encode()
    version = online.pull(f"hf:{REPO}", fakes.RecordingProgress())
    assert [Path(path).name for path in version.weights] == names
    assert "consolidated.safetensors" not in {name for name, _ in hub.downloads}


def test_another_family_at_a_revision(fakes: ModuleType, hub: Any, online: Registry) -> None:
    """A name with a revision is a model of its own, beside the one without."""
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_positions": 32}
    hub.files["config.json"] = json.dumps(config).encode()
    name = f"hf:{REPO}@{'ab' * 20}"
    version = online.pull(name, fakes.RecordingProgress())
    assert (version.name, version.source, version.context_length) == (name, name, 32)
    assert f"/api/models/{REPO}/revision/{'ab' * 20}" in hub.asked
    assert online.pull(f"hf:{REPO}", fakes.RecordingProgress()).name != name
    assert len(online.list()) == 2


def test_one_gguf(fakes: ModuleType, tmp_path: Path, hub: Any, online: Registry) -> None:
    hub.files["sub/tiny.gguf"] = fakes.write_gguf(tmp_path / "tiny.gguf").read_bytes()
    progress = fakes.RecordingProgress()
    version = online.pull(f"hf:{REPO}@main/sub/tiny.gguf", progress)
    assert [name for name, _ in hub.downloads] == ["sub/tiny.gguf"]
    assert Path(version.weights[0]).name == "tiny.gguf"
    assert (f"Downloading {REPO}", len(hub.files["sub/tiny.gguf"])) in progress.tracks


def test_a_missing_gguf_names_those_that_are_there(fakes: ModuleType, hub: Any, online: Registry) -> None:
    hub.files |= {"a.Q4_0.gguf": b"x", "a.Q8_0.gguf": b"x"}
    with pytest.raises(PullError, match=r"a\.Q4_0\.gguf, a\.Q8_0\.gguf"):
        online.pull(f"hf:{REPO}/b.gguf", fakes.RecordingProgress())
    del hub.files["model.safetensors"]
    with pytest.raises(PullError, match=r"no \.safetensors.*a\.Q4_0\.gguf"):
        online.pull(f"hf:{REPO}", fakes.RecordingProgress())


def test_what_cannot_be_served_is_refused_before_its_weights_are_fetched(
    fakes: ModuleType, hub: Any, online: Registry
) -> None:
    hub.files["config.json"] = b'{"model_type": "mamba", "max_position_embeddings": 1}'
    with pytest.raises(UnsupportedModel, match="'mamba'"):
        online.pull(f"hf:{REPO}", fakes.RecordingProgress())
    del hub.files["model.safetensors"]
    with pytest.raises(PullError, match="pickled"):
        online.pull(f"hf:{REPO}", fakes.RecordingProgress())
    assert "model.safetensors" not in {name for name, _ in hub.downloads}


def test_the_files_of_a_byte_level_tokenizer(fakes: ModuleType, hub: Any, online: Registry) -> None:
    del hub.files["tokenizer.json"]
    hub.files |= {"vocab.json": b'{"a": 0, "b": 1, "ab": 2}', "merges.txt": b"a b\n"}
    hub.files["tokenizer_config.json"] = b'{"tokenizer_class": "GPT2Tokenizer", "bos_token": "a"}'
    hub.files["special_tokens_map.json"] = b'{"bos_token": "b", "eos_token": null, "unk_token": null}'
    hub.files["added_tokens.json"] = b'{"<new>": 3}'
    version = online.pull(f"hf:{REPO}", fakes.RecordingProgress())
    tokenizer = Tokenizer.from_file(f"{version.folder}/tokenizer.json")
    assert tokenizer.encode("a<new>b").ids == [0, 3, 1]
    assert json.loads(Path(version.folder, "tokenizer_config.json").read_text())["bos_token"] == "b"


def test_a_missing_tokenizer_is_named(fakes: ModuleType, hub: Any, online: Registry) -> None:
    del hub.files["tokenizer.json"]
    with pytest.raises(PullError, match=r"tokenizer\.json"):
        online.pull(f"hf:{REPO}", fakes.RecordingProgress())


def test_weights_with_another_digest_are_refused(fakes: ModuleType, hub: Any, online: Registry) -> None:
    hub.wrong_sha256 = True
    with pytest.raises(PullError, match="expected was 0000"):
        online.pull(f"hf:{REPO}", fakes.RecordingProgress())
    hub.wrong_sha256 = False
    assert online.pull(f"hf:{REPO}", fakes.RecordingProgress()).name == f"hf:{REPO}"


def test_a_dropped_connection_is_tried_again(fakes: ModuleType, hub: Any, online: Registry) -> None:
    hub.cut_after = 20
    version = online.pull(f"hf:{REPO}", fakes.RecordingProgress())
    assert Path(version.weights[0]).read_bytes() == hub.files["model.safetensors"]
    assert [name for name, _ in hub.downloads].count("model.safetensors") == 2


@pytest.mark.parametrize("at", [1, 3, 4])
def test_a_pull_that_is_cancelled_ends_and_can_be_taken_up(
    fakes: ModuleType, tmp_path: Path, online: Registry, at: int
) -> None:
    """Before a file, or while one is read."""
    checks = []

    def check() -> None:
        checks.append(1)
        if len(checks) == at:
            raise PullCancelled("enough")

    with pytest.raises(PullCancelled, match="enough"):
        online.pull(f"hf:{REPO}", fakes.RecordingProgress(on_check=check))
    assert online.list() == []
    assert online.pull(f"hf:{REPO}", fakes.RecordingProgress()).name == f"hf:{REPO}"


def test_an_unknown_repository_says_so(fakes: ModuleType, online: Registry) -> None:
    with pytest.raises(PullError, match="no such repository, or a private one"):
        online.pull("hf:org/absent", fakes.RecordingProgress())


def test_a_hub_that_refuses_connections_gives_its_reason(fakes: ModuleType, registry: Registry) -> None:
    with pytest.raises(PullError, match="hf:org/model: the hub could not be read: "):
        registry.pull(f"hf:{REPO}", fakes.RecordingProgress())


def test_a_hub_that_accepts_and_stays_silent_is_given_up(fakes: ModuleType, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        registry = Registry(tmp_path / "home", {}, 0.2, hub_endpoint=endpoint)
        with pytest.raises(PullError, match=r"hf:org/model: the hub .*(timed out|did not answer)"):
            registry.pull(f"hf:{REPO}", fakes.RecordingProgress())


def test_an_offline_setting_is_named(fakes: ModuleType, online: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PullError, match="HF_HUB_OFFLINE"):
        online.pull(f"hf:{REPO}", fakes.RecordingProgress())
