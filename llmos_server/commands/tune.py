"""The verb tune: a recipe and a file of examples to a model that answers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from llmos_server.commands.plugins import load_here
from llmos_server.commands.shared import ConfigFlag, Switch, print_table, read_settings
from llmos_server.errors import InvalidRequest

if TYPE_CHECKING:
    from llmos_server.job_contracts import Job
    from llmos_server.settings import Settings
    from llmos_server.training.recipe import Recipe
    from llmos_server.training.spec import TuneSpec

OWN_KEYS = ("model_name_or_path", "dataset_name", "output_dir")
"""Of a recipe: what the flags --model, --data and --output say, too."""
TRAINING, VALIDATION, ACCELERATE = "training", "validation", "accelerate"
"""Files in the job's folder; their suffix is the original's."""


def tune(
    recipe: Annotated[str, Parameter(help="A YAML file in TRL's format, or a recipe's name, such as sft_lora.")] = "",
    /,
    *,
    model: Annotated[str | None, Parameter(help="The base; else the recipe's model_name_or_path.")] = None,
    data: Annotated[Path | None, Parameter(help="Examples, one JSON object a line; else its dataset_name.")] = None,
    validation: Annotated[Path | None, Parameter(help="Examples that aren't trained on, whose loss is told.")] = None,
    name: Annotated[str, Parameter(help="Ends the result's name; else a part of the job's id.")] = "",
    set: Annotated[
        list[str] | None, Parameter(help="key=value over the recipe's, as YAML; again for more.", negative="")
    ] = None,
    too_long: Annotated[
        Literal["refuse", "drop"], Parameter(help="What becomes of examples longer than max_length; none is cut.")
    ] = "refuse",
    processes: Annotated[int, Parameter(help="That share every batch on this machine; 0: one, or as FILE says.")] = 0,
    accelerate: Annotated[Path | None, Parameter(help="A file of accelerate: how processes share the run.")] = None,
    output: Annotated[Path | None, Parameter(help="Copy the finished adapter into this folder, too.")] = None,
    follow: Annotated[bool, Parameter(help="Wait for its end, and show how far it is.")] = True,
    list: Annotated[bool, Switch, Parameter(help="Name the recipes that there are, and do nothing else.")] = False,
    config: ConfigFlag = None,
) -> None:
    """Tune a model by a recipe. A server of this LLMOS_HOME runs the job; without one, this program does.

    Ctrl-C pauses the job: llmos jobs resume ID

    Example: llmos tune sft_lora --model smollm2:135m --data examples.jsonl --set num_train_epochs=5
    """
    from llmos_server.training.four_bit_keys import require_four_bits
    from llmos_server.training.methods.table import get_method
    from llmos_server.training.recipe import override

    if list:
        _list_recipes(config)
        return
    if not recipe:
        raise InvalidRequest("Which recipe? Name a file, or one of those that this lists: llmos tune --list")
    settings = read_settings(config)
    found = override(read(recipe, config), set or [])
    require_four_bits(found.values)
    own = {key: found.values.get(key) for key in OWN_KEYS}
    output = output or (Path(own["output_dir"]) if own["output_dir"] else None)
    data = data or (Path(own["dataset_name"]) if own["dataset_name"] else None)
    base = ""
    if get_method(found.method).needs_model:
        base = registry_name(settings, model or own["model_name_or_path"])
    elif model:
        raise InvalidRequest(f"{found.method} begins without a model: leave --model out.", param="model")
    spec = over_processes(make_spec(found, base, data, validation, too_long), processes, accelerate)
    job = make_job(spec, name)
    job_id = _enqueue(settings, job, {TRAINING: data, VALIDATION: validation, ACCELERATE: accelerate})
    print(f"llmos: the job is {job_id}", file=sys.stderr)
    if follow:
        from llmos_server.commands.jobs import follow_here

        follow_here(settings, config, job_id, output)


def read(recipe: str, config: Path | None = None) -> Recipe:
    """A file; else one that comes with LLMOS or a plugin."""
    from llmos_server.training.named_recipes import find_named_recipe
    from llmos_server.training.recipe import read_recipe

    path = Path(recipe)
    is_named = not path.is_file() and "/" not in recipe
    return read_recipe(find_named_recipe(recipe, partial(load_here, config)) if is_named else path)


def _list_recipes(config: Path | None) -> None:
    from llmos_server.training.named_recipes import describe_recipe, recipe_files
    from llmos_server.training.recipe import read_recipe

    def row(name: str, path: Path) -> tuple[str, str, str]:
        try:
            return name, read_recipe(path).method, describe_recipe(path)
        except InvalidRequest as error:
            return name, "-", f"can't be used: {error}"

    files = recipe_files(load_here(config))
    print_table([("RECIPE", "METHOD", "WHAT IT DOES"), *(row(name, path) for name, path in files.items())])


def registry_name(settings: Settings, name: str | None) -> str:
    """The base as the registry has it; `trl` writes a hub's repository without hf:, and a folder without file:."""
    from llmos_server.registry.registry import create_registry

    if not name:
        raise InvalidRequest("Which model is to be tuned? Give it with --model, such as --model smollm2:135m.")
    if Path(name).is_dir():
        name = f"file:{Path(name).resolve()}"
    elif "/" in name and ":" not in name:
        name = f"hf:{name}"
    return create_registry(settings).get(name).name


