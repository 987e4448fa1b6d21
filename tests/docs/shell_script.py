"""A document's sh and python blocks as one shell script, line for line: line n of the script is line n of the document, so
what the shell says of a line is true of the document.

- `make TARGET` is not run: that the Makefile has the target is checked. They are whole builds, and the other tests' business.
- `make run CONFIG=FILE` starts what the Makefile's recipe starts, in the background, and does the export that it asks for.
- A line that ends in "# refused" must fail.
- A python block is run by the interpreter that runs the tests.
"""
from __future__ import annotations

import re
import shlex

from fenced_blocks import Block

_MAKE = re.compile(r"make (?:-j\d* )?([\w-]+)(?: (\w+=\S+))?(\s*#.*)?")
_REFUSED = re.compile(r"(.*?)\s+# refused")

PREAMBLE = r"""
set -eE -o pipefail
trap 'echo $LINENO >"$OUT/failed"' ERR
make_target() { grep -q "^$1:" Makefile || { echo "the Makefile has no target $1"; return 1; }; }
make_run() {
  python -P demo/run.py "$1" >run.out &
  until grep -q 'Ctrl-C' run.out; do sleep 0.05; kill -0 $!; done
  cat run.out
  eval "$(grep -o 'export VSWITCH_SERVER=.*' run.out)"
}
"""


def script(blocks: list[Block]) -> str:
    """Sourced after PREAMBLE. What a block prints goes to $OUT/LINE, LINE being its opening fence's."""
    lines: list[str] = []
    for block in blocks:
        if block.language not in ("sh", "python"):
            continue
        lines += [""] * (block.line - 1 - len(lines))
        redirect = f'exec >"$OUT/{block.line}" 2>&1'
        if block.language == "python":
            lines += [f"{redirect}; python -P - <<'END OF PYTHON'", *block.lines, "END OF PYTHON"]
        else:
            lines += [redirect, *map(_line, block.lines), ""]
    return "".join(line + "\n" for line in lines) + 'exec >"$OUT/after" 2>&1\n'


def _line(line: str) -> str:
    if found := _MAKE.fullmatch(line):
        target, variable = found[1], found[2]
        if target == "run" and variable:
            return f"make_target run; make_run {shlex.quote(variable.partition('=')[2])}"
        return f"make_target {target}"
    if found := _REFUSED.fullmatch(line):
        return f"if {found[1]}; then echo 'is not refused'; false; fi"
    return line
