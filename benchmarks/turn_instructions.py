"""Instructions per packet with protection and without, counted by callgrind: tenants that are busy all the time on one worker
(bench_turns, on the virtual clock, on which a lone tenant's turns end where they wouldn't on the real one: two or more). What protection costs where the machine's better and worse moments hide it.

    .venv/bin/python -P benchmarks/turn_instructions.py [TENANTS...]
"""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))

from vm_instructions import ROOT, self_costs, sources  # noqa: E402

BENCH = ROOT / "build" / "release" / "datapath_c" / "bench" / "bench_turns"
POLICIES = ("wfq", "none")
FEW, MANY = 1, 2                # rounds of two runs, whose difference has no beginning in it


def available() -> bool:
    return bool(shutil.which("valgrind"))


def _run(tenants: int, policy: str, rounds: int) -> tuple[dict[str, int], int]:
    """Instructions by stage, and packets."""
    with tempfile.TemporaryDirectory(prefix="instructions-") as directory:
        out = Path(directory) / "callgrind.out"
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no",
                               "--toggle-collect=worker_step", BENCH, str(tenants), str(rounds), str(POLICIES.index(policy))],
                              capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{BENCH.name}: {done.stderr[-500:]}")
        return self_costs(out.read_text(), sources()), int(re.search(r"(\d+) packets$", done.stdout.strip())[1])


def per_packet(tenants: int) -> dict[str, dict[str, float]]:
    """By policy and stage."""
    found = {}
    for policy in POLICIES:
        (few, packets_few), (many, packets_many) = (_run(tenants, policy, rounds) for rounds in (FEW, MANY))
        found[policy] = {stage: (cost - few.get(stage, 0)) / (packets_many - packets_few) for stage, cost in many.items()}
    return found


def main() -> None:
    for tenants in map(int, sys.argv[1:] or ("8", "64")):
        found = per_packet(tenants)
        on, off = (sum(found[policy].values()) for policy in POLICIES)
        print(f"{tenants:3} tenants: {on:.0f} with protection, {off:.0f} without: {100 * off / on:.1f} %")
        for policy in POLICIES:
            stages = sorted(found[policy].items(), key=lambda item: -item[1])
            print(f"    {policy:5} " + ", ".join(f"{stage} {cost:.0f}" for stage, cost in stages if cost >= 0.5))


if __name__ == "__main__":
    main()
