"""The sandbox of the skill `code`, attacked from within; and that there is none where it can't hold."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llmos_plugins.code.running import run_code
from llmos_plugins.code.skill import Code

from llmos_server import Outcome
from llmos_server.plugins.host import load_plugins
from llmos_server.sandbox.finding import SandboxUnavailable, find_sandbox
from llmos_server.sandbox.limits import MIB, SandboxLimits
from llmos_server.sandbox.sandbox import Sandbox, Stopped
from llmos_server.sandbox.seccomp import ARCHITECTURES, create_filter
from llmos_server.settings import PluginsSettings

LIMITS = SandboxLimits(seconds=20, memory_bytes=256 * MIB, num_files=500)
SECRET = "the admin's token"


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    try:
        return find_sandbox(LIMITS)
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A file of the server's, open to everybody as far as its own mode goes."""
    file = tmp_path / "admin.token"
    file.write_text(SECRET)
    file.chmod(0o666)
    return file


@pytest.fixture
def fake_bwrap() -> Iterator[Any]:
    """fake_bwrap(script): the path of one, where nobody may run it, too: the sandbox of root's server is nobody's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)

        def write(script: str) -> str:
            path = Path(folder) / "bwrap"
            path.write_text(f"#!/bin/bash\n{script}\n")
            path.chmod(0o755)
            return str(path)

        yield write


def processes() -> set[str]:
    return {pid for pid in os.listdir("/proc") if pid.isdigit()}


def test_a_program_runs(sandbox):
    ran = sandbox.run("import sys\nprint(sys.stdin.read().upper())\nsys.exit(3)", "given ü")
    assert (ran.status, ran.exit_status, ran.stdout) == ("failed", 3, "GIVEN Ü\n")
    ran = sandbox.run("import json, asyncio, sqlite3, decimal\nprint(json.dumps([1]))")
    assert (ran.status, ran.stdout) == ("ok", "[1]\n")


def test_a_fork_bomb_is_held(sandbox):
    bomb = """
import os, time
made = 0
while True:
    try:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        made += 1
    except OSError as error:
        print(made, error.errno, flush=True)
        os._exit(0)
"""
    ran = sandbox.run(bomb)
    made, errno = map(int, ran.stdout.split())
    assert made < LIMITS.num_processes
    assert errno == 11
    assert sandbox.run("print(1)").stdout == "1\n"


def test_nothing_outlives_its_program(sandbox):
    before = processes()
    daemon = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n"
    sandbox.run(daemon + "time.sleep(0.2)")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        left = [pid for pid in processes() - before if b"/work/main.py" in _command(pid)]
        if not left:
            return
        time.sleep(0.05)
    raise AssertionError(left)


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_no_network(sandbox):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"""
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", {port})), (socket.AF_INET6, ("::1", {port})), (40, (2, 1))):
    try:
        socket.socket(family).connect(address)
        print("connected")
    except OSError as error:
        print(error.errno)
print(sorted(line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]))
"""
        assert sandbox.run(program).stdout.split() == ["97", "97", "97", "['lo']"]


def test_neither_the_state_folder_nor_any_other_can_be_read(sandbox, state, monkeypatch):
    monkeypatch.setenv("LLMOS_SECRET", SECRET)
    program = f"""
import os
for path in ({str(state)!r}, {str(Path.home())!r}, "/root", "/home", "/etc/passwd", "/etc/shadow", "/proc/1/root/root"):
    try:
        print(open(path).read() if os.path.isfile(path) else os.listdir(path))
    except OSError as error:
        print(error.errno)
print(os.environ)
for folder, _, files in os.walk("/"):
    if {state.name!r} in files:
        print("found", folder)
"""
    ran = sandbox.run(program)
    assert ran.status == "ok", ran.stderr
    assert SECRET not in ran.stdout
    assert "found" not in ran.stdout
    assert set(ran.stdout.splitlines()[:6]) <= {"2", "13"}


def test_links_lead_nowhere(sandbox, state):
    program = f"""
import os
os.symlink({str(state)!r}, "/tmp/soft")
os.symlink("/proc/1/cwd", "/tmp/first")
for work in (lambda: open("/tmp/soft").read(), lambda: open("/tmp/soft", "w"), lambda: os.listdir("/tmp/first/root"),
             lambda: os.link("/lib/os-release", "/tmp/hard"), lambda: os.symlink("/tmp", "/work/link")):
    try:
        print("did", work())
    except OSError as error:
        print("no")
"""
    ran = sandbox.run(program)
    assert ran.stdout.split() == ["no"] * 5, ran
    assert state.read_text() == SECRET


def test_only_tmp_can_be_written_to(sandbox):
    program = """
import os
for folder, names, _ in os.walk("/"):
    if folder.startswith(("/proc", "/tmp")):
        continue
    try:
        open(os.path.join(folder, "x"), "w")
        print("wrote", folder)
    except OSError:
        pass
