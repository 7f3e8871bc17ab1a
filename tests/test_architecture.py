"""The arrows between folders, and what the processes may import. docs/architecture.md tells the reasons."""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EVERYBODY = {
    "adapter_contracts",
    "contracts",
    "errors",
    "finding",
    "fleet_contracts",
    "job_contracts",
    "key_contracts",
    "mcp_settings",
    "settings",
    "settings_sources",
    "skill_contracts",
}
"""May be imported from everywhere."""

ARROWS: dict[str, set[str]] = {
    "__init__": {"calibration", "plugins", "sandbox", "skills"},
    "__main__": {"cli"},
    "adapter_contracts": set(),
    "contracts": set(),
    "errors": set(),
    "finding": set(),
    "fleet_contracts": set(),
    "job_contracts": set(),
    "key_contracts": set(),
    "skill_contracts": set(),
    "mcp_settings": set(),
    "backoff": set(),
    "cores": set(),
    "files": set(),
    "calibration": set(),
    "sandbox": set(),
    "settings": set(),
    "settings_sources": set(),
    "settings_rows": set(),
    "log_file": set(),
    "logbook": set(),
    "logs": {"log_file"},
    "garbage": set(),
    "process_memory": set(),
    "hosts": set(),
    "http_client": {"access", "hosts"},
    "skill_client": {"http_client", "skills"},
    "eval_client": {"evaluation", "http_client"},
    "lm_harness": {"evaluation"},
    "access": set(),
    "store": {"files"},
    "backup": {"store"},
    "jobs": {"cores", "files", "process_memory", "store"},
    "batches": {"files", "job_client", "store"},
    "job_client": set(),
    "job_process": {"batches", "jobs", "logs"},
    "rank_process": {"job_process", "jobs", "logs"},
    "skills": {"calibration"},
    "plugins": {"skills"},
    "agents": {"backoff", "chat", "plugins", "skills"},
    "gguf": set(),
    "chat": set(),
    "registry": {"gguf"},
    "data": {"chat"},
    "training": {
        "chat",
        "cores",
        "data",
        "engine",
        "evaluation",
        "files",
        "gguf",
        "job_client",
        "jobs",
        "models",
        "perplexity",
        "plugins",
        "registry",
        "store",
    },
    "kernels": set(),
    "models": {"kernels", "gguf"},
    "engine": {"backoff", "cores", "models", "kernels", "garbage", "logs", "process_memory"},
    "evaluation": {"calibration", "chat", "data", "files", "sandbox", "store"},
    "api": {
        "process_memory",
        "access",
        "agents",
        "batches",
        "calibration",
        "chat",
        "evaluation",
        "data",
        "files",
        "hosts",
        "logbook",
        "plugins",
        "registry",
        "sandbox",
        "settings_rows",
        "skills",
        "store",
        "training",
    },
    "bench": {"http_client"},
    "terminal_chat": {"http_client"},
    "doctor": {"agents", "cores", "engine", "kernels", "registry", "store"},
    "perplexity": {"engine"},
    "local_jobs": {"cores", "engine", "files", "jobs", "store"},
    "torch_check": set(),
    "app": {
        "access",
        "agents",
        "api",
        "calibration",
        "chat",
        "doctor",
        "engine",
        "files",
        "garbage",
        "hosts",
        "jobs",
        "plugins",
        "registry",
        "logbook",
        "logs",
        "settings_rows",
        "store",
    },
    "commands": {
        "access",
        "api",
        "app",
        "backup",
        "bench",
        "calibration",
        "chat",
        "data",
        "doctor",
        "hosts",
        "engine",
        "eval_client",
        "http_client",
        "lm_harness",
        "local_jobs",
        "logs",
        "perplexity",
        "plugins",
        "registry",
        "settings_rows",
        "skill_client",
        "skills",
        "store",
        "terminal_chat",
        "training",
    },
    "cli": {"commands"},
}
"""Folder or module -> the others that it may import, beside EVERYBODY and itself."""

STRICT_BASE = {
    "finding": set(),
    "adapter_contracts": set(),
    "contracts": {"adapter_contracts"},
    "errors": set(),
    "fleet_contracts": {"contracts"},
    "job_contracts": {"errors", "settings"},
    "key_contracts": set(),
    "skill_contracts": set(),
    "settings": {"errors", "mcp_settings", "settings_sources"},
    "settings_sources": {"errors"},
    "mcp_settings": set(),
}
"""What the modules that everybody imports may import of each other."""

TORCH_FREE = (
    "access",
    "agents",
    "store",
    "files",
    "backup",
    "batches",
    "api",
    "chat",
    "gguf",
    "plugins",
    "rank_process",
    "skills",
    "registry",
    "app",
    "bench",
    "calibration",
    "cli",
    "commands",
    "data",
    "doctor",
    "eval_client",
    "evaluation",
    "garbage",
    "hosts",
    "http_client",
    "job_process",
    "jobs",
    "local_jobs",
    "log_file",
    "logbook",
    "logs",
    "sandbox",
    "skill_client",
    "terminal_chat",
)
"""With engine.client: what the API process and the CLI are made of."""

TORCH_FREE_OF_TRAINING = (
    "auto",
    "examples",
    "four_bit_keys",
    "gating",
    "grader_reward",
    "launch_file",
    "methods.table",
    "named_recipes",
    "recipe",
    "refused_keys",
    "result_file",
    "results",
    "served_as",
    "spec",
    "tokens",
    "trl_keys",
)
"""What the API and the CLI need to know of a run before it begins; the rest runs in a job's process."""

