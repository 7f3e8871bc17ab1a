"""An API with a database and two keys, for tests of what is stored."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
from migrated import migrate

from llmos_server.access.gate import Gate
from llmos_server.access.keys import make_key
from llmos_server.settings import StorageSettings
from llmos_server.store.database import Database
from llmos_server.store.store import Store

HELLO = {"type": "message", "role": "user", "content": "Hello"}


class StoredApi:
    def __init__(self, api: Any, store: Store, keys: dict[str, tuple[str, str]]) -> None:
        self.api = api
        self.store = store
        self.keys = keys
        """Name -> id and text."""

    def owner(self, name: str = "a") -> str:
        return self.keys[name][0]

    def http(self, name: str = "a") -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self.api.app),
            base_url="http://127.0.0.1:8000",
            headers={"Authorization": f"Bearer {self.keys[name][1]}"},
        )

    def sdk(self, name: str = "a") -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url="http://127.0.0.1:8000/v1",
            api_key=self.keys[name][1],
            http_client=self.http(name),
            max_retries=0,
            _strict_response_validation=True,
        )

    async def call(self, method: str, path: str, body: Any = None, *, name: str = "a") -> httpx2.Response:
        return await self.http(name).request(method, path, json=body)


@asynccontextmanager
async def open_stored_api(make_api: Any, folder: Any, script: Any = "Hello", **storage: Any) -> Any:
    store = Store(Database(folder), StorageSettings(**storage))
    await migrate(store.database)
    keys = {}
    for name in ("a", "b"):
        stored, text = make_key(name, 1)
        await store.keys.add(stored)
        keys[name] = (stored.id, text)
    try:
        yield StoredApi(make_api(script, max_model_len=4000, store=store, gate=Gate(store.keys)), store, keys)
    finally:
        await store.close()
