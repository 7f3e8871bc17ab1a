"""Tuning recipes: YAML files in TRL's own format, found by name. docs/tuning.md tells what each is for."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def recipe_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_recipe(name: str) -> Path | None:
    """The file of a recipe that comes with LLMOS: "sft_lora", with or without .yaml. None if there is none."""
    stem = name.removesuffix(".yaml")
    return FOLDER / f"{stem}.yaml" if stem in recipe_names() else None
