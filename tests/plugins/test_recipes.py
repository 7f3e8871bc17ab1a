"""Recipes of plugins: found as PLUGIN:NAME by `llmos tune` and the API, listed, and errors name what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmos_recipes import find_recipe, recipe_names

from llmos_server.cli import main
from llmos_server.errors import InvalidRequest
from llmos_server.plugins.host import PluginHost, load_plugins
from llmos_server.settings import PluginsSettings
from llmos_server.training.named_recipes import find_named_recipe, recipe_files
from llmos_server.training.recipe import read_recipe

RECIPE = "# trl sft --config short.yaml\n# Short answers. And more.\nlearning_rate: 1e-4\n"
HOOK = """
from pathlib import Path
@hookimpl
def register_recipes():
    return [Path(__file__).with_name("short.yaml")]
"""


def never() -> PluginHost:
    raise AssertionError("plugins are loaded for names that LLMOS doesn't have")


def test_two_plugins_may_have_the_same_name(write_plugin, load) -> None:
    for name in ("ours", "theirs"):
        (write_plugin(name, HOOK) / "short.yaml").write_text(RECIPE)
    host = load()
    assert [name for name in recipe_files(host) if ":" in name] == ["ours:short", "theirs:short"]
    path = find_named_recipe("theirs:short.yaml", lambda: host)
    assert (path.parent.name, read_recipe(path).values) == ("theirs", {"learning_rate": 1e-4})


def test_llmos_own_need_no_plugin() -> None:
    assert find_named_recipe("sft_lora", never) == find_recipe("sft_lora")


def test_an_unknown_name_is_told_what_there_is(write_plugin, load) -> None:
    (write_plugin("ours", HOOK) / "short.yaml").write_text(RECIPE)
    with pytest.raises(InvalidRequest, match=r"no recipe 'short'; there are causal_lm, .*, ours:short\.") as caught:
        find_named_recipe("short", load, "recipe")
    assert (caught.value.param, caught.value.code) == ("recipe", "unknown_recipe")


def test_a_file_that_isnt_there_is_the_plugins_fault(write_plugin, load) -> None:
    write_plugin("ours", HOOK)
    assert "short.yaml has to be a file" in load().plugins["ours"].reason


def test_all_are_listed(write_plugin, tmp_path: Path, monkeypatch, capsys) -> None:
    (write_plugin("ours", HOOK) / "short.yaml").write_text(RECIPE)
    (write_plugin("broken", HOOK) / "short.yaml").write_text(RECIPE.replace("rate", "speed"))
    monkeypatch.setenv("LLMOS_PLUGINS__FOLDERS", str(tmp_path / "plugins"))
    with pytest.raises(SystemExit):
        main(["tune", "--list"])
    listed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [line.split()[0] for line in listed[1 : len(recipe_names()) + 1]] == recipe_names()
    assert "ours:short sft Short answers" in listed
    assert next(line for line in listed if line.startswith("broken:short - can't be used: "))


def test_the_recipes_that_llmos_plugins_bring_are_read_by_us() -> None:
    host = load_plugins(PluginsSettings(enabled=("rewards",)))
    path = find_named_recipe("rewards:json_answers", lambda: host)
    assert path.read_text(encoding="utf-8").startswith("# trl grpo --config json_answers.yaml ")
    assert read_recipe(path).method == "grpo"
