"""Whether this machine can give a sandbox. If not, why, and what to do: a weaker one is never taken."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from llmos_server.sandbox.command import Interpreter
from llmos_server.sandbox.limits import SandboxLimits
from llmos_server.sandbox.sandbox import Sandbox
from llmos_server.sandbox.seccomp import is_known

INSTALL = (
    "install bubblewrap (Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap; Alpine: apk add "
    "bubblewrap)"
)
ALLOW = (
    "Unprivileged user namespaces have to be allowed: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile for bwrap (Ubuntu), "
    "user.max_user_namespaces above 0; containers mostly forbid them"
)
PROBE = """
import ctypes, os
assert os.getuid() == 65534, "the wrong user"
assert sorted(os.listdir("/tmp")) == [], "a /tmp that isn't new"
assert len(os.listdir("/proc/self/task")) == 1 and os.getpid() < 10, "processes of others"
lines = open("/proc/self/net/dev").read().splitlines()[2:]
assert {line.partition(":")[0].strip() for line in lines} <= {"lo"}, "a network"
assert ctypes.CDLL(None).unshare(0x10000000) == -1, "a user namespace of its own"
print("held")
"""


class SandboxUnavailable(Exception):
    """str(error) says what is missing and what to install."""


def find_sandbox(limits: SandboxLimits, max_runs: int = 2, bwrap: str = "", python: str = "") -> Sandbox:
    """bwrap, python: where they are; found by themselves without. Raises SandboxUnavailable."""
    if sys.platform != "linux":
        raise SandboxUnavailable(f"the sandbox needs Linux, and this is {sys.platform}")
    if not is_known():
        raise SandboxUnavailable(f"the sandbox knows x86_64 and aarch64, not {os.uname().machine}")
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        raise SandboxUnavailable("the sandbox needs a kernel with CONFIG_PROC_CHILDREN")
    found = shutil.which(bwrap or "bwrap")
    if found is None:
        raise SandboxUnavailable(f"the sandbox needs {bwrap or 'bwrap'}, which isn't here: {INSTALL}")
    reasons = []
    for candidate in _pythons(python):
        interpreter = Interpreter(candidate)
        reason = _find_open(interpreter)
        if not reason:
            sandbox = Sandbox(found, interpreter, limits, max_runs)
            reason = _try(sandbox)
            if not reason:
                return sandbox
        reasons.append(f"with {candidate}: {reason}")
    raise SandboxUnavailable(f"the sandbox can't be had ({'; '.join(reasons) or 'there is no Python'}). {ALLOW}")


def _pythons(named: str) -> list[Path]:
    """The one that is named, or this one outside of its virtual environment and the system's."""
    if named:
        return [Path(named).resolve()]
    own = Path(getattr(sys, "_base_executable", sys.executable))
    paths = [path.resolve() for path in (own, Path("/usr/bin/python3")) if path.exists()]
    return list(dict.fromkeys(paths))


def _find_open(python: Interpreter) -> str:
    """Why the folders that the program would see hold too much; "" if they don't."""
    state = Path(os.environ.get("LLMOS_HOME") or Path.home() / ".llmos").resolve()
    for folder in python.folders:
        for private in (state, Path.home().resolve()):
            if private.is_relative_to(folder.resolve()):
                return f"{folder}, which a program needs, holds {private}"
        if folder.resolve().is_relative_to(state):
            return f"{folder}, which a program needs, is within {state}"
    return ""


def _try(sandbox: Sandbox) -> str:
    """Why a program can't be run, or isn't held; "" if it can and is."""
    try:
        tried = sandbox.run(PROBE)
    except OSError as error:
        return f"bwrap can't be run ({error.strerror})"
    if tried.status == "ok" and tried.stdout == "held\n":
        return ""
    last = tried.stderr.strip().splitlines()[-1:] or [tried.status]
    return last[0][:300]
