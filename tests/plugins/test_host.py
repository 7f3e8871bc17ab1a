"""Plugins are found, checked and loaded one by one; what is wrong with one is told by its name and hurts no other."""

from __future__ import annotations

import subprocess
import sys
import threading

import llmos_plugins
import pytest

from llmos_server.errors import SettingsError
from llmos_server.plugins import hookspecs
from llmos_server.plugins.host import PluginHost, load_plugins
from llmos_server.plugins.loading import TYPES
from llmos_server.plugins.model_names import with_model_names
from llmos_server.settings import ModelsSettings, PluginsSettings, Settings, load_settings

NAMES = """
@hookimpl
def register_models():
    return [ModelName(name="mine", reference="smollm2:135m")]
"""
WITH_SETTINGS = """
import msgspec
class Settings(msgspec.Struct):
    label: str = "x"
    limit: int = 3
settings_type = Settings
@hookimpl
def register_models(settings):
    return [ModelName(name=settings.label, reference=f"hf:org/m{settings.limit}")]
"""


def only(host: PluginHost):
    [plugin] = host.plugins.values()
    return plugin


def test_a_folder_is_a_plugin_or_holds_some(write_plugin, load, tmp_path):
    folder = write_plugin("first", NAMES)
    assert [offer.name for offer in load().offers("register_models")] == ["mine"]
    alone = load_plugins(PluginsSettings(folders=(str(folder),)), built_in=False)
    assert only(alone).source == f"folder {folder}"
    with pytest.raises(SettingsError, match=r"holds no plugin\.py"):
        load_plugins(PluginsSettings(folders=(str(tmp_path),)), built_in=False)


def test_a_folders_files_import_each_other(write_plugin, load):
    write_plugin("first", "from .words import NAME\n" + NAMES.replace('"mine"', "NAME"), words='NAME = "theirs"')
    assert [offer.name for offer in load().offers("register_models")] == ["theirs"]


def test_an_installed_package_is_found_by_its_entry_point(tmp_path, monkeypatch):
    (tmp_path / "shouting.py").write_text('from llmos_server import *\nhook_api = "1"\n' + NAMES)
    meta = tmp_path / "llmos_shouting-0.3.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: llmos-shouting\nVersion: 0.3\n")
    (meta / "entry_points.txt").write_text("[llmos]\nshouting = shouting\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = only(load_plugins(PluginsSettings(), built_in=False))
    assert (plugin.name, plugin.source, plugin.version) == ("shouting", "package llmos-shouting", "0.3")
    assert plugin.state == "on"
    sys.modules.pop("shouting")


def test_what_llmos_brings_is_found_first(write_plugin, tmp_path, monkeypatch):
    own = tmp_path / "own/first"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("")
    (own / "plugin.py").write_text('from llmos_server import *\nhook_api = "1.0"\n' + NAMES)
    monkeypatch.setattr(llmos_plugins, "__path__", [str(tmp_path / "own")])
    host = load_plugins(PluginsSettings(folders=(str(write_plugin("second", NAMES)),)))
    assert next(iter(host.plugins.values())).source == "built-in"
    assert [offer.plugin for offer in host.offers("register_models")] == ["first"]
    sys.modules.pop("llmos_plugins.first.plugin")
    sys.modules.pop("llmos_plugins.first")


@pytest.mark.parametrize(
    ("api", "words"),
    [
        ('"2.0"', ["version 2.0", "this server has 1.2", "install a version of the plugin for 1.x"]),
        ('"1.9"', ["needs version 1.9", "update the server"]),
        ('"one"', ["'one'", 'write "1.2"']),
        ("", ['add hook_api = "1.2"']),
    ],
)
def test_another_version_of_the_hooks_is_refused_by_name(write_plugin, load, api, words):
    write_plugin("old", NAMES, api=api)
    write_plugin("young", NAMES)
    host = load()
    assert host.plugins["old"].state == "refused"
    for word in words:
        assert word in host.plugins["old"].reason
    assert [offer.plugin for offer in host.offers("register_models")] == ["young"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("1/0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit", "CallEnded: SystemExit"),
        ("@hookimpl\ndef register_skils(): return []", "there is no hook 'register_skils'"),
        ("@hookimpl\ndef register_models(what): return []", "{'what'} are declared"),
        ("@hookimpl\ndef register_models(): return None", "returned NoneType; it has to return a list of ModelName"),
        ("@hookimpl\ndef register_models(): return ['x']", "returned a str in its list"),
        ("@hookimpl(wrapper=True)\ndef register_models():\n    yield", "wrapper of other plugins' hooks"),
        ("@hookimpl\ndef register_models(): raise ValueError('no')", "ValueError: no"),
    ],
)
def test_a_broken_plugin_is_refused_and_counted(write_plugin, load, code, reason):
    write_plugin("bad", code)
    write_plugin("good", NAMES)
    host = load()
    assert host.plugins["bad"].state == "refused"
    assert reason in host.plugins["bad"].reason
    assert host.plugins["bad"].offers == []
    assert host.plugins["good"].state == "on"
    assert sum(host.failures.counts.values()) == 1


def test_a_plugin_that_blocks_its_import_is_left_behind(write_plugin, load):
    write_plugin("slow", "import llmos_test_gate\nllmos_test_gate.wait()\n")
    write_plugin("quick", NAMES)
    gate = threading.Event()
    sys.modules["llmos_test_gate"] = gate  # type: ignore[assignment]
    try:
        host = load(load_seconds=0.5)
    finally:
        gate.set()
        del sys.modules["llmos_test_gate"]
    assert "longer than plugins.load_seconds (0.5 s)" in host.plugins["slow"].reason
    assert host.plugins["quick"].state == "on"
    assert host.failures.counts["slow", "load", "timeout"] == 1


