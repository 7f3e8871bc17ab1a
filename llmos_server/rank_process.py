"""A rank's process: `python -m llmos_server.rank_process FOLDER`, started by a launcher that sets RANK. FOLDER is where
its leader, the job's process, has a pipe for each rank.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from llmos_server.job_process import find_code
from llmos_server.jobs.joining import join_job
from llmos_server.jobs.process import stop_when_told
from llmos_server.jobs.process_config import ProcessConfig
from llmos_server.jobs.ranks import connect
from llmos_server.logs import configure_logging

CODE: Mapping[str, str] = {"tune": "llmos_server.training.job:run_rank"}
"""module:function of the kinds that run as several processes."""


def main(folder: Path) -> int:
    """Its exit status."""
    rank = int(os.environ["RANK"])
    connect(folder, rank)
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        config = msgspec.json.decode(stdin.readline(), type=ProcessConfig)
    configure_logging(config.settings.log, sys.stderr)
    return join_job(config, rank, folder, lambda kind: find_code(CODE, kind), stop_when_told)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
