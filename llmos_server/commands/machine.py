"""The verbs about this machine and this installation: doctor, version."""

from __future__ import annotations

import sys

from llmos_server import __version__
from llmos_server.commands.shared import ConfigFlag, read_settings


def doctor(*, config: ConfigFlag = None) -> int:
    """Check this machine and this installation. Exit status 1 if something keeps LLMOS from serving.

    Example: llmos doctor
    """
    from llmos_server.doctor import print_findings, run_checks

    return print_findings(run_checks(read_settings(config)))


def version() -> None:
    """Print the versions of LLMOS, Python and torch.

    Example: llmos version
    """
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        torch = installed("torch")
    except PackageNotFoundError:
        torch = "missing"
    print(f"llmos {__version__}, Python {sys.version.split()[0]}, torch {torch}")
