from __future__ import annotations

import subprocess
import sys

import pytest

from llmos_server.api.http.web_server import create_config
from llmos_server.settings import ApiSettings

CODE = """
import resource
from llmos_server.api.http.web_server import WANTED_FILES, raise_file_limit
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
raise_file_limit()
soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
print(soft == (WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)))
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
raise_file_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (256, 256))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_the_soft_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_no_websocket_is_taken(api) -> None:
    config = create_config(api.app, ApiSettings())
    config.load()
    assert config.ws_protocol_class is None
