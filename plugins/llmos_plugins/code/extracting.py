"""Code out of what a model wrote around it: fences, other fences, no fences, chatter before and after."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmos_plugins.code.languages import canonical, find_error, is_parsed

FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([A-Za-z0-9+#._-]*)[^`\n]*$")
BEGINS = re.compile(
    r"(?:from|import|def|class|async|if|for|while|try|with|return|print)\b|[@{\[\"#]|[A-Za-z_][\w.]* *[=(\[:]"
)
"""How a line of code may begin, roughly: where to look for code among words."""
MAX_PARSES = 300


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    """"" where the fence names none."""
    text: str


def find_code(reply: str, language: str) -> str:
    """The part of the reply that is code of this language; "" if there is nothing. What parses wins, then what is
    marked as that language, then what is longer."""
    blocks = read_blocks(reply)
    if not blocks:
        return _without_chatter(reply, language) if is_parsed(language) else reply.strip("\n")

    def rank(block: Block) -> tuple[bool, int, int]:
        marked = 2 if canonical(block.language) == canonical(language) else int(not block.language)
        return not find_error(language, block.text), marked, len(block.text)

    return max(blocks, key=rank).text


def read_blocks(reply: str) -> list[Block]:
    """Of Markdown; one that isn't closed goes to the end. Empty ones are left out."""
    blocks: list[Block] = []
    fence, language, lines = "", "", list[str]()
    for line in reply.splitlines():
        found = FENCE.match(line)
        if not fence:
            if found:
                fence, language, lines = found[1], found[2], []
        elif found and found[1].startswith(fence) and not found[2]:
            blocks.append(Block(language, "\n".join(lines)))
            fence = ""
        else:
            lines.append(line)
    if fence:
        blocks.append(Block(language, "\n".join(lines)))
    return [block for block in blocks if block.text.strip()]


def _without_chatter(reply: str, language: str) -> str:
    """The longest run of whole lines that parses and begins as code may; all of it where there is none."""
    lines = reply.strip("\n").splitlines()
    whole = "\n".join(lines)
    if not find_error(language, whole):
        return whole
    starts = [place for place, line in enumerate(lines) if BEGINS.match(line)]
    ends = [place for place in range(len(lines), 0, -1) if lines[place - 1].strip()]
    spans = sorted(((s, e) for s in starts for e in ends if e > s), key=lambda span: span[0] - span[1])
    for start, end in spans[:MAX_PARSES]:
        part = "\n".join(lines[start:end])
        if not find_error(language, part):
            return part
    return whole
