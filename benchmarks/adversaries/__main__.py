"""Lists adversaries; prints one's rules; sends its packets; is its controller.

    python -m benchmarks.adversaries
    python -m benchmarks.adversaries masks --rules | while read rule; do ovs-ofctl add-flow br-evil "$rule"; done
    python -m benchmarks.adversaries masks --send tap-evil --seconds 10
    python -m benchmarks.adversaries flow_mods --controller unix:/run/openvswitch/br-evil.mgmt --send tap-evil
"""
from __future__ import annotations

import argparse
import multiprocessing
import socket
import time
from contextlib import ExitStack
from itertools import cycle

from benchmarks.adversaries import NAMES, Adversary, controller, load, load_all

LONGEST = 65000                 # bytes of a frame that an interface takes


def _frames(adversary: Adversary, end: float):
    """In turn; of those that ramp, more and more of them."""
    start, frames = time.monotonic(), adversary.frames
    while adversary.ramp and (part := (time.monotonic() - start) / (end - start) / adversary.ramp) < 1:
        yield from frames[:max(1, int(part * len(frames)))]
    yield from cycle(frames)


def send(adversary: Adversary, interfaces: list[str], seconds: float) -> int:
    """As fast as this process can, through each interface in turn, in bursts and pauses where it has those; returns packets sent."""
    on, period = adversary.on_ns / 1e9, (adversary.on_ns + adversary.off_ns) / 1e9
    with ExitStack() as stack:
        socks = []
        for interface in interfaces:
            socks.append(stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW)))
            socks[-1].bind((interface, 0))
        sent, start = 0, time.monotonic()
        for sock, frame in zip(cycle(socks), _frames(adversary, start + seconds)):
            now = time.monotonic()
            if now >= start + seconds:
                break
            while on and (now - start) % period >= on:
                now = time.monotonic()
            try:
                sock.send(frame[:LONGEST])
                sent += 1
            except OSError:
                pass
    return sent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adversaries", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", choices=NAMES)
    parser.add_argument("--variant", type=int, default=-1, help="of those that have several (default: the worst)")
    parser.add_argument("--rules", action="store_true", help="print its rules, for ovs-ofctl add-flow or vswitch flow add")
    parser.add_argument("--groups", action="store_true", help="print its groups")
    parser.add_argument("--flow-mods", action="store_true", help="print what its controller sends in turn, for ovs-ofctl add-flows")
    parser.add_argument("--send", metavar="INTERFACE", nargs="+", help="send its packets (needs root), in turn through several of its ports")
    parser.add_argument("--controller", metavar="unix:PATH|tcp:HOST:PORT|ptcp:PORT", help="be its bridge's controller, meanwhile")
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    if arguments.name is None:
        for adversary in load_all():
            print(f"{adversary.name:18} {adversary.what}")
        return
    adversary = load(arguments.name)[arguments.variant]
    for wanted, lines in ((arguments.rules, adversary.rules), (arguments.groups, adversary.groups), (arguments.flow_mods, adversary.flow_mods)):
        for line in lines if wanted else []:
            print(line)
    if arguments.controller and not adversary.controls:
        parser.error(f"{arguments.name}: its controller does nothing")
    sender = multiprocessing.Process(target=_send_and_say, args=(adversary, arguments.send, arguments.seconds)) if arguments.send else None
    if sender:
        sender.start()
    if arguments.controller:
        sent, errors = controller.run(adversary, arguments.controller, arguments.seconds)
        print(f"{sent} {'answers' if adversary.asks else 'flow-mods'}, {errors} errors")
    if sender:
        sender.join()


def _send_and_say(adversary: Adversary, interfaces: list[str], seconds: float) -> None:
    print(send(adversary, interfaces, seconds), "packets", flush=True)


if __name__ == "__main__":
    main()
