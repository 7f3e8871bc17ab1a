"""Set up .venv with LLMOS in it: `make install` and `make test` call this. Python's standard library only.

usage: scripts/install [dev]      "dev" adds what tests, lint and type checks need
       scripts/install venv       an empty .venv, for what is set up beside the rest
TORCH=cpu or TORCH=cuda chooses torch's build; without it a machine with an NVIDIA driver gets CUDA, any other CPU.
A stamp file makes a second run quick; it is keyed by pyproject.toml, constraints.txt, the interpreter and TORCH.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "llmos-install.json"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

GB = 10**9
SIZES = {"cpu": ("0.4 GB", 3 * GB), "cuda": ("3.5 GB", 12 * GB)}
"""Build -> what is downloaded at most, in words, and the free disk that the set-up needs."""

ALWAYS = ("eval", "train", "tui")
"""Extras that are there without being asked for: the whole of what README shows works."""

QUICK = ("--timeout", "10", "--retries", "1")
"""For an index that may not be reachable."""


def main(arguments: Sequence[str]) -> int:
    if list(arguments) == ["venv"]:
        make_venv()
        return 0
    if set(arguments) - {"dev"}:
        stop(f"unknown argument in {' '.join(arguments)!r}; there are: dev, or venv alone")
    extras = list(arguments)
    wanted = os.environ.get("TORCH", "")
    if wanted not in ("", "cpu", "cuda"):
        stop(f"TORCH={wanted} is not known. Use TORCH=cpu or TORCH=cuda, or leave it out.")
    if is_done(extras, wanted):
        return 0
    make_venv()
    present = installed_torch()
    if present is None or (wanted and wanted != build_of(present)):
        install_torch(wanted, is_present=present is not None)
    install_llmos(extras)
    run(PYTHON, "-m", "llmos_server.kernels.native.build")
    STAMP.write_text(json.dumps({"key": key(wanted), "extras": extras}), encoding="utf-8")
    say(f"ready: {relative(VENV / 'bin' / 'llmos')} (try: {relative(VENV / 'bin' / 'llmos')} --help)")
    return 0


def key(wanted: str) -> str:
    """Changes when the set-up has to be done again."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    version = subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=True).stdout
    asked_for = platform.python_version_tuple()[:2] if "PYTHON" in os.environ else ""
    digest.update(f"{version} {asked_for} {ROOT} {wanted}".encode())
    return digest.hexdigest()


def is_done(extras: Sequence[str], wanted: str) -> bool:
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        return bool(stamp["key"] == key(wanted) and set(extras) <= set(stamp["extras"]))
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError):
        return False


def make_venv() -> None:
    """A .venv whose Python and pip run; one that is broken or half made is made anew."""
    if runs(PYTHON, "-m", "pip", "--version"):
        is_asked_for = f"sys.version_info[:2] == {sys.version_info[:2]}" if "PYTHON" in os.environ else "True"
        if not runs(PYTHON, "-c", f"import sys; sys.exit(sys.version_info < (3, 11) or not {is_asked_for})"):
            stop(f"{relative(VENV)} was made with another Python. Remove it and run this again: rm -r .venv")
        return
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        stop(
            f"Python's venv module is missing from {sys.executable}. Install it and run this again:\n"
            f"  Debian, Ubuntu:  sudo apt install python3.{sys.version_info[1]}-venv\n"
            f"  others:          the package that holds ensurepip, or Python from python.org"
        )
    if VENV.exists():
        say(f"{relative(VENV)} is incomplete; making it anew")
    say(f"making {relative(VENV)} with Python {platform.python_version()}")
    run(sys.executable, "-m", "venv", "--clear", VENV)
    # Python brings a pip of its own age; a new one finds all packages in half of the time.
    pip("install", "--upgrade", "pip")


def installed_torch() -> str | None:
    """Version of the torch in .venv, None when there is none or it isn't the one that constraints.txt pins."""
    code = "import importlib.metadata as m; print(m.version('torch'))"
    found = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
    return found if found and pin("torch") in (None, found.partition("+")[0]) else None


def pin(name: str) -> str | None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next((line.partition("==")[2] for line in lines if line.startswith(name + "==")), None)