open("/tmp/x", "w").write("x")
print("end")
"""
    assert sandbox.run(program).stdout == "end\n"


def test_a_file_of_10_gb(sandbox):
    program = """
piece = b"x" * 2**20
written = 0
try:
    with open("/tmp/large", "wb", buffering=0) as file:
        for _ in range(10 * 1024):
            written += file.write(piece)
except OSError as error:
    print(written, error.errno)
"""
    written, errno = map(int, sandbox.run(program).stdout.split())
    assert (written, errno) == (LIMITS.file_bytes, 27)


def test_a_full_disk_of_many_files(sandbox):
    program = """
written = 0
try:
    for number in range(100):
        with open(f"/tmp/{number}", "wb", buffering=0) as file:
            for _ in range(10):
                written += file.write(b"x" * 2**20)
except OSError as error:
    print(written, error.errno)
"""
    written, errno = map(int, sandbox.run(program).stdout.split())
    assert written <= LIMITS.disk_bytes
    assert errno == 28


def test_very_many_files(sandbox):
    ran = sandbox.run("for number in range(10**7): open(f'/tmp/{number}', 'w').close()")
    assert ran.status == "files"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_of_output_is_cut_and_told(sandbox, stream):
    ran = sandbox.run(f"import sys\nwhile True: sys.{stream}.write('x' * 5000)")
    assert ran.status == "output"
    assert len(getattr(ran, stream)) == LIMITS.output_bytes


def test_memory_of_one_and_of_all(sandbox):
    assert "MemoryError" in sandbox.run(f"x = bytearray({2 * LIMITS.memory_bytes})").stderr
    many = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        break
x = bytearray(100 * 2**20)
time.sleep(60)
"""
    assert sandbox.run(many).status == "memory"


def test_time(sandbox):
    short = find_sandbox(SandboxLimits(seconds=1.0))
    assert short.run("while True: pass").status == "timeout"
    assert short.run("import time\nprint('so far', flush=True)\ntime.sleep(99)").stdout == "so far\n"
    assert short.run("import os, time\nos.close(1)\nos.close(2)\ntime.sleep(99)").status == "timeout"


def test_what_the_kernel_is_not_asked(sandbox):
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for call in (lambda: libc.unshare(0x10000000), lambda: libc.unshare(0x20000), lambda: libc.ptrace(16, 1, 0, 0),
             lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, 0), lambda: libc.memfd_create(b"x", 0),
             lambda: libc.shmget(0, 4096, 0o1600), lambda: libc.setns(0, 0), lambda: libc.personality(0xffffffff)):
    print(call(), ctypes.get_errno())
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print({status[name].strip() for name in ("CapEff", "CapBnd", "CapPrm")}, status["NoNewPrivs"].strip(), os.getuid())
"""
    lines = sandbox.run(program).stdout.splitlines()
    assert lines[:7] == ["-1 1"] * 7
    assert lines[8] == "{'0000000000000000'} 1 65534"


def test_a_run_that_nobody_waits_for_ends(sandbox):
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    with pytest.raises(Stopped):
        sandbox.run("import time\ntime.sleep(600)", stop=stop)
    timer.join()


def test_who_waits_for_a_place_may_leave(sandbox):
    one = find_sandbox(LIMITS, max_runs=1)
    leave = threading.Event()
    leave.set()
    with one._places, pytest.raises(Stopped):
        one.run("print(1)", stop=leave)
    assert one.run("print(1)").stdout == "1\n"


class TestTests:
    @pytest.mark.parametrize(
        ("code", "passed"),
        [
            ("def f(): return 1", True),
            ("def f(): return 2", False),
            ("import sys\nsys.exit(0)", False),
            ("import os\nos._exit(0)", False),
            ("while True: pass", False),
        ],
    )
    def test_they_pass_at_their_end(self, sandbox, code, passed):
        quick = find_sandbox(SandboxLimits(seconds=2.0))
        ran = run_code(quick, code, "assert f() == 1\nprint('done')")
        assert ran.passed is passed
        assert ran.execution.stdout == ("done\n" if passed else "")

    def test_the_cases_can_be_solved_and_failed(self, sandbox):
        """A perfect model has the pass rate 1, and one that answers any other case's solution nearly none."""
        skill = Code(sandbox=sandbox)
        cases = skill.cases()
        solutions = [case.expected["solution"] for case in cases]

        def outcome(case: Any, text: str) -> Any:
            code = case.input["code"].replace("<FILL>", text) if case.input["task"] == "infill" else None
            given = {"result": text, "language": "python", "code": code, "parses": True, "parse_error": ""}
            output = skill.output_type(**given, attempts=1, is_cut=False)
            return Outcome(case=case, input=skill.input_type(**case.input), output=output)

        right = skill.measure([outcome(case, text) for case, text in zip(cases, solutions, strict=True)])
        assert right == {"parse_rate": 1.0, "pass_rate": 1.0}
        some, others = cases[:6], solutions[6:12]
        assert skill.measure([outcome(c, text) for c, text in zip(some, others, strict=True)])["pass_rate"] == 0
        assert skill.measure([Outcome(case=cases[0], input=outcome(cases[0], "").input, error="x")])["pass_rate"] == 0


