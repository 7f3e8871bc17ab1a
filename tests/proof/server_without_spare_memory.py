"""`llmos serve` on a machine whose memory is all the models': what jobs take, these have to give."""

from __future__ import annotations

from llmos_server import app
from llmos_server.cli import main

app.available_memory = lambda: 0  # type: ignore[assignment]

if __name__ == "__main__":
    main()
