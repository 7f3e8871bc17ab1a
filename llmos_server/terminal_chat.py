"""`llmos chat`: a small chat in the terminal, over HTTP like any other client."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass, field
from typing import Any

from llmos_server.errors import LLMOSError
from llmos_server.http_client import check_status, create_client, errors_in_words, first_model, sse_chunks

HELP = "Ask, and press Enter. /new starts over, /bye or Ctrl-D leaves, Ctrl-C stops an answer."


@dataclass
class Chat:
    """One conversation. `options` goes into every request as it is."""

    url: str
    model: str | None = None
    system: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all turns but the system's."""
        self.messages = [{"role": "system", "content": self.system}] if self.system else []

    def ask(self, question: str) -> None:
        """Stream the answer to stdout. A question that got no whole answer is not kept."""
        self.messages.append({"role": "user", "content": question})
        try:
            answer = asyncio.run(self._stream())
        except BaseException:
            self.messages.pop()
            raise
        self.messages.append({"role": "assistant", "content": answer})

    async def _stream(self) -> str:
        parts: list[str] = []
        with errors_in_words(self.url):
            async with create_client(self.url) as client:
                self.model = self.model or await first_model(client, self.url)
                body = {"model": self.model, "messages": self.messages, "stream": True, **self.options}
                async with client.stream("POST", f"{self.url}/chat/completions", json=body) as response:
                    await check_status(response)
                    async for chunk in sse_chunks(response):
                        for choice in chunk["choices"]:
                            text = choice["delta"].get("content") or ""
                            parts.append(text)
                            print(text, end="", flush=True)
        print(flush=True)
        return "".join(parts)


def run_chat(chat: Chat, question: str | None) -> None:
    """One question from the command line or a pipe, else a conversation."""
    if question is None and not sys.stdin.isatty():
        question = sys.stdin.read().strip()
        if not question:
            raise LLMOSError("There is no question: stdin is empty. Example: echo Hello | llmos chat")
    if question is not None:
        chat.ask(question)
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (gives input() a history and line editing)
    print(HELP)
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line == "/bye":
            return
        if line == "/new":
            chat.reset()
        elif line:
            _answer(chat, line)


def _answer(chat: Chat, question: str) -> None:
    """One turn; neither Ctrl-C nor an error ends the conversation."""
    try:
        chat.ask(question)
    except KeyboardInterrupt:
        print("\n(stopped)")
    except LLMOSError as error:
        print(f"\n{error}", file=sys.stderr)
