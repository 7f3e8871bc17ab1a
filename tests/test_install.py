"""Setting up: what the wheel holds, that dependencies are declared and pinned, and what scripts/install decides."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

PACKAGES = {"llmos_server": "llmos_server", "llmos_plugins": "plugins", "llmos_recipes": "recipes", "llmos_tui": "tui"}
NOT_SHIPPED = (".venv*", ".git", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")


@pytest.fixture(scope="module")
def metadata(project: Path) -> dict[str, Any]:
    return tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {canonical(re.split(r"[<>=!~;\[ ]", text)[0]) for text in requirements}


@pytest.fixture(scope="module")
def wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, for setuptools leaves its traces in the tree that it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(project, folder / "tree", ignore=shutil.ignore_patterns(*NOT_SHIPPED, "tests", "docs"))
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, cwd=folder / "tree", capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_installs_our_packages_and_no_other_name(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}
    assert tops == set(PACKAGES)


def test_the_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile, project: Path) -> None:
    for package, folder in PACKAGES.items():
        root = project if folder == package else project / folder
        files = {
            path.relative_to(root).as_posix()
            for path in (root / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert files == {name for name in wheel.namelist() if name.startswith(package + "/")}


def test_the_wheel_brings_the_program_and_the_licence(wheel: zipfile.ZipFile) -> None:
    held = {name.split(".dist-info/")[1]: name for name in wheel.namelist() if ".dist-info/" in name}
    assert b"llmos = llmos_server.cli:main" in wheel.read(held["entry_points.txt"])
    assert b"Apache License" in wheel.read(held["licenses/LICENSE"])


def third_party(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - set(PACKAGES) - {""}


def test_what_is_imported_is_declared(project: Path, metadata: dict[str, Any]) -> None:
    modules = set().union(*(third_party(path) for path in (project / "llmos_server").rglob("*.py")))
    distributions = {"lm_eval": ["lm-eval"], **packages_distributions()}  # Of an extra that tests do without.
    extras = metadata["project"]["optional-dependencies"]
    declared = names(metadata["project"]["dependencies"]) | names(extras["harness"]) | names(extras["train"])
    assert {module for module in modules if not {canonical(d) for d in distributions[module]} & declared} == set()


def test_what_built_in_plugins_import_is_declared(project: Path, metadata: dict[str, Any]) -> None:
    """Metrics may need the extra "eval"."""
    files = {path: third_party(path) for path in (project / "plugins").rglob("*.py")}
    distributions = packages_distributions()
    declared = names(metadata["project"]["dependencies"])
    extra = names(metadata["project"]["optional-dependencies"]["eval"])
    for path, modules in files.items():
        allowed = declared | extra if path.stem == "measuring" else declared
        assert {module for module in modules if not {canonical(d) for d in distributions[module]} & allowed} == set()


def test_what_the_terminal_interface_imports_is_declared(project: Path, metadata: dict[str, Any]) -> None:
    modules = set().union(*(third_party(path) for path in (project / "tui").rglob("*.py")))
    distributions = packages_distributions()
    declared = names([*metadata["project"]["dependencies"], *metadata["project"]["optional-dependencies"]["tui"]])
    assert {module for module in modules if not {canonical(d) for d in distributions[module]} & declared} == set()


def test_every_dependency_is_pinned(project: Path, metadata: dict[str, Any]) -> None:
    lines = (project / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line) for line in pins)
    extras = metadata["project"]["optional-dependencies"]
    wanted = names([*metadata["project"]["dependencies"], *extras["dev"], *extras["tui"]])
    assert wanted - {line.split("==")[0] for line in pins} == {"pip"}


STUB = """#!/bin/sh
# Stands for .venv/bin/python: writes down what it is asked, answers from files.
echo "$*" >> "$STUB_FOLDER/asked"
case "$*" in
    -V) echo "Python 3.11.7" ;;
    *--dry-run*--index-url*) cat "$STUB_FOLDER/cpu-index.json" ;;
    *--dry-run*) cat "$STUB_FOLDER/index.json" ;;
    *importlib.metadata*) cat "$STUB_FOLDER/torch-version" ;;
