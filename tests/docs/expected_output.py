"""Whether a block's output is as the text block after it says.

Every line of the text block stands in the output, in this order; blanks count as one, and "…" stands for anything. Of a
sample only the lines without figures are compared: headings and words."""
from __future__ import annotations

import re

from fenced_blocks import Block


def pattern(line: str) -> re.Pattern:
    parts = [r"\s+".join(map(re.escape, part.split())) for part in line.split("…")]
    return re.compile(r"\s*" + r".*".join(f"{part}\\s*" if part else "" for part in parts))


def missing_line(expected: Block, output: str) -> str | None:
    """The first line of `expected` that the output lacks, or None."""
    rest = iter(output.splitlines())
    for line in expected.lines:
        if not line.strip() or line.strip() == "…" or (expected.sample and re.search(r"\d", line)):
            continue
        wanted = pattern(line)
        if not any(wanted.fullmatch(found) for found in rest):
            return line
    return None
