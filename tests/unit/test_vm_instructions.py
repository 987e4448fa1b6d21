"""How callgrind's output is read: a wrong reading would let a regression pass."""
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks.vm_instructions import grown, self_costs  # noqa: E402

OUTPUT = """version: 1
events: Ir
positions: line
fl=(1) ???
fn=(1) parse_all
0 100
+3 20
cfn=(2) memcpy
calls=7 0
0 900
fn=(2)
0 900
fn=(3) turn_run'2
* 5
cfn=(1)
calls=1 0
* 1920
totals: 1025
"""


def test_what_was_called_counts_where_it_was_executed():
    assert self_costs(OUTPUT, {"parse_all": "path/parse", "turn_run": "path/turn"}) == {"parse": 120, "libc": 900, "turn": 5}


def test_changes_beyond_two_per_cent_name_the_stage():
    before = {"a": {"rx": 100.0, "tx": 100.0}, "b": {"rx": 100.0}}
    assert grown(before, {"a": {"rx": 101.0, "tx": 102.0}, "b": {"rx": 101.0}, "new": {"rx": 5.0}}) == []
    assert grown(before, {"a": {"rx": 101.0, "tx": 110.0}}) == ["a: 200 before, 211 now (tx +10.0)"]
