"""GET /admin/v1/settings."""

from __future__ import annotations

import httpx2

from llmos_server.access.gate import Gate
from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory
from llmos_server.settings import ApiSettings, load_settings
from llmos_server.settings_rows import list_settings

TOKEN = "llmos-admin-" + "t" * 43


async def test_administrators_see_what_holds_and_where_it_comes_from():
    settings = load_settings(env={"LLMOS_DATABASE__URL": "postgresql://u:secret@h/n"})
    api = create_api(
        ModelDirectory([], aliases={}),
        ApiSettings(),
        gate=Gate(admin_token=TOKEN),
        configuration=list_settings(settings),
    )
    transport = httpx2.ASGITransport(app=api)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        assert (await client.get("/admin/v1/settings")).status_code == 403
        reply = await client.get("/admin/v1/settings", headers={"Authorization": f"Bearer {TOKEN}"})
    told = {(row["section"], row["key"]): row for row in reply.json()["data"]}
    assert told["database", "url"] == {
        "section": "database",
        "key": "url",
        "value": "postgresql://u:***@h/n",
        "source": "environment",
        "origin": "LLMOS_DATABASE__URL",
        "doc": '"" is SQLite at LLMOS_HOME/llmos.db; else postgresql://user:password@host/name.',
    }
    assert told["api", "port"]["source"] == "default"
