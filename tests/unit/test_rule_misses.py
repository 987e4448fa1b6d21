"""How the cache simulator's output is read: a wrong reading would let a regression pass."""
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from benchmarks.rule_misses import misses  # noqa: E402


def test_data_misses_of_the_last_level_are_taken():
    assert misses("events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw\nfn=(1) lookup\n0 9 9 9 9 9 9 9 9 9\n"
                  "totals: 1000 300 200 1 40 50 2 7 11\n") == 18