async def test_a_run_over_http(sandbox, make_api):
    host = load_plugins(PluginsSettings(enabled=("code",), options={"code": {"sandbox": True}}))
    assert host.plugins["code"].state == "on", host.plugins["code"].reason
    api = make_api("```python\nprint(int(input()) * 2)\n```", plugins=host, max_model_len=4000)
    body = {"task": "write", "instruction": "x", "run": True, "stdin": "21"}
    details = (await api.post("/v1/skills/code/run", body)).json()["details"]
    assert (details["execution"]["status"], details["execution"]["stdout"]) == ("ok", "42\n")
    assert details["passed"] is None
    body = {"task": "write", "instruction": "x", "stdin": "4", "tests": "assert False, 'wrong'"}
    details = (await api.post("/v1/skills/code/run", body)).json()["details"]
    assert (details["passed"], details["execution"]["exit_status"]) == (False, 1)
    assert "wrong" in details["execution"]["stderr"]
    for fields, param in (({"language": "json"}, "language"), ({"task": "explain", "code": "x"}, "run")):
        reply = await api.post("/v1/skills/code/run", {"task": "write", "instruction": "x", "run": True, **fields})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_without_a_sandbox_nothing_is_run(make_api):
    api = make_api("```python\nprint(1)\n```", plugins=load_plugins(PluginsSettings(enabled=("code",))))
    for fields, param in (({"run": True}, "run"), ({"tests": "x"}, "tests"), ({"stdin": "x"}, "stdin")):
        reply = await api.post("/v1/skills/code/run", {"task": "write", "instruction": "x", **fields})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert "pass_rate" not in Code().measure([Outcome(case=case, input=case.input) for case in Code().cases()])


class TestRefusals:
    """As the plugin is told: refused by its name, with what to do; never a weaker sandbox."""

    def reason(self, **options: Any) -> str:
        host = load_plugins(PluginsSettings(enabled=("code",), options={"code": {"sandbox": True, **options}}))
        assert host.plugins["code"].state == "refused"
        return host.plugins["code"].reason

    def test_without_bubblewrap(self):
        assert "apt install bubblewrap" in self.reason(bwrap="/nowhere/bwrap")

    @pytest.mark.parametrize(
        ("script", "told"),
        [
            ("echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "No permissions to create"),
            ('while [ "$1" != -- ]; do shift; done; shift; exec "$1" -c "print(1)"', "ok"),
        ],
    )
    def test_where_namespaces_are_forbidden(self, fake_bwrap, script, told):
        reason = self.reason(bwrap=fake_bwrap(script))
        assert told in reason
        assert "kernel.unprivileged_userns_clone" in reason

    @pytest.mark.parametrize(
        ("left_out", "told"),
        [
            ("--unshare-net", "a network"),
            ("--unshare-pid", "processes of others"),
            ("--seccomp", "a user namespace"),
        ],
    )
    def test_a_bubblewrap_that_holds_less(self, sandbox, fake_bwrap, left_out, told):
        real = shutil.which("bwrap")
        skip = 2 if left_out == "--seccomp" else 1
        script = f"""
given=()
while [ $# -gt 0 ]; do
    if [ "$1" = {left_out} ]; then shift {skip}; else given+=("$1"); shift; fi
done
exec {real} "${{given[@]}}\"
"""
        assert told in self.reason(bwrap=fake_bwrap(script))

    def test_an_interpreter_beside_the_servers_state(self, tmp_path, monkeypatch):
        (tmp_path / "lib").mkdir()
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/bwrap").write_text("#!/bin/sh\n")
        (tmp_path / "bin/bwrap").chmod(0o755)
        monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "lib/state"))
        told = self.reason(bwrap=str(tmp_path / "bin/bwrap"), python=str(tmp_path / "bin/python"))
        assert f"holds {tmp_path / 'lib/state'}" in told


def test_the_filter_is_for_the_kernels_that_are_named():
    for machine in ARCHITECTURES:
        code = create_filter(machine)
        assert len(code) % 8 == 0
        jumps = [(place, code[place * 8 + 2], code[place * 8 + 3]) for place in range(len(code) // 8)]
        assert all(place + 1 + max(yes, no) < len(jumps) for place, yes, no in jumps[:-1])
        assert code[-8] == 0x06  # What comes to the end is decided there.
