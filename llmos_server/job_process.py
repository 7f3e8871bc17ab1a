"""A job's process: `python -m llmos_server.job_process`, started by the server with its configuration on stdin.

The one place that knows which code does which kind of jobs.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping

import msgspec

from llmos_server.jobs.process import NICE, Code, run_job, stop_when_told
from llmos_server.jobs.process_config import ProcessConfig
from llmos_server.logs import configure_logging

CODE: Mapping[str, str] = {
    "batch": "llmos_server.batches.job:run",
    "eval": "llmos_server.evaluation.job:run",
    "tune": "llmos_server.training.job:run",
}
"""module:function of each kind; imported in that kind's processes alone."""


def main(code: Mapping[str, str] = CODE) -> None:
    os.nice(NICE)
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        config = msgspec.json.decode(stdin.readline(), type=ProcessConfig)
    configure_logging(config.settings.log, sys.stderr)
    run_job(config, lambda kind: find_code(code, kind), stop_when_told)


def find_code(code: Mapping[str, str], kind: str) -> Code:
    module, _, name = code[kind].partition(":")
    found: Code = getattr(importlib.import_module(module), name)
    return found


if __name__ == "__main__":
    main()
