"""The verbs about this machine and this installation: doctor, version."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from llmos_server import __version__
from llmos_server.commands.shared import ConfigFlag, Switch, print_json, read_settings
from llmos_server.commands.where import ServerUrl, find_server, on_server


def doctor(
    *,
    json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False,
    url: ServerUrl = None,
    config: ConfigFlag = None,
) -> int:
    """Check the running server and its machine; where none runs, this machine and this installation.

    The exit status is 1 if something keeps LLMOS from serving.

    Example: llmos doctor
    """
    import msgspec

    from llmos_server.doctor import has_failed, print_findings, run_checks
    from llmos_server.finding import Finding

    root = find_server(url, config)
    if root is None:
        findings = run_checks(read_settings(config))
    else:
        findings = msgspec.convert(on_server(root, "GET", "/admin/v1/doctor")["data"], list[Finding])
    if json:
        print_json(findings)
    else:
        print_findings(findings)
    return 1 if has_failed(findings) else 0


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
