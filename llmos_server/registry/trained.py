"""Models that were trained here: a folder with weights and config becomes a version of the registry."""

from __future__ import annotations

import re
import time
from pathlib import Path

from llmos_server.contracts import ModelVersion
from llmos_server.errors import InvalidRequest
from llmos_server.registry.disk import make_folder, sha256_file
from llmos_server.registry.folder_import import import_configs
from llmos_server.registry.folders import find_shards
from llmos_server.registry.library import Library, model_digest
from llmos_server.registry.names import WORD, HubReference, ShortName, parse_name
from llmos_server.registry.parameters import count_elements
from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.remote_code import NO_CODE


def trained_name(base: str, suffix: str) -> str:
    """What a model is called that was made of `base`: "smollm2:135m" and "tidy" give "smollm2-135m:tidy".

    Behind a base's own name, the suffix would be an adapter's. Raises InvalidRequest for what can't be part of a name.
    """
    if len(suffix) > 64 or not re.fullmatch(WORD, suffix):
        raise InvalidRequest(
            f"{suffix[:100]!r} can't end a model's name: take 1 to 64 letters, digits, '.', '_' and '-', a letter or a "
            "digit first and last.",
            param="suffix",
        )
    parsed = parse_name(base)
    if isinstance(parsed, ShortName):
        word = "-".join(part for part in (parsed.name, parsed.tag) if part)
    elif isinstance(parsed, HubReference):
        word = parsed.repo.partition("/")[2]
    else:
        word = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(base.rpartition(":")[2]).name).strip("-._") or "model"
    return f"{word}:{suffix}"


def staged_version(name: str, folder: Path) -> ModelVersion:
    """What lies in `folder`, weights and config together, as an engine loads it; nothing answers to it yet.

    Raises PullError or UnsupportedModel with the reason.
    """
    shards = find_shards(folder)
    configs = make_folder(folder / "import")
    kind, context_length = import_configs(folder, configs, NO_CODE)
    digests = [sha256_file(path, QuietProgress(), path.name) for path in shards]
    elements = count_elements(shards)
    return ModelVersion(
        name=name,
        source=name,
        digest=model_digest(configs, digests),
        folder=str(configs),
        weights=[str(path) for path in shards],
        context_length=context_length,
        size_bytes=sum(path.stat().st_size for path in shards),
        created=int(time.time()),
        kind=kind,
        num_parameters=sum(elements.values()),
        elements=elements,
    )


def publish_trained(library: Library, staged: ModelVersion) -> ModelVersion:
    """Its name leads to it from now on. What `staged` consists of is moved away."""
    library.staging(staged.name)
    with library.lock(staged.name, QuietProgress()):
        weights = [Path(path) for path in staged.weights]
        digests = [sha256_file(path, QuietProgress(), path.name) for path in weights]
        return library.publish(
            staged.name,
            staged.source,
            Path(staged.folder),
            list(zip(weights, digests, strict=True)),
            {},
            kind=staged.kind,
            context_length=staged.context_length,
            elements=staged.elements,
        )
