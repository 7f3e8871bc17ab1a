"""`hf:org/name[@revision][/file.gguf]`, through huggingface_hub. Never waits long for a hub that doesn't answer."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from llmos_server.errors import PullError
from llmos_server.registry.byte_level_tokenizer import BYTE_LEVEL_FILES, VOCABULARY
from llmos_server.registry.disk import folder_bytes, is_full, make_folder, require_space, watch_folder
from llmos_server.registry.encoder_folders import ENCODER_FILES, is_encoder, pooling_file
from llmos_server.registry.folder_import import import_configs
from llmos_server.registry.folders import INDEX, PICKLES, find_shards, shard_names
from llmos_server.registry.importing import CONFIG_FILES
from llmos_server.registry.json_files import read_json
from llmos_server.registry.names import HubReference
from llmos_server.registry.progress import Progress
from llmos_server.registry.remote_code import NO_CODE, CodeRule, code_files
from llmos_server.registry.sentencepiece_tokenizer import SENTENCEPIECE
from llmos_server.registry.sources.base import Fetched

T = TypeVar("T")


class HubSource:
    """timeout: seconds for connecting and for each answer about a repository. endpoint: None takes the library's."""

    def __init__(self, timeout: float, endpoint: str | None = None) -> None:
        self._timeout = timeout
        self._endpoint = endpoint

    def fetch(self, reference: HubReference, staging: Path, progress: Progress, rule: CodeRule = NO_CODE) -> Fetched:
        """Download the weights, config, tokenizer and template, or one .gguf, and nothing else; where the rule names
        the repository, its Python files, too.

        staging: a folder of ours; files that an interrupted pull left there are resumed.
        Raises PullError with the reason, UnsupportedModel before the weights when config.json can't be served.
        """
        progress.say(f"Asking the hub for {reference.repo}")
        info = self._ask(reference)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        if not re.fullmatch("[0-9a-f]{40}", info.sha or ""):
            raise PullError(f"{reference}: the hub answered without a commit.")
        folder = make_folder(staging / info.sha)
        if reference.file is not None:
            weights = [_existing(reference, sizes)]
        else:
            weights = self._fetch_configs(reference, info.sha, sizes, folder, rule, progress)
        missing = sum(sizes[name] for name in weights) - folder_bytes(folder)
        require_space(folder, max(missing, 0), str(reference))
        with (
            progress.track(f"Downloading {reference.repo}", sum(sizes[name] for name in weights)) as track,
            watch_folder(folder, track),
        ):
            for name in weights:
                self._download(reference, info.sha, name, folder, progress)
        promised = {file.rfilename: file.lfs.sha256 for file in info.siblings or () if file.lfs is not None}
        paths = tuple(folder / name for name in weights) if reference.file is not None else tuple(find_shards(folder))
        return Fetched(
            weights=paths,
            config_folder=None if reference.file is not None else folder,
            expected_sha256={folder / name: promised[name] for name in weights if name in promised},
        )

    def _ask(self, reference: HubReference) -> Any:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self._endpoint)
        return _within(
            2 * self._timeout,
            lambda: _translated(
                reference,
                lambda: api.model_info(
                    reference.repo, revision=reference.revision, files_metadata=True, timeout=self._timeout
                ),
            ),
            f"{reference}: the hub at {api.endpoint} did not answer within {2 * self._timeout:g} s.",
        )

    def _fetch_configs(
        self,
        reference: HubReference,
        sha: str,
        sizes: dict[str, int],
        folder: Path,
        rule: CodeRule,
        progress: Progress,
    ) -> list[str]:
        """Download the small files, refuse what can't be served, and say which weight files are needed."""
        other_tokenizer = () if "tokenizer.json" in sizes else (SENTENCEPIECE, *BYTE_LEVEL_FILES)
        code = code_files(sizes) if rule.is_named else ()
        for name in (*CONFIG_FILES, INDEX, *ENCODER_FILES, *other_tokenizer, *code):
            if name in sizes:
                self._download(reference, sha, name, folder, progress)
        if (pooling := pooling_file(folder)) in sizes:
            self._download(reference, sha, pooling, folder, progress)
        top_level = sorted(name for name in sizes if name.endswith(".safetensors") and "/" not in name)
        if not top_level:
            raise _no_safetensors(reference, sizes)
        self._check(reference, sizes, folder, rule)
        if INDEX in sizes:
            weights = sorted(shard_names(folder / INDEX))
        else:
            weights = ["model.safetensors"] if "model.safetensors" in sizes else top_level
        absent = [name for name in weights if name not in sizes]
        if absent:
            raise PullError(f"{reference}: {INDEX} names {absent[0]}, which the repository doesn't have.")
        return weights

    @staticmethod
    def _check(reference: HubReference, sizes: dict[str, int], folder: Path, rule: CodeRule) -> None:
        """Refuse what can't be served before its weights are fetched: by importing what is there already."""
        read_json(folder / "config.json", f"{reference} is no model in the Hugging Face layout.")
        tokenizers = ["tokenizer.json", VOCABULARY, "vocab.txt" if is_encoder(folder) else SENTENCEPIECE]
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            try:
                import_configs(folder, Path(scratch), rule)
            except PullError as error:
                if any(name in sizes for name in tokenizers):
                    raise
                raise PullError(
                    f"{reference}: has no {' or '.join(tokenizers)}, and other tokenizer files are not read."
                ) from error

    def _download(self, reference: HubReference, sha: str, name: str, folder: Path, progress: Progress) -> None:
        from huggingface_hub import hf_hub_download

        progress.check()
        _translated(
            reference,
            lambda: hf_hub_download(
                reference.repo,
                name,
                revision=sha,
                local_dir=folder,
                etag_timeout=self._timeout,
                endpoint=self._endpoint,
                tqdm_class=_no_bars(progress),
            ),
        )