def test_the_first_of_two_with_one_name_counts(write_plugin, load, tmp_path):
    write_plugin("twice", NAMES)
    other = tmp_path / "more" / "twice"
    other.mkdir(parents=True)
    (other / "plugin.py").write_text("raise AssertionError")
    folders = (str(tmp_path / "plugins"), str(other))
    host = load_plugins(PluginsSettings(folders=folders), built_in=False)
    assert [plugin.state for plugin in host.plugins.values()] == ["on", "refused"]
    assert "another plugin has this name" in list(host.plugins.values())[1].reason


def test_the_first_of_two_that_offer_the_same_counts(write_plugin, load):
    write_plugin("a", NAMES)
    write_plugin("b", NAMES)
    host = load()
    assert host.plugins["b"].state == "refused"
    assert "'mine' is taken by the plugin 'a'" in host.plugins["b"].reason


def test_plugins_can_be_left_out(write_plugin, load):
    write_plugin("a", NAMES)
    write_plugin("b", "raise AssertionError")
    assert load(disabled=("b",)).plugins["b"].state == "disabled"
    assert load(enabled=("a",)).plugins["b"].state == "disabled"
    for setting in ("disabled", "enabled"):
        with pytest.raises(SettingsError, match=rf"plugins\.{setting}: there is no plugin 'c'"):
            load(**{setting: ("c",)})


def test_settings_of_its_own(write_plugin, load, tmp_path):
    write_plugin("named", WITH_SETTINGS)
    config = tmp_path / "config.toml"
    config.write_text('[plugins.named]\nlabel = "from-file"\n')
    env = {"LLMOS_CONFIG": str(config), "LLMOS_PLUGINS__NAMED__LIMIT": "7"}
    options = load_settings(env=env).plugins.options
    assert options == {"named": {"label": "from-file", "limit": "7"}}
    [offer] = load(options=options).offers("register_models")
    assert (offer.name, offer.value.reference) == ("from-file", "hf:org/m7")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"named": {"lable": "x"}}, r"Unknown key plugins\.named\.lable\. Did you mean 'label'\?"),
        ({"named": {"limit": "many"}}, r"plugins\.named: .*\$\.limit"),
        ({"nmaed": {}}, r"there is no plugin 'nmaed'\. Did you mean 'named'"),
    ],
)
def test_wrong_settings_are_refused_by_their_key(write_plugin, load, options, words):
    write_plugin("named", WITH_SETTINGS)
    with pytest.raises(SettingsError, match=words):
        load(options=options)


def test_settings_of_a_plugin_without_any_are_refused(write_plugin, load):
    write_plugin("plain", NAMES)
    with pytest.raises(SettingsError, match=r"plugins\.plain\.x: this plugin has no settings"):
        load(options={"plain": {"x": 1}})


def test_order_follows_the_marks(write_plugin, load):
    code = "@hookimpl({mark})\ndef register_models(): return [ModelName(name='{name}', reference='hf:o/n')]"
    for name, mark in (("a", "trylast=True"), ("b", ""), ("c", "tryfirst=True"), ("d", "")):
        write_plugin(name, code.format(mark=mark, name=name))
    assert [offer.name for offer in load().offers("register_models")] == ["c", "b", "d", "a"]


def test_every_hook_says_where_it_runs():
    specs = {name: value for name, value in vars(hookspecs).items() if name.startswith("register_")}
    assert set(specs) == set(TYPES)
    for name, spec in specs.items():
        told = (spec.__doc__ or "").lower()
        assert any(word in told for word in ("thread", "listed", "read once", "in that program", "in the process")), (
            name
        )


def test_a_plugin_that_ends_the_process_is_named_at_the_next_start(write_plugin, load, tmp_path):
    write_plugin("a", NAMES)
    folder = write_plugin("crashing", "import os\nos._exit(7)\n")
    note = tmp_path / "plugins.crashed"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from llmos_server.plugins.host import load_plugins\n"
        "from llmos_server.settings import PluginsSettings\n"
        "load_plugins(PluginsSettings(folders=(sys.argv[1],)), built_in=False, crash_note=Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", code, str(folder.parent), str(note)]
    assert subprocess.run(command, check=False, timeout=120).returncode == 7
    assert note.read_text() == "crashing\n"
    settings = PluginsSettings(folders=(str(folder.parent),))
    host = load_plugins(settings, built_in=False, crash_note=note)
    assert host.plugins["a"].state == "on"
    assert "a server ended while it was loaded" in host.plugins["crashing"].reason
    assert str(note) in host.plugins["crashing"].reason
    note.unlink()
    (folder / "plugin.py").write_text('hook_api = "1.0"')
    assert load_plugins(settings, built_in=False, crash_note=note).plugins["crashing"].state == "on"
    assert not note.exists()


def test_the_operators_names_of_models_win(write_plugin, load):
    write_plugin("a", NAMES)
    code = "@hookimpl\ndef register_models(): return [ModelName(name='taken', reference='hf:o/n')]"
    write_plugin("b", code)
    settings = Settings(models=ModelsSettings(aliases={"taken": "smollm2:135m"}))
    aliases = with_model_names(settings, load()).models.aliases
    assert aliases == {"mine": "smollm2:135m", "taken": "smollm2:135m"}
