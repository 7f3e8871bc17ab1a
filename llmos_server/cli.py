"""The `llmos` program: its verbs are the functions in commands/. Heavy imports happen inside them: --help is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App

from llmos_server import __version__
from llmos_server.commands import (
    adapters,
    backup,
    calibrating,
    data,
    evals,
    jobs,
    keys,
    machine,
    measuring,
    models,
    plugins,
    promotions,
    prune,
    serving,
    settings,
    skills,
    talking,
    tui,
    tune,
    usage,
)
from llmos_server.errors import LLMOSError

app = App(
    name="llmos",
    help="Serve language models on your own weights, behind the OpenAI API.\n\nExample: llmos serve",
    version=__version__,
    help_format="plaintext",
)
app.command(serving.serve)
app.command(models.pull)
app.command(models.list_models, name="list")
app.command(models.show)
app.command(models.rm)
app.command(models.ps)
app.command(models.load)
app.command(models.unload)
app.command(models.pin)
app.command(models.unpin)
app.command(talking.chat)
app.command(talking.bench)
app.command(measuring.perplexity)
app.command(evals.evals)
app.command(calibrating.calibrate)
app.command(data.data)
app.command(tune.tune)
app.command(jobs.jobs)
app.command(tui.tui)
app.command(adapters.adapters)
app.command(promotions.promote)
app.command(promotions.rollback)
app.command(promotions.demote)
app.command(promotions.promotions)
app.command(keys.keys)
app.command(plugins.plugins)
app.command(skills.skills)
app.command(usage.usage)
app.command(prune.prune)
app.command(backup.backup)
app.command(backup.restore)
app.command(settings.settings)
app.command(machine.doctor)
app.command(machine.version)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry of the program. Expected errors are one line on stderr and exit status 1."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        plugins.add_plugin_verb(app, words)
        app(words)
    except LLMOSError as error:
        print(f"llmos: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # The reader of our output left, as `head` does.
        sys.stderr.close()
        sys.exit(1)
