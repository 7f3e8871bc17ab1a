"""A tokenizer from a corpus: a folder that models from a config take as tokenizer_name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from llmos_server.data.examples import TextExample
from llmos_server.data.reading import read_examples
from llmos_server.data.scanning import Scan
from llmos_server.registry.disk import fresh_folder
from llmos_server.training.run import Run
from llmos_server.training.tokenizer_keys import read_tokenizer_keys
from llmos_server.training.tokenizers import write_tokenizer


def run(run: Run) -> None:
    """Until the job has succeeded: the folder is LLMOS_HOME/tokenizers/SUFFIX."""
    keys = read_tokenizer_keys(run.spec.values)
    run.results.tell(0.02, "Reading the corpus", stage="training")
    staging = fresh_folder(run.context.folder / "export")
    num_tokens = write_tokenizer(_texts(run), keys, staging)
    run.context.check()
    run.context.write()  # Is this attempt still the job's?
    target = run.context.settings.home / "tokenizers" / run.suffix
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)
    run.context.log(f"A tokenizer of {num_tokens} tokens is in {target}.")
    run.results.tell(1.0, f"{num_tokens} tokens", model=str(target))
    run.context.finish(run.results.state)


def _texts(run: Run) -> Iterator[str]:
    path = run.training_file
    for number, example in enumerate(read_examples(path, Scan("text", is_plain=path.suffix != ".jsonl"))):
        assert isinstance(example, TextExample)
        if number % 1000 == 0:
            run.context.check()
        yield example.text
