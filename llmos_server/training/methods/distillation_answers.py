"""Distillation by answers: a larger model that is served answers the prompts, and its answers are learned as those of
any file of chats. It may have other tokens than the student."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec

from llmos_server.data.examples import PromptExample
from llmos_server.data.reading import read_examples
from llmos_server.data.scanning import Scan
from llmos_server.errors import InvalidRequest
from llmos_server.training.methods import sft
from llmos_server.training.ranks import is_first, wait_for_all
from llmos_server.training.run import Run
from llmos_server.training.teacher_keys import TeacherKeys, read_teacher_keys
from llmos_server.training.teaching.asking import Teacher, digest_of
from llmos_server.training.teaching.journal import Journal

ASKED = 0.02
"""Share of the run until the teacher has answered: where training begins."""
TRAINING, VALIDATION = "taught.jsonl", "taught-validation.jsonl"
"""In the job's folder: the teacher's chats, as training files have them."""


def run(run: Run) -> None:
    """Until the job has succeeded. See training.loop.train for what it raises."""
    keys = read_teacher_keys(run.spec.values, run.context.job.owner)
    training = _read(run.training_file, "training_file")
    validation = [] if run.validation_file is None else _read(run.validation_file, "validation_file")
    if is_first():
        _teach(run, keys, training, validation)
    wait_for_all()
    spec = msgspec.structs.replace(
        run.spec, method="sft", training_file=TRAINING, validation_file=VALIDATION if validation else ""
    )
    sft.run(replace(run, spec=spec))


def _teach(run: Run, keys: TeacherKeys, training: list[PromptExample], validation: list[PromptExample]) -> None:
    """The teacher's chats, in the job's folder."""
    journal = Journal(run.context.folder / "answers.jsonl")
    try:
        _answer(run, keys, journal, [*training, *validation])
        _tell(run, keys, journal, [*training, *validation])
        _write(run.context.folder / TRAINING, journal, training)
        _write(run.context.folder / VALIDATION, journal, validation)
    finally:
        journal.close()


def _read(path: Path, param: str) -> list[PromptExample]:
    """Raises InvalidRequest naming the line."""
    found = list(read_examples(path, Scan("reinforcement"), param=param))
    return [example for example in found if isinstance(example, PromptExample)]


def _answer(run: Run, keys: TeacherKeys, journal: Journal, prompts: list[PromptExample]) -> None:
    """Asks for what is missing."""
    different = {digest_of(prompt): prompt for prompt in prompts}
    numbers = range(keys.teacher_num_answers)
    missing = [
        (prompt, number)
        for digest, prompt in different.items()
        for number in numbers
        if not journal.has(digest, number)
    ]
    if not missing:
        return
    total = len(different) * keys.teacher_num_answers
    done = total - len(missing)

    def tell() -> None:
        nonlocal done
        done += 1
        run.results.tell(ASKED * done / total, f"The teacher has answered {done} of {total}")

    run.results.tell(None, "Asking the teacher", stage="preparing", num_examples=len(prompts))
    Teacher(run.context, keys, journal).answer_all(missing, tell)
    run.context.checkpoint()


def _tell(run: Run, keys: TeacherKeys, journal: Journal, prompts: list[PromptExample]) -> None:
    """Raises InvalidRequest where there is nothing to learn."""
    answers = [answer for prompt in prompts for answer in journal.of(digest_of(prompt))]
    lacking = Counter(answer.reason for answer in answers if answer.message is None)
    num_good = len(answers) - lacking.total()
    tokens = sum(answer.num_tokens for answer in answers)
    left_out = "; ".join(f"{number} {reason}" for reason, number in lacking.most_common(5))
    told = f"{keys.teacher_model_name_or_path} gave {num_good} answers to {len(prompts)} prompts, {tokens} tokens."
    if not num_good:
        raise InvalidRequest(f"{told} None can be learned: {left_out}", param="training_file")
    run.context.log(f"{told} Left out: {left_out}" if lacking else told, "warn" if lacking else "info")


def _write(path: Path, journal: Journal, prompts: list[PromptExample]) -> None:
    """In the prompts' order, so that a run that goes on learns in the same one."""
    with path.open("wb") as file:
        for prompt in prompts:
            chats = [
                {"messages": [*prompt.messages, answer.message]} | ({"tools": prompt.tools} if prompt.tools else {})
                for answer in journal.of(digest_of(prompt))
                if answer.message is not None
            ]
            for line in dict.fromkeys(map(msgspec.json.encode, chats)):
                file.write(line + b"\n")
