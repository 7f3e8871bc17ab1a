"""An MCP server without the SDK, so that it can lie: python raw_server.py MODE. Its tools are called after what they
do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

MODE = sys.argv[1] if len(sys.argv) > 1 else "honest"
NAMES = (
    "echo",
    "grow",
    "garble",
    "wrong-result",
    "no-json",
    "other-id",
    "huge-line",
    "deaf",
    "close-stdout",
    "die",
    "spawn",
    "flood",
    "babble",
)


extra: list[str] = []


def say(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def answer(request: dict[str, Any]) -> None:
    key, method = request["id"], request["method"]
    if method == "initialize":
        info = {"name": "raw", "version": "1"}
        version = request["params"]["protocolVersion"]
        say({"id": key, "result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}})
    elif method == "tools/list":
        cursor = {"nextCursor": "more"} if MODE == "endless" else {}
        nothing = {"type": "object", "properties": {}, "additionalProperties": False}
        tools = [{"name": name, "inputSchema": nothing} for name in [*NAMES, *extra]]
        say({"id": key, "result": {**cursor, "tools": tools}})
    elif method == "tools/call":
        call(key, request["params"]["name"])
    else:
        say({"id": key, "error": {"code": -32601, "message": "no such method"}})


def call(key: int, name: str) -> None:
    if name == "echo":
        say({"id": key, "result": {"content": [{"type": "text", "text": "echo"}]}})
    elif name == "grow":
        extra.append("grown")
        say({"method": "notifications/tools/list_changed"})
        say({"id": key, "result": {"content": []}})
    elif name == "garble":
        say({"id": key, "result": 5})
    elif name == "wrong-result":
        say({"id": key, "result": {"content": "no list"}})
    elif name == "no-json":
        print("Oops: a traceback", flush=True)
    elif name == "other-id":
        say({"id": 4711, "result": {"content": []}})
    elif name == "huge-line":
        print("x" * 50_000_000, flush=True)
    elif name == "deaf":
        time.sleep(3600)
    elif name in ("flood", "babble"):
        while True:
            if name == "babble":
                print("tick", flush=True)
            else:
                say({"method": "notifications/message", "params": {"level": "info", "data": "tick"}})
    elif name == "die":
        os._exit(7)
    elif name == "spawn":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        say({"id": key, "result": {"content": [{"type": "text", "text": f"{os.getpid()} {child.pid}"}]}})
    elif name == "close-stdout":
        os.close(1)
        time.sleep(3600)


if MODE == "hang-at-start":
    time.sleep(3600)
elif MODE == "die-at-start":
    sys.exit("no licence: token " + os.environ.get("TOKEN", ""))
print("Welcome!\n\n{}\n[1, 2]", flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        answer(message)
