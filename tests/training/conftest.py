"""A tiny model in a home of its own, and files of examples."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for tiny_model
sys.path.insert(0, str(Path(__file__).parent.parent))  # for job_fakes
