"""The root package: what plugins import, loaded when it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import llmos_server


def test_importing_it_loads_no_library() -> None:
    """Programs and workers import it first."""
    code = (
        "import sys; before = set(sys.modules); import llmos_server; llmos_server.__version__; "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "['llmos_server']"


def test_every_name_is_there_for_programs_as_for_checkers() -> None:
    tree = ast.parse(Path(str(llmos_server.__file__)).read_text())
    typed = {
        alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    del typed["TYPE_CHECKING"], typed["import_module"]
    assert sorted(typed) == sorted(llmos_server.__all__)
    for name, module in typed.items():
        __import__(str(module))
        assert getattr(llmos_server, name) is getattr(sys.modules[str(module)], name)
    assert set(llmos_server.__all__) <= set(dir(llmos_server))


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Skil'"):
        _ = llmos_server.Skil  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        exec("from llmos_server import Skil")