def _no_bars(progress: Progress) -> Any:
    """The library's own bars, switched off: ours are shown. What it tells them is where a download can be ended."""
    from huggingface_hub.utils.tqdm import tqdm

    class Silent(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            progress.check()
            return None

    return Silent


def _existing(reference: HubReference, sizes: dict[str, int]) -> str:
    assert reference.file is not None
    if reference.file not in sizes:
        raise PullError(f"{reference}: the repository has no such file. {_offer_gguf(reference, sizes)}".strip())
    return reference.file


def _no_safetensors(reference: HubReference, sizes: dict[str, int]) -> PullError:
    offer = _offer_gguf(reference, sizes)
    if not offer and any(name.endswith(PICKLES) for name in sizes):
        offer = "It has pickled weights only, which can run code when they are loaded, so they are refused."
    return PullError(f"{reference}: the repository has no .safetensors files. {offer}".strip())


def _offer_gguf(reference: HubReference, sizes: dict[str, int]) -> str:
    names = sorted(name for name in sizes if name.endswith(".gguf"))
    listed = ", ".join(names[:20])
    return f"Name one of its GGUF files, hf:{reference.repo}/FILE: {listed}." if names else ""


def _translated(reference: HubReference, call: Callable[[], T]) -> T:
    """Run a call of the library; what it raises becomes a PullError in plain words. A full disk stays an OSError."""
    from huggingface_hub import errors

    try:
        return call()
    except errors.GatedRepoError:
        reason = "its owner wants you to accept terms: do so on its page, then set HF_TOKEN to a token of yours."
    except errors.RepositoryNotFoundError:
        reason = "no such repository, or a private one: check the name, or set HF_TOKEN to a token that may read it."
    except errors.RevisionNotFoundError:
        reason = "the repository has no such revision."
    except errors.OfflineModeIsEnabled:
        reason = "the hub is switched off by HF_HUB_OFFLINE; unset it to download."
    except PullError:
        raise
    except OSError as error:
        if is_full(error):
            raise
        reason = _unread(error)
    except Exception as error:  # the library raises its HTTP client's errors too, which are not part of its interface
        reason = _unread(error)
    raise PullError(f"{reference}: {reason}")


def _unread(error: Exception) -> str:
    return f"the hub could not be read: {(str(error).strip() or type(error).__name__).splitlines()[0]}"


def _within(seconds: float, call: Callable[[], T], late: str) -> T:
    """Bound a call whose time-outs don't cover everything (resolving a name can take minutes)."""
    results: list[T] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=work, name="hub-request", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not results:
        raise PullError(late)
    return results[0]
