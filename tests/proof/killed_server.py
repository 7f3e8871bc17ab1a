"""A server's part in jobs, in a process that a test kills: `python killed_server.py HOME`. Its jobs are real ones."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

from job_servers import serve_for_ever

from llmos_server.jobs.launcher import SubprocessJobs

if __name__ == "__main__":
    asyncio.run(serve_for_ever(Path(sys.argv[1]), SubprocessJobs(), max_attempts=1000, threads=1))
