"""`llmos tui` from outside: how the server and the key are found, what is refused, and the whole of --serve."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from tui_fake_server import ADMIN_KEY, FakeServer
from tui_listening import listening

from llmos_server.access.admin_token import PREFIX
from llmos_server.cli import main
from llmos_server.commands.tui import create_app, create_browser_server
from llmos_server.errors import LLMOSError

TOKEN = PREFIX + 43 * "t"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LLMOS_API_KEY", raising=False)
    monkeypatch.delenv("LLMOS_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def write_token(home: Path, token: str) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "admin.token").write_text(token)
    (home / "admin.token").chmod(0o600)


async def test_this_machines_server_is_found_and_may_be_started(own_home: Path, monkeypatch) -> None:
    monkeypatch.setenv("LLMOS_API__PORT", "8123")
    app = create_app(None, None, 1.0, None)
    assert app.client.root == "http://127.0.0.1:8123"
    assert app._local_server is not None
    assert app._local_server.command[-2:] == ["llmos_server", "serve"]
    assert app._local_server.log == own_home / "logs" / "serve-from-tui.log"
    assert app._preferences_path == own_home / "tui.json"
    assert app.client._headers(None) == {}
    write_token(own_home, TOKEN)
    assert app.client._headers(None) == {"Authorization": f"Bearer {TOKEN}"}


async def test_a_named_server_is_taken_as_it_is(own_home: Path, monkeypatch) -> None:
    write_token(own_home, TOKEN)
    app = create_app("https://llm.example.org/v1", None, 1.0, None)
    assert app.client.root == "https://llm.example.org"
    assert app._local_server is None
    assert app.client._headers(None) == {}  # The local token leaves this machine for nobody.
    monkeypatch.setenv("LLMOS_URL", "http://127.0.0.1:9/v1")
    app = create_app(None, "sk-given", 1.0, None)
    assert app.client.root == "http://127.0.0.1:9"
    assert app.client._headers(None) == {"Authorization": "Bearer sk-given"}


def test_a_token_that_is_not_to_be_trusted_is_told_at_once(own_home: Path, capsys) -> None:
    write_token(own_home, "nonsense")
    with pytest.raises(SystemExit):
        main(["tui"])
    assert "holds no token" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["0.05", "61"])
def test_rates_that_the_server_does_not_take_are_refused(rate: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["tui", "--rate", rate])
    assert "0.1 to 60 seconds" in capsys.readouterr().err


def test_a_missing_package_is_named_with_its_remedy() -> None:
    """In a process where it can't be imported, as after `pip install llmos` without the extra."""
    code = "import sys; sys.modules['textual'] = None; from llmos_server.cli import main; main(['tui'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "needs the package textual" in done.stderr
    assert "pip install 'llmos[tui]'" in done.stderr


def test_without_a_key_nothing_is_served() -> None:
    with pytest.raises(LLMOSError, match="--key or LLMOS_API_KEY"):
        create_browser_server(None, None, 1.0, None, "127.0.0.1", 8010, None)


def test_where_others_can_reach_it_its_url_has_to_be_said() -> None:
    with pytest.raises(LLMOSError, match="--public-url"):
        create_browser_server(None, "sk-x", 1.0, None, "0.0.0.0", 8010, None)


def test_the_key_is_in_no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOS_API_KEY", "")
    server = create_browser_server("http://127.0.0.1:9", "sk-secret", 0.5, None, "::1", 8010, None)
    assert "sk-secret" not in server.command
    assert server.command.startswith("exec ")
    assert "--rate 0.5" in server.command
    assert "--screen dashboard" in server.command

    assert server.public_url == "http://[::1]:8010"


async def read_until(terminal: aiohttp.ClientWebSocketResponse, words: bytes) -> bytes:
    """What came, when these words are in it."""
    come = b""
    async with asyncio.timeout(30):
        while words not in come:
            message = await terminal.receive()
            assert message.type is aiohttp.WSMsgType.BINARY, message
            come += message.data
    return come


async def test_in_a_browser_from_the_key_to_the_dashboard_and_no_process_stays(server: FakeServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with listening(server) as root:
        command = [sys.executable, "-m", "llmos_server", "tui", "--serve", "--port", str(port), "--url", root]
        env = {**os.environ, "LLMOS_API_KEY": ADMIN_KEY, "PYTHONUNBUFFERED": "1"}
        process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)
        try:
            assert process.stdout is not None
            assert f"http://127.0.0.1:{port}".encode() in await process.stdout.readline()
            async with aiohttp.ClientSession() as http:
                url = f"http://127.0.0.1:{port}"
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await http.ws_connect(f"{url}/ws", headers={"Origin": url})
                headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
                async with http.ws_connect(f"{url}/ws?width=100&height=30", headers=headers) as terminal:
                    await read_until(terminal, b"smollm2:135m")
                    child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
                    assert ADMIN_KEY.encode() not in Path(f"/proc/{child}/cmdline").read_bytes()
                    process.send_signal(signal.SIGKILL)
                    await process.wait()
                    async with asyncio.timeout(20):
                        while Path(f"/proc/{child}").exists():
                            await asyncio.sleep(0.1)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_a_screen_that_is_none_is_told_with_those_that_are(own_home: Path) -> None:
    with pytest.raises(LLMOSError, match=r"There is no screen 'kitchen'. They are dashboard, chat, .*, tune."):
        create_app(None, None, 1.0, None, "kitchen")
    assert create_app(None, None, 1.0, None, "tune")._first == "tune"
