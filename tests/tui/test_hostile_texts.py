"""What others have written (names, failures, lines of the log) is shown as it is, and neither styles nor ends the
program."""

from __future__ import annotations

import msgspec
import test_jobs
import test_keys
import tui_logs_data
import tui_models_data
import tui_skills_data
from textual.widgets import Static
from tui_fake_server import FakeServer

from llmos_server.api.schemas.admin import KeyList
from llmos_server.api.schemas.admin_jobs import JobList
from llmos_server.api.schemas.admin_logs import LogList
from llmos_server.api.schemas.admin_settings import SettingList
from llmos_server.api.schemas.admin_skills import AdminSkillList
from llmos_server.settings_rows import SettingRow

TEXT = "[/x] [red \x1b[31m\u202e\n字 \\["
SHOWN = "[/x] [red \ufffd[31m"


def serve(server: FakeServer) -> None:
    model = tui_models_data.model(TEXT, aliases=[TEXT], capabilities=[TEXT], quantization=TEXT)
    server.on("GET", "/admin/v1/models", tui_models_data.models(model))
    server.on("GET", "/admin/v1/models/structure", msgspec.structs.replace(tui_models_data.structure(), model=TEXT))
    attention = msgspec.structs.replace(tui_models_data.attention(), tokens=[TEXT] * 7)
    server.on("POST", "/admin/v1/models/attention", attention)
    server.on("GET", "/admin/v1/models/template", msgspec.structs.replace(tui_models_data.template(), template=TEXT))
    server.on("POST", "/admin/v1/models/preview", tui_models_data.preview())
    skill = tui_skills_data.skill(TEXT, description=TEXT, plugin=TEXT, version=TEXT)
    server.on("GET", "/admin/v1/skills", AdminSkillList(data=[skill]))
    server.on("GET", "/admin/v1/keys", KeyList(data=[test_keys.info(TEXT, models=[TEXT])]))
    job = test_jobs.job("job-1", title=TEXT, error=TEXT, state="failed", kind=TEXT)
    server.stream("GET", "/admin/v1/jobs", ("jobs", JobList(data=[job])))
    details = test_jobs.details(job, log=[TEXT], metrics={TEXT: [(0.0, 1.0)]})
    server.stream("GET", "/admin/v1/jobs/job-1", ("job", details))
    line = tui_logs_data.line(0, event=TEXT, fields={TEXT: TEXT})
    server.on("GET", "/admin/v1/logs", LogList(data=[line], before=None, end="log-1"))
    server.stream("GET", "/admin/v1/logs")
    row = SettingRow(section="api", key=TEXT, value=TEXT, source="file", origin=TEXT, doc=TEXT)
    server.on("GET", "/admin/v1/settings", SettingList(data=[row]))


async def test_it_is_shown_as_it_is(open_app, server: FakeServer, wait_for) -> None:
    serve(server)
    async with open_app(size=(140, 40)) as pilot:
        for keys in ("3", "enter", "escape a", "escape c", "escape x", "n", "4", "enter", "escape escape"):
            await see(pilot, wait_for, keys)
        for keys in ("5", "enter", "escape x", "n", "6", "enter", "escape", "7", "enter", "escape", "8", "enter"):
            await see(pilot, wait_for, keys)
            assert "\x1b" not in shown(pilot)


def shown(pilot) -> str:
    text = pilot.app.export_screenshot().replace("&#160;", " ")
    return text.replace("&gt;", ">").replace("&lt;", "<")


async def see(pilot, wait_for, keys: str) -> None:
    await pilot.press(*keys.split())
    await wait_for(pilot, lambda: SHOWN in shown(pilot) or "[/x]" in shown(pilot))
    for widget in pilot.app.screen.query("*"):
        if not widget.children and widget.size.height:
            text = "".join(widget.render_line(y).text for y in range(widget.size.height))
            assert not set("\n\r\t\x1b\u202e") & set(text) or isinstance(widget, Static), widget
    for static in pilot.app.screen.query(Static):
        assert "\x1b" not in str(static.render())
