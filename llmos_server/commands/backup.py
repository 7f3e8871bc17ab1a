"""The verbs backup and restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, read_settings


def backup(
    file: Annotated[
        Path | None, Parameter(help="Where to; a folder takes a file with today's date. This folder without it.")
    ] = None,
    /,
    *,
    weights: Annotated[bool, Switch, Parameter(help="The models' weights, too; else they are pulled again.")] = False,
    config: ConfigFlag = None,
) -> None:
    """Copy keys, usage, settings and models into one file, also while a server runs.

    Example: llmos backup /backups
    """
    import time

    from llmos_server.backup.create import create_backup

    target = file or Path()
    if target.is_dir():
        target /= time.strftime("llmos-backup-%Y%m%d-%H%M%S.tar")
    manifest = create_backup(read_settings(config), target.absolute(), with_weights=weights)
    print(f"{target}: {len(manifest.members)} files, {sum(m.size for m in manifest.members.values())} bytes")


def restore(
    file: Annotated[Path, Parameter(help="A backup.")],
    /,
    *,
    config: ConfigFlag = None,
) -> None:
    """Put a backup in place of what is under LLMOS_HOME. No server may run; what was there is kept aside.

    Example: llmos restore llmos-backup-20261124-120000.tar
    """
    from llmos_server.backup.archive import DATABASE
    from llmos_server.backup.restore import restore_backup
    from llmos_server.commands.shared import format_time

    done = restore_backup(read_settings(config), file.absolute())
    print(f"{file}: restored {len(done.manifest.members)} files. What was there before is in {done.aside}")
    if DATABASE in done.manifest.members:
        made = format_time(done.manifest.created)
        print(f"Keys are as on {made}: what was revoked since is valid again. `llmos keys list` shows them.")
    if done.missing_blobs:
        print(f"Weights of {len(done.missing_blobs)} files aren't here. Fetch them again with `llmos pull`.")
