"""Makes engine_fakes importable: it is also the worker script of the client's tests, so it stays a plain file."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
