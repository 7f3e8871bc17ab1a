"""Which decoders the installed Transformers has, without importing it: that would bring torch into this process."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
from pathlib import Path

TABLE = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"
TABLE_FILE = Path("models", "auto", "modeling_auto.py")


@functools.cache
def causal_types() -> frozenset[str] | None:
    """Values of model_type that generate text, read off the library's source. None when that can't be found: then the
    worker, which imports it, decides alone.
    """
    spec = importlib.util.find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        return None
    try:
        tree = ast.parse(Path(spec.submodule_search_locations[0], TABLE_FILE).read_text(encoding="utf-8"))
        [table] = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [TABLE]
        ]
        assert isinstance(table, ast.Call)
        return frozenset(dict(ast.literal_eval(table.args[0])))
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, AssertionError):
        return None


def transformers_version() -> str:
    try:
        return importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
