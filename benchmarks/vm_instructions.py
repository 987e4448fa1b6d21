"""Instructions per packet and stage from guest to guest, counted by callgrind: for regressions, where cycles on a shared machine say
little. Guests and switch in one process (bench_vhost); what the worker's loop executes is counted.

Prints a Markdown table; with --compare FILE, what has changed by more than 2 % since that run's --out, and exits 1 if anything has grown.
"""
from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "build" / "release" / "datapath_c" / "bench" / "bench_vhost"
PER_ROUND, FEW, MANY = 3200, 10, 20      # packets of a round of the program; rounds of two runs, whose difference has no beginning in it
LEAST = 0.02
WORKS = {"port rule, 60 bytes": [], "the same, packed rings": ["packed"], "1,000 flows, port rule": ["flows=1000"],
         "1,000 flows, rule on nw_dst": ["flows=1000", "rule=address"], "never-seen flows": ["flows=16000000", "rule=source"],
         "1,514-byte frames": ["len=1514"], "VXLAN encapsulation": ["tunnel=out"], "VXLAN decapsulation": ["tunnel=in"]}
# By function, then by the source file that it is in.
STAGES = [("rx", r"^(split_rx|packed_rx|vhost_rx|rx_watching)"), ("tx", r"^(split_tx|packed_tx|vhost_tx|send_batch)|^path/tx"),
          ("rings", r"^port/"), ("parse", r"^path/parse"), ("slow", r"^(path/slow_path|flow/(translate|table|classifier))"),
          ("lookup", r"^(path/lookup|flow/cache)"), ("act", r"^path/(act|output|headers)"), ("process", r"^path/process"), ("tunnel", r"^tunnel/"),
          ("turn", r"^(path/(turn|worker|polling)|sched/)|^fiber_swap"), ("libc", r"mem(cpy|move|set|cmp)|malloc|calloc|free")]


def sources() -> dict[str, str]:
    """Function to source file, by the objects' symbols: release builds have no debug information."""
    found: dict[str, str] = {}
    for path in (ROOT / "build" / "release" / "datapath_c").glob("lib*.a.p/*.c.o"):
        for line in subprocess.run(["nm", "--defined-only", path], capture_output=True, text=True, check=True).stdout.splitlines():
            _, kind, name = line.split()
            if kind in "tT":
                found[name] = path.name.removesuffix(".c.o").replace("_", "/", 1)
    return found


def stage_of(function: str, file: str) -> str:
    return next((stage for stage, pattern in STAGES if re.search(pattern, function) or re.search(pattern, file)), "other")


def self_costs(text: str, files: dict[str, str]) -> dict[str, int]:
    """By stage, of a callgrind.out (its format is described in valgrind's manual, "Callgrind Format Specification")."""
    names: dict[str, str] = {}
    function, skip = "", False
    costs: dict[str, int] = {}
    for line in text.splitlines():
        if match := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?$", line):
            called, number, name = match.groups()
            if name:
                names[number] = name
            if not called:
                function = names.get(number, "")
        elif line.startswith("calls="):
            skip = True         # the next line is what the call took, all in all
        elif match := re.match(r"[+\-*\d]\S* (\d+)$", line):
            if not skip:
                stage = stage_of(function, files.get(function.split("'")[0], ""))
                costs[stage] = costs.get(stage, 0) + int(match[1])
            skip = False
    return costs


def run(options: list[str], rounds: int, directory: Path) -> dict[str, int]:
    out = directory / "callgrind.out"
    done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no",
                           "--toggle-collect=worker_step", BENCH, *options, f"rounds={rounds}", "slice=1000000"],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{BENCH.name} {' '.join(options)}: {done.stderr[-500:]}")
    return self_costs(out.read_text(), sources())


def per_packet(options: list[str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="instructions-") as directory:
        few, many = (run(options, rounds, Path(directory)) for rounds in (FEW, MANY))
    return {stage: (cost - few.get(stage, 0)) / (PER_ROUND * (MANY - FEW)) for stage, cost in many.items()}


def grown(before: dict, now: dict) -> list[str]:
    changes = []
    for work, stages in now.items():
        then, all_now = sum(before.get(work, {}).values()), sum(stages.values())
        if then and abs(all_now / then - 1) > LEAST:
            by = {stage: stages.get(stage, 0) - before[work].get(stage, 0) for stage in {*stages, *before[work]}}
            most = max(by, key=lambda stage: abs(by[stage]))
            changes.append(f"{work}: {then:.0f} before, {all_now:.0f} now ({most} {by[most]:+.1f})")
    return changes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "vm_instructions.json")
    parser.add_argument("--compare", type=Path, help="an earlier run's file")
    arguments = parser.parse_args()
    found = {work: per_packet(options) for work, options in WORKS.items()}
    stages = list(dict.fromkeys(stage for stage, _ in STAGES)) + ["other"]
    print(f"| work | {' | '.join(stages)} | all |\n|---|{'---|' * (len(stages) + 1)}")
    for work, costs in found.items():
        print(f"| {work} | {' | '.join(f'{costs.get(stage, 0):.1f}' for stage in stages)} | {sum(costs.values()):.0f} |")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=1))
    if not arguments.compare:
        return 0
    before = json.loads(arguments.compare.read_text())
    for change in grown(before, found):
        print(f"- {change}")
    return int(any(sum(found[work].values()) > sum(before.get(work, {}).values()) * (1 + LEAST) for work in found if work in before))


if __name__ == "__main__":
    sys.exit(main())
