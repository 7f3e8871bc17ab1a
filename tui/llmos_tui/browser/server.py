"""The terminal interface in a browser: textual-serve's program, which has no door, behind a door of ours.

Every request shows the key, as a bearer token or by the cookie that the login page gives for it, before anything else
happens: without it a websocket is answered by 401 and no process starts. Pages of other sites can't use a browser's
cookie: it is SameSite=Strict, the Host has to be ours and so has a websocket's Origin.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve.server import Server

from llmos_tui.browser.pages import login_page, terminal_page
from llmos_tui.browser.sessions import SESSION_SECONDS, Sessions
from llmos_tui.browser.terminal import Terminal, size_of
from llmos_tui.client import is_this_machine

COOKIE = "llmos_tui"
LOGIN_BYTES = 4096
MESSAGE_BYTES = 2**20
"""A pasted text is one message."""
MAX_TERMINALS = 8
"""Each one is a process."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BrowserServer(Server):
    """One command, a process of it for each terminal."""

    def __init__(self, command: str, host: str, port: int, public_url: str, sessions: Sessions) -> None:
        """public_url: as it stands in the browser; the only one that is answered."""
        super().__init__(command, host=host, port=port, title="LLMOS", public_url=public_url.rstrip("/"))
        self._sessions = sessions
        self._num_terminals = 0
        self._netloc = urlsplit(self.public_url).netloc
        self._origin = f"{urlsplit(self.public_url).scheme}://{self._netloc}"

    def run(self) -> None:
        """Until it is interrupted. Textual-serve's own serve() would log local variables, keys among them."""
        logging.basicConfig(level="WARNING", format="%(message)s")
        web.run_app(self._make_app(), host=self.host, port=self.port, print=self._say_where, access_log=None)

    def _say_where(self, *_: object) -> None:
        """In place of what aiohttp would say, once it listens."""
        print(f"The terminal interface is at {self.public_url} for whoever has its key. Ctrl-C ends it.", flush=True)

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        app.middlewares.append(guard)
        app.router.add_post("/login", self._log_in)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Textual-serve's has a banner, and says what is run."""

    # The door

    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await self._answer(request, handler)
        if not response.prepared:
            response.headers.update(self._safe_headers())
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.host != self._netloc:
            return self._wrong_host(request)
        if request.path == "/login" and request.method == "POST":
            return await handler(request)
        if not self._is_let_in(request):
            return self._refuse(request)
        if request.path == "/ws":
            return await self._open_terminal(request, handler)
        return await handler(request)

    def _is_let_in(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._sessions.knows_key(token.strip())
        return self._sessions.is_good(request.cookies.get(COOKIE, ""))

    def _wrong_host(self, request: web.Request) -> web.StreamResponse:
        """A name that leads here and isn't ours may be another site's trick; of this machine's other names people are
        led to the right one."""
        if request.method == "GET" and request.path == "/" and is_this_machine(f"http://{request.host}"):
            return web.Response(status=307, headers={"Location": f"{self.public_url}/"})
        return web.Response(status=421, text=f"This is {self.public_url} and nothing else.\n")

    def _refuse(self, request: web.Request) -> web.StreamResponse:
        headers = {"WWW-Authenticate": "Bearer"}
        if request.path == "/" and request.method == "GET":
            return _html(login_page(), status=401, headers=headers)
        return web.Response(status=401, text="Show the key: Authorization: Bearer KEY\n", headers=headers)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        if self._sessions.is_locked:
            return _html(
                login_page("Too many wrong keys. Try again in a minute."), status=429, headers={"Retry-After": "60"}
            )
        if request.headers.get("Origin", self._origin) != self._origin:
            return web.Response(status=403, text="This page logs in from itself alone.\n")
        if (request.content_length or 0) > LOGIN_BYTES:
            return web.Response(status=413, text="No key is that long.\n")
        form = await request.post()
        cookie = self._sessions.log_in(str(form.get("key", ""))[:LOGIN_BYTES])
        if cookie is None:
            return _html(login_page("That is not the key."), status=401, headers={"WWW-Authenticate": "Bearer"})
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=int(SESSION_SECONDS),
            path="/",
            httponly=True,
            samesite="Strict",
            secure=self.public_url.startswith("https"),
        )
        return response

    async def _open_terminal(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A browser always sends an Origin; a program that shows the key itself needs none."""
        origin = request.headers.get("Origin")
        if origin != self._origin and not (origin is None and "Authorization" in request.headers):
            return web.Response(status=403, text=f"Only pages of {self._origin} may open a terminal.\n")
        if self._num_terminals >= MAX_TERMINALS:
            text = f"{MAX_TERMINALS} terminals are open, and no more may be.\n"
            return web.Response(status=503, text=text, headers={"Retry-After": "30"})
        self._num_terminals += 1
        try:
            return await handler(request)
        finally:
            self._num_terminals -= 1

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        """Textual-serve's page asks another site for its font, and has no keys before a click."""
        return _html(terminal_page(self._origin.replace("http", "ws", 1) + "/ws"))

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(heartbeat=15, max_msg_size=MESSAGE_BYTES)
        await websocket.prepare(request)
        terminal = Terminal(self.command, websocket, self.download_manager)
        try:
            await terminal.start(size_of(request, "width"), size_of(request, "height"))
            await self._process_messages(websocket, terminal)
        finally:
            await terminal.stop()
        return websocket

    def _safe_headers(self) -> dict[str, str]:
        """Nothing from outside is loaded or shown, and no other site frames this one."""
        sockets = self._origin.replace("http", "ws", 1)
        policy = (
            "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
            f"img-src 'self' data:; connect-src 'self' {sockets}; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        return {
            "Content-Security-Policy": policy,
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",  # With none a browser sends "Origin: null" from the login form.
            "Cache-Control": "no-store",
        }


def _html(text: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=text, status=status, headers=headers, content_type="text/html")
