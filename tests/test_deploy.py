"""deploy/ agrees with the program: ports, times, names of metrics and settings. Nothing is built or started here."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclopts import App

from llmos_server.api.accounting.no_store import NoLedger
from llmos_server.api.metrics.fleet_metrics import FleetCollector
from llmos_server.api.metrics.server_metrics import PREFIX, Metrics
from llmos_server.api.served import ModelDirectory
from llmos_server.cli import app
from llmos_server.fleet_contracts import FleetStatus
from llmos_server.settings import Settings, load_settings

METRIC = re.compile(r"llmos:\w+")
SUFFIXES = ("_bucket", "_sum", "_count", "_total")


@pytest.fixture(scope="module")
def deploy(project: Path) -> Path:
    return project / "deploy"


@pytest.fixture(scope="module")
def compose(deploy: Path) -> dict[str, Any]:
    return load(deploy / "compose.yaml")


@pytest.fixture(scope="module")
def unit(deploy: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((deploy / "llmos.service").read_text(encoding="utf-8"))
    return parser


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def expressions(deploy: Path) -> list[str]:
    """Of every alert and every panel."""
    rules = load(deploy / "alerts.yml")["groups"][0]["rules"]
    dashboard = json.loads((deploy / "grafana-dashboard.json").read_text(encoding="utf-8"))
    targets = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [item["query"]["query"] for item in dashboard["templating"]["list"] if item["type"] == "query"]
    return [rule["expr"] for rule in rules] + targets + variables


class NoModels:
    """A fleet of nothing."""

    def status(self) -> FleetStatus:
        return FleetStatus(budget_bytes=1, used_bytes=0, models=[])


def exposed() -> set[str]:
    """The families that /metrics declares; a counter's lines end in _total, its declaration does, too."""
    metrics = Metrics(ModelDirectory([], aliases={}), usage=NoLedger())
    metrics.registry.register(FleetCollector(NoModels(), PREFIX))  # type: ignore[arg-type]
    text = metrics.expose().decode()
    return set(re.findall(r"^# TYPE (llmos:\w+)", text, re.MULTILINE))


def test_every_metric_that_is_asked_for_exists(deploy: Path) -> None:
    families = exposed()
    named = {name for expression in expressions(deploy) for name in METRIC.findall(expression)}
    assert len(named) > 15
    unknown = {n for n in named if n not in families and not any(n.removesuffix(s) in families for s in SUFFIXES[:3])}
    assert unknown == set()


def test_every_alert_says_what_it_means(deploy: Path) -> None:
    [group] = load(deploy / "alerts.yml")["groups"]
    text = (deploy.parent / "docs/deploy.md").read_text(encoding="utf-8")
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")
        assert f"`{rule['alert']}`" in text, "what to do about it is in docs/deploy.md"


def test_panels_don_t_overlap(deploy: Path) -> None:
    panels = json.loads((deploy / "grafana-dashboard.json").read_text(encoding="utf-8"))["panels"]
    cells = [
        (x, y)
        for box in (panel["gridPos"] for panel in panels)
        for x in range(box["x"], box["x"] + box["w"])
        for y in range(box["y"], box["y"] + box["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_ports_are_the_servers(deploy: Path, compose: dict[str, Any]) -> None:
    port = Settings().api.port
    image = (deploy / "Dockerfile").read_text(encoding="utf-8")
    assert f"EXPOSE {port}\n" in image
    assert f"http://127.0.0.1:{port}/health" in image
    assert compose["services"]["llmos"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert compose["services"]["open-webui"]["environment"]["OPENAI_API_BASE_URL"] == f"http://llmos:{port}/v1"
    [job] = load(deploy / "prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"llmos:{port}"]}]


def test_settings_are_ones_that_the_program_reads(compose: dict[str, Any]) -> None:
    settings = load_settings(Path("/dev/null"), env=compose["services"]["llmos"]["environment"])
    assert settings.api.allowed_hosts == ("llmos", "host.docker.internal")


def test_nobody_is_killed_while_streams_may_end(compose: dict[str, Any], unit: configparser.ConfigParser) -> None:
    """uvicorn waits 5 s longer than the streams, the workers end after it."""
    grace = Settings().api.grace_seconds + 10
    assert int(unit["Service"]["TimeoutStopSec"]) > grace
    assert int(compose["services"]["llmos"]["stop_grace_period"].removesuffix("s")) > grace


def test_what_is_started_is_the_program(deploy: Path, unit: configparser.ConfigParser) -> None:
    [entry] = re.findall(r"^ENTRYPOINT (.*)$", (deploy / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    [command] = re.findall(r"^CMD (.*)$", (deploy / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert json.loads(entry) == ["llmos"]
    verb, *flags = json.loads(command)
    assert unit["Service"]["ExecStart"].split()[1:] == [verb]
    serve: App = app[verb]
    known = {name for argument in serve.assemble_argument_collection() for name in argument.names}
    assert {flag for flag in flags if flag.startswith("--")} <= known


def test_the_image_gets_what_the_package_is_built_of(deploy: Path, project: Path) -> None:
    image = (deploy / "Dockerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (?!--)(.*) \S+$", image, re.MULTILINE) for name in line.split()}
    assert {name for name in copied if not (project / name).exists()} == set()
    allowed = (deploy / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert {entry[1:] for entry in allowed if entry.startswith("!")} == copied
    tops = {name.split("/")[0] for name in tracked(project, "llmos_server", "plugins", "recipes", "tui")}
    assert tops <= copied


def tracked(project: Path, *folders: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", *folders], cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout.splitlines()


def test_no_secret_is_in_deploy(deploy: Path) -> None:
    for path in deploy.rglob("*"):
        if path.is_file():
            assert (
                re.findall(r"(?i)(?:key|password|token): +['\"]?(?!\$)\w{8,}", path.read_text(encoding="utf-8")) == []
            )
