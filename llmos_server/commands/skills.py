"""The verbs about skills: skills list, show, run, eval, new, disable, enable."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import App, Parameter

from llmos_server.commands.plugins import load_here
from llmos_server.commands.shared import ConfigFlag, Switch, UrlFlag, print_json, print_table
from llmos_server.commands.where import on_server

skills = App(
    name="skills",
    help="Run, measure and write skills: typed jobs for a model.\n\nExample: llmos skills list",
    help_format="plaintext",
)

JsonFlag = Annotated[bool, Switch, Parameter(help="Print JSON.")]
SkillName = Annotated[str, Parameter(help="The skill's name.")]


@skills.command(name="list")
def list_skills(*, json: JsonFlag = False, url: UrlFlag = None) -> None:
    """List the skills of a running server.

    Example: llmos skills list
    """
    found = on_server(_root(url), "GET", "/v1/llmos/skills")["data"]
    if json:
        print_json(found)
        return
    if not found:
        print("The server has no skills. Write one with: llmos skills new NAME")
        return
    heads = ("NAME", "VERSION", "PLUGIN", "WHAT IT DOES")
    print_table([heads, *((s["name"], s["version"], s["plugin"], s["description"]) for s in found)])


@skills.command
def show(name: SkillName, /, *, json: JsonFlag = False, url: UrlFlag = None) -> None:
    """Show what a skill takes and answers, and what it was measured at.

    Example: llmos skills show translation
    """
    root, path = _root(url), f"/v1/llmos/skills/{quote(name, safe='')}"
    details = on_server(root, "GET", path)
    details["scores"] = on_server(root, "GET", f"{path}/scores")["data"]
    if json:
        print_json(details)
        return
    print(f"{details['name']} {details['version']}, of the plugin {details['plugin']}\n{details['description']}\n")
    print_table([("FIELD", "TYPE", "DEFAULT"), *_fields(details["input_schema"])])
    if details["minimum_score"] is not None:
        print(f"\nGood enough from {details['metric']} {details['minimum_score']:g} on.")
    if details["scores"]:
        print()
        print_table([("MEASURED", "VERSION", "MODEL", "CASES", "FAILED", "SCORE"), *map(_score_row, details["scores"])])


def _fields(schema: dict[str, Any]) -> list[tuple[str, ...]]:
    required = schema.get("required", [])
    return [
        (name, _kind(field), "required" if name in required else str(field.get("default", "")))
        for name, field in schema.get("properties", {}).items()
    ]


def _kind(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "anyOf" in field:
        return " | ".join(map(_kind, field["anyOf"]))
    return str(field.get("type") or field.get("$ref", "any").rpartition("/")[2])


def _score_row(score: dict[str, Any]) -> tuple[str, ...]:
    from llmos_server.commands.shared import format_time

    figures = ", ".join(f"{name} {value:.3f}" for name, value in score["figures"].items())
    numbers = (str(score["num_cases"]), str(score["num_failed"]))
    return (format_time(score["created"] // 1000), score["version"], score["model"], *numbers, figures)


@skills.command
def run(
    name: SkillName,
    text: Annotated[str | None, Parameter(help="The skill's text; without it, stdin.")] = None,
    /,
    *,
    field: Annotated[
        list[str] | None,
        Parameter(help="Another field of its input, NAME=VALUE; again for more. Lists in JSON.", negative=""),
    ] = None,
    model: Annotated[str | None, Parameter(help="Model to ask; the skill's own or the default one without it.")] = None,
    json: Annotated[bool, Switch, Parameter(help="Print the whole answer as JSON.")] = False,
    url: UrlFlag = None,
) -> None:
    """Run a skill on a running server.

    Example: llmos skills run translation "Good morning" --field target=de
    """
    from llmos_server.skill_client import run_skill

    if text is None and not sys.stdin.isatty():
        text = sys.stdin.read().strip() or None
    answer = run_skill(_root(url), name, text, dict(map(_pair, field or [])), model, is_quiet=json)
    has_written = answer.pop("has_written")
    if json:
        print_json(answer)
    elif has_written:
        print()
    elif isinstance(answer["result"], str):
        print(answer["result"])
    else:
        print_json(answer["result"])
    if answer.get("below_minimum"):
        told = f"measured at {answer['score']:.3f}, and {answer['minimum_score']:g} is the least that is good enough"
        print(f"llmos: with {answer['model']} this skill was {told}.", file=sys.stderr)


def _pair(text: str) -> tuple[str, str]:
    from llmos_server.errors import InvalidRequest

    name, found, value = text.partition("=")
    if not found:
        raise InvalidRequest(f"--field {text}: write NAME=VALUE.")
    return name, value


@skills.command(name="eval")
def evaluate(
    name: SkillName,
    /,
    *,
    model: Annotated[
        list[str] | None,
        Parameter(help="Model to measure it with; again for more. As run takes it without one.", negative=""),
    ] = None,
    limit: Annotated[int | None, Parameter(help="Only the first so many cases; such a score isn't kept.")] = None,
    concurrency: Annotated[int, Parameter(help="Cases at a time.")] = 4,
    json: JsonFlag = False,
    url: UrlFlag = None,
    config: ConfigFlag = None,
) -> int:
    """Measure a skill by its cases with models of a running server, which keeps the scores.

    The plugin has to be installed here, too. The exit status is 1 if a model is below the skill's minimum score.

    Example: llmos skills eval translation --model smollm2:135m
    """
    from llmos_server.errors import InvalidRequest, SettingsError
    from llmos_server.skill_client import evaluate as run_evaluation

    offer = load_here(config).find("register_skills", name)
    if offer is None:
        raise InvalidRequest(f"There is no skill {name!r} here. `llmos plugins list` tells what there is, and why not.")
    skill = offer.value
    try:
        cases = skill.cases()
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if not cases:
        raise InvalidRequest(f"The skill {name} has no cases.jsonl, so there is nothing to measure it by.")
    root = _root(url)
    wanted: list[str | None] = [*model] if model else [None]
    chosen, keeps = cases[:limit], limit is None
    found = [run_evaluation(root, skill, chosen, name, concurrency, keeps=keeps) for name in wanted]
    if json:
        print_json(found)
    else:
        _print_scores(skill, found)
    minimum = skill.minimum_score
    scores = [entry.figures[skill.metric] for entry in found if skill.metric in entry.figures]
    return int(minimum is not None and any(score < minimum for score in scores))


def _print_scores(skill: Any, found: list[Any]) -> None:
    names = list(dict.fromkeys([skill.metric, *(name for entry in found for name in entry.figures)]))
    heads = ("MODEL", "CASES", "FAILED", *(name.upper() for name in names), "MINIMUM")
    rows = []
    for entry in found:
        figures = (f"{entry.figures[name]:.3f}" if name in entry.figures else "not measured" for name in names)
        minimum = "-"
        if skill.minimum_score is not None and skill.metric in entry.figures:
            verdict = "below" if entry.figures[skill.metric] < skill.minimum_score else "reached"
            minimum = f"{skill.minimum_score:g} {verdict}"
        rows.append((entry.model, str(entry.num_cases), str(entry.num_failed), *figures, minimum))
    print(f"{skill.name} {skill.version}, judged by {skill.metric}\n")
    print_table([heads, *rows])
    if any(skill.metric not in entry.figures for entry in found):
        print(f"{skill.metric} can't be measured here, so no score is kept; docs/skills.md tells what it needs.")
    for error in dict.fromkeys(error for entry in found for error in entry.errors):
        print(f"A case failed: {error}", file=sys.stderr)


@skills.command
def new(
    name: SkillName,
    /,
    *,
    folder: Annotated[Path, Parameter(help="Where its folder is made.")] = Path(),
) -> None:
    """Write a package with a skill that works: code, prompt, cases, measure, test.

    Example: llmos skills new headline
    """
    from llmos_server.skills.create import create_skill

    for path in create_skill(name, folder):
        print(path)
    print(f"\nNext: cd {folder / name} && pip install -e . && pytest; then restart the server.")


@skills.command
def disable(name: SkillName, /, *, url: UrlFlag = None) -> None:
    """Disable a skill of a running server, for everybody and wherever it could be reached, until it is enabled.

    Example: llmos skills disable code
    """
    on_server(_root(url), "POST", f"/admin/v1/skills/{quote(name, safe='')}/disable")
    print(f"Skill {name}: disabled")


@skills.command
def enable(name: SkillName, /, *, url: UrlFlag = None) -> None:
    """Enable a skill that was disabled.

    Example: llmos skills enable code
    """
    on_server(_root(url), "POST", f"/admin/v1/skills/{quote(name, safe='')}/enable")
    print(f"Skill {name}: enabled")


def _root(url: str | None) -> str:
    from llmos_server.http_client import base_url

    return base_url(url).removesuffix("/v1")
