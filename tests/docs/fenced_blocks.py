"""The fenced blocks of a Markdown file."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    language: str               # "" for a picture
    line: int                   # of the opening fence, counted from 1
    lines: tuple[str, ...]      # between the fences
    sample: bool                # <!-- sample --> stands before it: its figures differ from run to run

    @property
    def text(self) -> str:
        return "".join(line + "\n" for line in self.lines)

    @property
    def end(self) -> int:
        """Line of the closing fence."""
        return self.line + len(self.lines) + 1


def read_blocks(document: Path) -> list[Block]:
    blocks: list[Block] = []
    inside: list[str] | None = None
    language, start, sample, before = "", 0, False, ""
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if inside is None:
            if line.startswith("```"):
                inside, language, start, sample = [], line[3:].strip(), number, before == "<!-- sample -->"
            elif line.strip():
                before = line.strip()
        elif line == "```":
            blocks.append(Block(language, start, tuple(inside), sample))
            inside, before = None, ""
        else:
            inside.append(line)
    assert inside is None, f"{document}:{start}: the block does not end"
    return blocks


def of_language(language: str) -> list[tuple[Path, Block]]:
    return [(document, block) for document in DOCUMENTS for block in read_blocks(document) if block.language == language]
