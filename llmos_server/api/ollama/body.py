"""Bodies of Ollama's API: JSON, whatever a program says that it sends, as in `curl -d` without a header."""

from __future__ import annotations

from typing import Any, TypeVar

from llmos_server.api.bodies.body import WireBody

T = TypeVar("T")

_OF_BROWSERS = ("origin", "sec-fetch-site", "sec-fetch-mode")


class OllamaBody(WireBody[T]):
    """Ollama reads any type, and its documentation's examples send none. A web page may post forms and plain text
    anywhere without asking, so what a browser sends still has to be declared as JSON."""

    def check_type(self) -> None:
        """Raises UnsupportedMediaType."""
        if any(name in self.asgi_connection.headers for name in _OF_BROWSERS):
            super().check_type()

    def to_struct(self, fields: dict[str, Any]) -> T:
        """Whole numbers may be written as 5.0, as Ollama reads them."""
        if isinstance(options := fields.get("options"), dict):
            whole = {k: int(v) for k, v in options.items() if isinstance(v, float) and v.is_integer()}
            fields = {**fields, "options": {**options, **whole}}
        return super().to_struct(fields)