def make_spec(
    recipe: Recipe, model: str, data: Path | None, validation: Path | None, too_long: Literal["refuse", "drop"]
) -> TuneSpec:
    """Without a suffix."""
    from llmos_server.training.spec import TuneSpec

    if data is None:
        raise InvalidRequest("There is no training file: give one with --data FILE.", param="training_file")
    values: dict[str, Any] = {key: value for key, value in recipe.values.items() if key not in OWN_KEYS}
    if tokenizer := values.get("tokenizer_name"):  # The job's process may work in another folder.
        values["tokenizer_name"] = str(Path(tokenizer).expanduser().resolve())
    if validation is not None and values.get("eval_strategy", "no") == "no":
        values["eval_strategy"] = "epoch"
    return TuneSpec(
        method=recipe.method,
        model=model,
        values=values,
        auto=tuple(sorted(recipe.auto)),
        training_file=TRAINING + data.suffix,
        validation_file="" if validation is None else VALIDATION + validation.suffix,
        too_long=too_long,
    )


def over_processes(spec: TuneSpec, processes: int, accelerate: Path | None) -> TuneSpec:
    """accelerate: one of its files. Raises InvalidRequest for what can't be run so."""
    import msgspec

    from llmos_server.training.launch_file import read_launch_file

    if processes < 0:
        raise InvalidRequest(f"--processes {processes}: is no number of processes.", param="processes")
    if (processes or accelerate) and spec.method == "tokenizer":
        raise InvalidRequest("A tokenizer is trained by one process: leave --processes out.", param="processes")
    if accelerate is None:
        return msgspec.structs.replace(spec, processes=processes)
    read_launch_file(accelerate, processes)
    return msgspec.structs.replace(spec, processes=processes, accelerate=ACCELERATE + accelerate.suffix)


def make_job(spec: TuneSpec, suffix: str) -> Job:
    """Of nobody's: its result is everybody's on this server."""
    import time
    import uuid

    import msgspec

    from llmos_server.job_contracts import Job

    number = uuid.uuid4().hex[:24]
    spec = msgspec.structs.replace(spec, suffix=suffix or f"ft-{number[:8]}")
    return Job(
        id=f"ftjob-{number}",
        kind="tune",
        owner="",
        title=f"{spec.model or spec.method}:{spec.suffix}",
        payload=msgspec.json.encode(spec),
        created=time.time_ns() // 1_000_000,
    )


def _enqueue(settings: Settings, job: Job, files: Mapping[str, Path | None]) -> str:
    """files: by their names in the job's folder, without the suffix."""
    import asyncio
    import shutil

    from llmos_server.local_jobs import add_job

    def fill(folder: Path) -> None:
        for name, source in files.items():
            if source is not None:
                shutil.copyfile(source, folder / f"{name}{source.suffix}")

    for path in files.values():
        if path is not None and not path.is_file():
            raise InvalidRequest(f"{path}: there is no such file.")
    asyncio.run(add_job(settings, job, fill))
    return job.id
