"""`python -m llmos_server` is `llmos`."""

from __future__ import annotations

from llmos_server.cli import main

if __name__ == "__main__":
    main()