HEAVY = ("torch", "transformers")
OTHER_FRAMEWORKS = {"fastapi", "flask", "starlette", "django", "aiohttp", "requests", "httpx", "pydantic"}
"""One library for each job: litestar, httpx2, msgspec. (sse-starlette brings starlette; we don't import it.)"""


@pytest.fixture(scope="module")
def package(project: Path) -> Path:
    return project / "llmos_server"


def sources(package: Path) -> Iterator[tuple[str, Path]]:
    """(folder or root module, file) of every Python file."""
    for path in sorted(package.rglob("*.py")):
        yield path.relative_to(package).parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports, inside functions and for type checking, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            if node.module == "llmos_server":
                yield from (f"llmos_server.{alias.name}" for alias in node.names)


def arrows_from(path: Path) -> set[str]:
    parts = [name.split(".") for name in imports(path)]
    return {part[1] for part in parts if part[0] == "llmos_server" and len(part) > 1 and part[1] != "__version__"}


def test_every_folder_has_its_arrows_written_down(package: Path) -> None:
    assert {folder for folder, _ in sources(package)} == set(ARROWS)


def test_imports_follow_the_arrows(package: Path) -> None:
    against = []
    for folder, path in sources(package):
        allowed = STRICT_BASE.get(folder, ARROWS[folder] | EVERYBODY) | {folder}
        against += [f"{path.relative_to(package)} -> {other}" for other in sorted(arrows_from(path) - allowed)]
    assert against == []


def test_the_arrows_make_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(ARROWS):
        ready = {folder for folder, others in ARROWS.items() if others <= done} - done
        assert ready, f"a circle among {sorted(set(ARROWS) - done)}"
        done |= ready


def test_the_folders_of_the_api_make_no_circle(package: Path) -> None:
    """Each folder of api/ and each file beside them is a place; schemas is imported by all and imports none."""
    api = package / "api"
    places = {path.name.removesuffix(".py") for path in api.iterdir()}
    arrows: dict[str, set[str]] = {place: set() for place in places}
    for path in api.rglob("*.py"):
        place = path.relative_to(api).parts[0].removesuffix(".py")
        parts = [name.split(".") for name in imports(path) if name.startswith("llmos_server.api.")]
        arrows[place] |= {part[2] for part in parts} & places - {place}
    done: set[str] = set()
    while len(done) < len(arrows):
        ready = {place for place, others in arrows.items() if others <= done} - done
        assert ready, f"a circle among {sorted(set(arrows) - done)}"
        done |= ready


def test_a_broken_arrow_would_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("def f():\n    from llmos_server.engine.worker import main\n    import llmos_server.api.app\n")
    assert arrows_from(path) == {"engine", "api"}


def test_built_in_plugins_import_what_any_plugin_may(project: Path) -> None:
    """Names of the root package alone, so that a plugin can be taken out and installed apart."""
    against = []
    for path in sorted((project / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                against += [(path.name, alias.name) for alias in node.names if alias.name.startswith("llmos_server")]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("llmos_server."):
                against.append((path.name, str(node.module)))
    assert against == []


def test_the_terminal_interface_is_a_client(project: Path) -> None:
    """It gets by HTTP what it shows, so nothing can be seen there that the API doesn't give to others."""
    against = []
    for path in sorted((project / "tui").rglob("*.py")):
        names = {name.split(".")[0] for name in imports(path)}
        others = OTHER_FRAMEWORKS - ({"aiohttp"} if path.parent.name == "browser" else set())  # Textual-serve's own.
        against += [(path.name, name) for name in names & ({"llmos_server", *HEAVY} | others)]
    assert against == []


def test_inner_init_files_are_empty(package: Path) -> None:
    """So that importing one module of a folder loads no other."""
    full = [path for path in package.rglob("*/__init__.py") if path.parent != package and path.read_text().strip()]
    assert full == []


def test_one_library_for_each_job(package: Path) -> None:
    found = {(path.name, name) for _, path in sources(package) for name in imports(path)}
    assert [(file, name) for file, name in sorted(found) if name.split(".")[0] in OTHER_FRAMEWORKS] == []


def test_files_have_one_reason_to_change(project: Path, package: Path) -> None:
    files = [*(path for _, path in sources(package)), *(project / "tui").rglob("*.py")]
    long = {path.name: num for path in files if (num := len(path.read_text().splitlines())) > 400}
    assert long == {}


def test_api_process_and_cli_load_no_torch(package: Path) -> None:
    """In a fresh process: one import anywhere would be enough to break it."""
    names = ["llmos_server.engine.client", *(f"llmos_server.training.{name}" for name in TORCH_FREE_OF_TRAINING)]
    for folder, path in sources(package):
        if folder in TORCH_FREE:
            names.append(".".join(("llmos_server", *path.relative_to(package).with_suffix("").parts)))
    code = (
        "import importlib, json, sys\n"
        "for name in json.loads(sys.argv[1]): importlib.import_module(name)\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(names)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_tests_reach_no_network() -> None:
    with socket.socket() as probe, pytest.raises(RuntimeError, match="reached for the network"):
        probe.connect(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match="reached for the network"):
        socket.getaddrinfo("example.org", 80)