def build_of(version: str) -> str:
    return "cpu" if version.endswith("+cpu") or platform.system() != "Linux" else "cuda"


def install_torch(wanted: str, is_present: bool) -> None:
    """Torch first and alone, so that which build comes is decided here and not by a resolver."""
    build = wanted or ("cuda" if has_nvidia_driver() else "cpu")
    offered = offered_build()
    options: tuple[str, ...] = ()
    changes = ("--force-reinstall",) if is_present else ()  # To pip, both builds are one version.
    if build == "cpu" and offered == "cuda":
        options = ("--index-url", CPU_INDEX, *QUICK)
        if offered_build(options) != "cpu":
            stop(
                "torch's CPU build can't be had from here: the package index has only the CUDA build for Python "
                f"{platform.python_version()},\nand {CPU_INDEX} did not answer. Either\n"
                f"  accept the CUDA build, {SIZES['cuda'][0]} (it runs on a CPU, too):  make install TORCH=cuda\n"
                "  or try another Python:  rm -r .venv; make install PYTHON=python3.11"
            )
    elif build == "cuda" and offered == "cpu":
        say("the package index offers torch's CPU build only, so that is what comes")
        build = "cpu"
    check_disk(build)
    say(f"downloading torch ({build.upper()} build) and the other packages: up to {SIZES[build][0]}")
    pip("install", "setuptools")  # Builds LLMOS below, and torch needs it.
    pip("install", "--no-deps", *changes, *options, torch_requirement())


def torch_requirement() -> str:
    version = pin("torch")
    return f"torch=={version}" if version else "torch"


def offered_build(options: Sequence[str] = ()) -> str | None:
    """Which build of torch pip would take: "cpu", "cuda", or None when it finds none."""
    command = ["install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--report", "-"]
    answer = subprocess.run(
        [PYTHON, "-m", "pip", *command, *options, torch_requirement()],
        capture_output=True,
        text=True,
        check=False,
        env=pip_environment(),
    )
    if answer.returncode != 0:
        if not options:
            sys.stderr.write(answer.stderr)
            stop("pip finds no torch. Is the package index reachable? `pip config list` shows which one is used.")
        return None
    metadata = json.loads(answer.stdout)["install"][0]["metadata"]
    if metadata["version"].endswith("+cpu") or platform.system() != "Linux":
        return "cpu"
    needs_cuda = any(need.startswith(("nvidia-", "cuda-")) for need in metadata.get("requires_dist", []))
    return "cuda" if needs_cuda else "cpu"


def has_nvidia_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def check_disk(build: str) -> None:
    words, needed = SIZES[build]
    free = shutil.disk_usage(ROOT).free
    if free < needed:
        stop(
            f"not enough disk: the set-up downloads up to {words} and needs {needed / GB:.0f} GB free, "
            f"and {ROOT} has {free / GB:.1f} GB. Free some and run this again."
        )


def install_llmos(extras: Sequence[str]) -> None:
    target = ".[" + ",".join([*ALWAYS, *extras]) + "]"
    say("installing LLMOS" + (f" with {', '.join(extras)}" if extras else ""))
    pip("install", "--no-build-isolation", "--editable", target)


def pip(command: str, *arguments: str) -> None:
    looks = () if sys.stdout.isatty() else ("-qq", "--progress-bar", "off")
    # Tests compile what they import, a small part of what comes. For a user pip compiles all: the first start is quick.
    compiles = ("--no-compile",) if "dev" in sys.argv else ()
    run(PYTHON, "-m", "pip", command, *looks, *compiles, "--constraint", "constraints.txt", *arguments)


def pip_environment() -> dict[str, str]:
    return {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def runs(*command: str | Path) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run(*command: str | Path) -> None:
    done = subprocess.run(command, check=False, cwd=ROOT, env=pip_environment())
    if done.returncode != 0:
        shown = " ".join(str(part) for part in command)
        stop(f"this failed, and says above why: {shown}\nRun it again when that is mended; what is done stays done.")


def relative(path: Path) -> str:
    return os.path.relpath(path)


def say(text: str) -> None:
    print(f"install: {text}", flush=True)


def stop(text: str) -> NoReturn:
    print(f"install: {text}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
