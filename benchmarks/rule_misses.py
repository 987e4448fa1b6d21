"""How much memory a packet touches on its way through many rules, counted: lines that a core's own cache of 512 KB doesn't hold and pages
that an address cache of 2,048 doesn't, per packet, with few rules and with many. callgrind's cache simulator counts both; what is fetched
early counts as well, since it has to come all the same. Cycles on a shared machine depend on what others leave of the cache behind.

Prints a Markdown table, with the same of another build beside it (--beside FILE, its bench_vhost).
"""
from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks")]      # not there under python -P

from acl_rules import AccessList, write_pcap  # noqa: E402

BENCH = ROOT / "build" / "release" / "datapath_c" / "bench" / "bench_vhost"
WORKS = {"1,000 rules": (1000, 30), "100,000 rules": (100000, 64)}
FLOWS = 10000
PER_ROUND, FEW, MANY = 3200, 4, 14       # packets of a round of the program; rounds of two runs, between which every flow comes three times
# Size, ways, line: of callgrind's first level, which isn't told of, and of its last.
LINES, PAGES = ("32768,8,64", "524288,8,64"), ("262144,64,4096", "8388608,8,4096")


def misses(text: str) -> int:
    """Of data in the last level, of a callgrind.out's totals."""
    events = re.search(r"^events: (.*)$", text, re.M)[1].split()
    totals = re.search(r"^(?:totals|summary): (.*)$", text, re.M)[1].split()
    counts = dict(zip(events, map(int, totals), strict=False))
    return counts["DLmr"] + counts["DLmw"]


def run(bench: Path, rules: Path, caches: tuple[str, str], rounds: int, directory: Path) -> int:
    out = directory / "callgrind.out"
    done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no",
                           "--toggle-collect=worker_step", "--cache-sim=yes", "--I1=32768,8,64", f"--D1={caches[0]}", f"--LL={caches[1]}",
                           bench, f"rules={rules}", f"frames={rules.with_suffix('.pcap')}", f"rounds={rounds}", "slice=1000000"],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{bench}: {done.stderr[-500:]}")
    return misses(out.read_text())


def per_packet(bench: Path, rules: Path, caches: tuple[str, str], directory: Path) -> float:
    few, many = (run(bench, rules, caches, rounds, directory) for rounds in (FEW, MANY))
    return (many - few) / (PER_ROUND * (MANY - FEW))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--beside", type=Path, help="another build's bench_vhost")
    arguments = parser.parse_args()
    benches = [BENCH] + ([arguments.beside.resolve()] if arguments.beside else [])
    print(f"| {FLOWS:,} flows of | lines | pages |{' lines beside | pages beside |' if arguments.beside else ''}")
    print(f"|---|{'---|---|' * len(benches)}")
    with tempfile.TemporaryDirectory(prefix="rule-misses-") as name:
        for work, (n_rules, n_masks) in WORKS.items():
            access, rules = AccessList(n_rules, n_masks), Path(name) / "rules"
            write_pcap(rules.with_suffix(".pcap"), access.frames(FLOWS))
            with open(rules, "wb") as file:
                file.writelines(access.flow_mods(2))
            counts = [per_packet(bench, rules, caches, Path(name)) for bench in benches for caches in (LINES, PAGES)]
            print(f"| {work} | {' | '.join(f'{count:.2f}' for count in counts)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