esac
"""


class Installer:
    """scripts/install in a folder of its own, with a stub for .venv's Python."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(project / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(project / name, folder / name)
        stub = folder / ".venv/bin/python"
        stub.parent.mkdir(parents=True)
        stub.write_text(STUB)
        stub.chmod(0o755)

    def offer(self, file: str, version: str, needs: list[str] | None = None) -> None:
        """What pip would take from an index."""
        metadata = {"version": version, "requires_dist": needs or []}
        (self.folder / file).write_text(json.dumps({"install": [{"metadata": metadata}]}))

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("TORCH", "PYTHON")}
        return subprocess.run(
            [self.folder / "scripts/install", *arguments],
            env={**kept, "STUB_FOLDER": str(self.folder), **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def installs(self) -> list[str]:
        """The pip commands that change something."""
        asked = (self.folder / "asked").read_text().splitlines()
        return [line for line in asked if " pip install " in line and "--dry-run" not in line]


CUDA_NEEDS = [
    'cuda-toolkit==13.0.3; platform_system == "Linux"',
    'nvidia-nccl-cu13==2.29.7; platform_system == "Linux"',
]


@pytest.fixture
def installer(project: Path, tmp_path: Path) -> Installer:
    return Installer(project, tmp_path)


def test_the_cpu_build_of_the_index_is_taken(installer: Installer) -> None:
    installer.offer("index.json", "2.13.0+cpu")
    done = installer.run(TORCH="cpu")
    assert done.returncode == 0, done.stderr
    assert "CPU build" in done.stdout
    assert "GB" in done.stdout
    _, torch, llmos = installer.installs
    assert torch.endswith("--constraint constraints.txt --no-deps torch==2.13.0")
    assert llmos.endswith("--editable .[eval,train,tui]")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has CUDA builds")
class TestOnlyCudaInTheIndex:
    @pytest.fixture(autouse=True)
    def index(self, installer: Installer) -> None:
        installer.offer("index.json", "2.13.0", CUDA_NEEDS)

    def test_torchs_own_cpu_index_is_used(self, installer: Installer) -> None:
        installer.offer("cpu-index.json", "2.13.0+cpu")
        assert installer.run(TORCH="cpu").returncode == 0
        assert "--index-url" in installer.installs[1]

    def test_without_it_nothing_big_comes_by_surprise(self, installer: Installer) -> None:
        done = installer.run(TORCH="cpu")
        assert done.returncode == 1
        assert "make install TORCH=cuda" in done.stderr
        assert not [line for line in installer.installs if "torch" in line]

    def test_a_machine_without_a_driver_is_such_a_machine(self, installer: Installer) -> None:
        if shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists():
            pytest.skip("this machine has a driver")
        assert "make install TORCH=cuda" in installer.run().stderr

    def test_cuda_comes_when_it_is_asked_for(self, installer: Installer) -> None:
        done = installer.run(TORCH="cuda")
        if "not enough disk" in done.stderr:
            pytest.skip("this machine's disk is too small for it")
        assert done.returncode == 0
        assert "CUDA build" in done.stdout
        assert "--index-url" not in installer.installs[1]


def test_a_second_run_does_nothing_until_something_changed(installer: Installer) -> None:
    installer.offer("index.json", "2.13.0+cpu")
    assert installer.run("dev").returncode == 0
    (installer.folder / "torch-version").write_text("2.13.0+cpu\n")
    count = len(installer.installs)
    for arguments in ((), ("dev",)):
        done = installer.run(*arguments)
        assert (done.returncode, done.stdout) == (0, "")
    assert len(installer.installs) == count
    with (installer.folder / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert installer.run("dev").returncode == 0
    assert [line.split("constraints.txt ")[1] for line in installer.installs[count:]] == [
        "--no-build-isolation --editable .[eval,train,tui,dev]"
    ]


def test_serving_alone_needs_no_tools_and_tests_add_them(installer: Installer) -> None:
    installer.offer("index.json", "2.13.0+cpu")
    assert installer.run().returncode == 0
    assert installer.run("dev").returncode == 0
    assert installer.installs[-1].endswith("--editable .[eval,train,tui,dev]")


def test_the_build_can_be_changed_later(installer: Installer) -> None:
    installer.offer("index.json", "2.13.0+cpu")
    (installer.folder / "torch-version").write_text("2.13.0\n")
    assert installer.run(TORCH="cpu").returncode == 0
    assert "--force-reinstall" in installer.installs[1]
    (installer.folder / "torch-version").write_text("2.13.0+cpu\n")
    count = len(installer.installs)
    (installer.folder / ".venv/llmos-install.json").unlink()
    assert installer.run(TORCH="cpu").returncode == 0
    assert not [line for line in installer.installs[count:] if "torch" in line]


def test_another_version_of_torch_is_replaced(installer: Installer) -> None:
    installer.offer("index.json", "2.13.0+cpu")
    (installer.folder / "torch-version").write_text("2.11.0\n")
    assert installer.run().returncode == 0
    assert any("torch==2.13.0" in line for line in installer.installs)


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["everything"], {}, "unknown argument"),
        ([], {"TORCH": "rocm"}, "TORCH=cpu or TORCH=cuda"),
        ([], {"PYTHON": "no-such-python"}, "3.11 or newer"),
    ],
)
def test_what_can_not_be_is_told(installer: Installer, arguments: list[str], env: dict[str, str], words: str) -> None:
    done = installer.run(*arguments, **env)
    assert done.returncode == 1
    assert words in done.stderr


def test_no_index_is_told(installer: Installer) -> None:
    (installer.folder / "index.json").write_text("not json")
    stub = installer.folder / ".venv/bin/python"
    stub.write_text(stub.read_text().replace('cat "$STUB_FOLDER/index.json"', "exit 1"))
    done = installer.run()
    assert done.returncode == 1
    assert "package index" in done.stderr
