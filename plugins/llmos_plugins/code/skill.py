"""The skill: asks for code or for text about code, takes the code out of the answer, and parses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from llmos_plugins.code.extracting import find_code
from llmos_plugins.code.fields import CodeInput, CodeOutput, Finding
from llmos_plugins.code.gaps import Gap, find_gap
from llmos_plugins.code.languages import canonical, find_error, is_parsed
from llmos_plugins.code.running import check_runnable, run_code, run_here
from llmos_server import InputError, Outcome, ReplyCut, Sandbox, Skill, SkillContext

MAX_FINDINGS = 20
ROOM = 0.75
"""Share of the model's context that a second try may take before it answers; else there is none."""


class Code(Skill[CodeInput, CodeOutput]):
    name = "code"
    version = "1.0"
    description = (
        "Writes, explains, reviews and fixes code, and fills gaps in it (the code has <FILL> where the gap is). "
        "Code that comes back was parsed for its language."
    )
    input_type = CodeInput
    output_type = CodeOutput
    text_field = "instruction"
    chat_defaults = {"task": "write"}
    metric = "pass_rate"
    minimum_score = 0.5

    def __init__(self, model: str | None = None, sandbox: Sandbox | None = None) -> None:
        """sandbox: None runs nothing."""
        self.model = model
        self._sandbox = sandbox

    async def run(self, input: CodeInput, context: SkillContext) -> CodeOutput:
        if input.task != "write" and not input.code.strip():
            raise InputError(f"{input.task} needs the code", field="code")
        check_runnable(input, self._sandbox)
        if input.task == "explain":
            return await self._explain(input, context)
        if input.task == "review":
            return await self._review(input, context)
        gap = find_gap(input.code, input.marker) if input.task == "infill" else None
        output = await self._write(input, gap, context)
        if self._sandbox is not None and (input.run or input.tests):
            context.progress(2, 2, "running")
            await run_here(self._sandbox, input, output)
        return output

    async def _write(self, input: CodeInput, gap: Gap | None, context: SkillContext) -> CodeOutput:
        messages = self._messages(input)
        for attempt in (1, 2):
            context.progress(attempt - 1, 2, "writing" if attempt == 1 else "writing again: it did not parse")
            reply = await context.chat(messages, max_tokens=input.max_tokens)
            text = find_code(reply.text, input.language) if gap is None else gap.fit(_gap_text(reply.text, input))
            whole = text if gap is None else gap.fill(text)
            error = find_error(input.language, whole)
            if not text.strip():
                error = "there is no code"
            again = [*messages, *self._retry(reply.text, error)]
            if attempt == 2 or not error or not await _has_room(again, context):
                break
            messages = again
        return CodeOutput(
            result=text,
            language=canonical(input.language),
            code=None if gap is None else whole,
            parses=not error if is_parsed(input.language) else None,
            parse_error=error,
            attempts=attempt,
            is_cut=reply.finish_reason == "length",
        )

    async def _explain(self, input: CodeInput, context: SkillContext) -> CodeOutput:
        reply = await context.chat(self._messages(input), max_tokens=input.max_tokens, on_text=context.write)
        return _about(input, reply.text, is_cut=reply.finish_reason == "length")

    async def _review(self, input: CodeInput, context: SkillContext) -> CodeOutput:
        """The form of the findings, and lines that there are, are held by a grammar."""
        reply = await context.chat(
            self._messages(input),
            max_tokens=input.max_tokens,
            schema=_findings_schema(len(input.code.splitlines())),
        )
        if reply.finish_reason != "stop":
            raise ReplyCut(f"the review was cut by max_tokens ({input.max_tokens}) or the model's context")
        return _about(input, msgspec.json.decode(reply.text, type=dict[str, list[Finding]])["findings"], is_cut=False)

    def _messages(self, input: CodeInput) -> list[dict[str, Any]]:
        fields = msgspec.structs.asdict(input)
        if input.task == "review":
            fields["code"] = "\n".join(f"{n}: {line}" for n, line in enumerate(input.code.splitlines(), start=1))
        return [
            {"role": "system", "content": self.prompts.render("system")},
            {"role": "user", "content": self.prompts.render(input.task, **fields)},
        ]

    def _retry(self, reply: str, error: str) -> list[dict[str, Any]]:
        return [
            {"role": "assistant", "content": reply or "(nothing)"},
            {"role": "user", "content": self.prompts.render("retry", error=error)},
        ]

    def measure(self, outcomes: Sequence[Outcome[CodeInput, CodeOutput]]) -> dict[str, float]:
        """pass_rate (pass@1): the share of cases whose hidden tests pass. Without a sandbox it is left out, as whether
        code is right can't be told without running it; parse_rate is always there."""
        outputs = [outcome.output for outcome in outcomes]
        figures = {"parse_rate": sum(bool(output and output.parses) for output in outputs) / len(outputs)}
        if self._sandbox is not None:
            passed = [
                output is not None and run_code(self._sandbox, _whole(output), outcome.case.expected["tests"]).passed
                for outcome, output in zip(outcomes, outputs, strict=True)
            ]
            figures["pass_rate"] = sum(map(bool, passed)) / len(passed)
        return figures


def _whole(output: CodeOutput) -> str:
    return output.code if output.code is not None else str(output.result)


def _gap_text(reply: str, input: CodeInput) -> str:
    """A gap's text needn't parse by itself, so that only fences are taken off."""
    return find_code(reply, "") if "```" in reply or "~~~" in reply else reply


def _about(input: CodeInput, result: str | list[Finding], *, is_cut: bool) -> CodeOutput:
    return CodeOutput(
        result=result,
        language=canonical(input.language),
        code=None,
        parses=None,
        parse_error="",
        attempts=1,
        is_cut=is_cut,
    )


async def _has_room(messages: Sequence[dict[str, Any]], context: SkillContext) -> bool:
    counts = [await context.count_tokens(message["content"]) for message in messages]
    return sum(counts) < ROOM * context.max_model_len


def _findings_schema(num_lines: int) -> dict[str, Any]:
    text = {"type": "string", "maxLength": 400}
    fields = {
        "line": {"type": "integer", "minimum": 1, "maximum": num_lines},
        "severity": {"enum": ["error", "warning", "hint"]},
        "problem": text,
        "suggestion": text,
    }
    finding = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    findings = {"type": "array", "items": finding, "maxItems": MAX_FINDINGS}
    return {
        "type": "object",
        "properties": {"findings": findings},
        "required": ["findings"],
        "additionalProperties": False,
    }
