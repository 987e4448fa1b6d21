"""What schedulers without turns, costs or limits to how finely they divide a core do for a victim beside bursts within their share: the
loads of claim 2 (isolation.py), a fluid server, one service time for all.

    python benchmarks/ideal_fair.py [MS]

- `gps`: both get half while both have work (generalized processor sharing: what every fair queueing approximates).
- `las`: who has had less since it last had nothing to do gets all (least attained service): as much as can be done for who has little to
  do by one who doesn't know what comes.
- `short`: who has less waiting gets all: what this switch goes by, of those within their shares.
- `first`: the victim always goes first: no fair scheduler, for the other asks for no more than its share either.
"""
from __future__ import annotations

import random
import sys
from collections import deque

EACH = 0.108                # us a packet
CORE = 0.4                  # of a core, what the victim asks for
BURST_US, PAUSE_US, GAP_US = 5.0, 20.0, 0.05


def arrivals(ms: float, seed: int) -> tuple[list[float], list[float]]:
    chance, at, victim = random.Random(seed), 0.0, []
    while at < 1000 * ms:
        at += chance.expovariate(CORE / EACH)
        victim.append(at)
    evil = [period + k * GAP_US for period in _steps(1000 * ms, BURST_US + PAUSE_US) for k in range(int(BURST_US / GAP_US))]
    return victim, evil


def _steps(end: float, step: float):
    at = 0.0
    while at < end:
        yield at
        at += step


def serve(rule: str, victim: list[float], evil: list[float]) -> list[float]:
    """Sojourn times of the victim's packets, us."""
    events = sorted([(t, 0) for t in victim] + [(t, 1) for t in evil])
    queues, attained = (deque(), deque()), [0.0, 0.0]
    found: list[float] = []
    now = 0.0

    def rates() -> tuple[float, float]:
        if not (queues[0] and queues[1]):
            return float(bool(queues[0])), float(bool(queues[1]))
        if rule == "gps" or (rule == "las" and abs(attained[0] - attained[1]) < 1e-9):
            return 0.5, 0.5
        if rule == "short":
            first = 0 if sum(left for _, left in queues[0]) <= sum(left for _, left in queues[1]) else 1
        else:
            first = 0 if rule == "first" or attained[0] < attained[1] else 1
        return (1.0, 0.0) if first == 0 else (0.0, 1.0)

    def until(end: float) -> None:
        nonlocal now
        while now < end - 1e-12 and (queues[0] or queues[1]):
            rate = rates()
            step = end - now
            for c in (0, 1):
                if rate[c]:
                    step = min(step, queues[c][0][1] / rate[c])
            if rule == "las" and queues[0] and queues[1] and rate != (0.5, 0.5):
                step = min(step, max(abs(attained[0] - attained[1]), 1e-9))
            now += step
            for c in (0, 1):
                if not rate[c]:
                    continue
                queues[c][0][1] -= rate[c] * step
                attained[c] += rate[c] * step
                if queues[c][0][1] <= 1e-12:
                    came, _ = queues[c].popleft()
                    if c == 0:
                        found.append(now - came)
                    if not queues[c]:
                        attained[c] = 0.0
        now = max(now, end)

    for when, who in events:
        until(when)
        queues[who].append([when, EACH])
    until(now + 1e6)
    return sorted(found)


def main() -> None:
    ms = float(sys.argv[1]) if sys.argv[1:] else 50
    victim, evil = arrivals(ms, 1)
    rows = {"alone": serve("gps", victim, []), **{rule: serve(rule, victim, evil) for rule in ("gps", "las", "short", "first")}}
    alone = rows["alone"]
    for name, row in rows.items():
        p99, p999 = (row[int(part * len(row))] for part in (0.99, 0.999))
        print(f"{name:6} p99 {p99:.2f} us ({p99 / alone[int(0.99 * len(alone))]:.2f} times alone), p99.9 {p999:.2f} us "
              f"({p999 / alone[int(0.999 * len(alone))]:.2f} times), maximum {row[-1]:.2f} us ({row[-1] - alone[-1]:+.2f})")


if __name__ == "__main__":
    main()
