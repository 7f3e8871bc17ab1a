"""A whole server with a tiny model, on one home, that is stopped or killed and started again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
from killing import KilledServer

MODEL = "file:tiny"


class TinyServer(KilledServer):
    def __init__(self, folder: Path, start_server: Callable[..., Any]) -> None:
        import tiny_models  # Of tests/e2e, which start_server has made importable; it loads torch.

        super().__init__(folder / "home", folder / "server.log")
        self._folder = folder
        self._start_server = start_server
        tokenizer = tiny_models.train_tokenizer()
        tiny_models.save_folder(folder / "tiny", tiny_models.create_model(tokenizer, "llama"), tokenizer)

    def start(self) -> None:
        self.server = self._start_server(self._folder, MODEL, env={"LLMOS_ENGINE__NUMERICS": "exact"})
        self.process = self.server.process
        self.server.wait_until_ready()
        self.client = openai.OpenAI(base_url=f"{self.server.url}/v1", api_key="any")

    def kill_server(self) -> None:
        self.client.close()
        super().kill_server()

    def step_of(self, detail: str) -> int:
        """ "12 of 400 items"."""
        return int(detail.split()[0]) if detail[:1].isdigit() else 0

    def row(self, job_id: str) -> tuple[str, str]:
        """Status and detail, as the database has them; the server needn't run."""
        return self._row(job_id)
