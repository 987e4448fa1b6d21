"""vswitchd: the control plane. Wiring only: configuration to datapath to services."""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import logging
import os
import pwd
import signal
import sys
from pathlib import Path

import uvloop

from vswitch.daemon.logs import set_up_logging
from vswitch.datapath.launcher import Command, DirectLauncher, Launcher, drop_to, find_executable, fork_privileged
from vswitch.errors import VswitchError

log = logging.getLogger("vswitchd")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vswitchd", description="The switch's control plane: desired state, OpenFlow, gRPC."
                                     " Starts vswitch-datapath, or attaches to the one that runs.")
    parser.add_argument("--state", metavar="DIR", default="/var/lib/vswitch", help="durable state (default %(default)s)")
    parser.add_argument("--run", metavar="DIR", default="/run/vswitch", help="sockets (default %(default)s)")
    parser.add_argument("--workers", metavar="N", type=int, default=0,
                        help="worker threads of a datapath that is started; 0 = its default")
    parser.add_argument("--poll", action="store_true", help="workers never sleep, for cores of their own")
    parser.add_argument("--policy", choices=("wfq", "round-robin", "none"), default="",
                        help="who runs next on a worker; none = no protection (default wfq)")
    parser.add_argument("--slice-ns", metavar="N", type=int, default=0,
                        help="how long one tenant runs at a time, 500..1000000 (default 1400)")
    parser.add_argument("--user", metavar="NAME", help="drop root; a small process keeps it to start the datapath")
    parser.add_argument("--config", metavar="FILE", help="apply this configuration at the start")
    parser.add_argument("--api", metavar="ADDRESS", action="append",
                        help="gRPC address, may be repeated (default unix:RUN/api.sock)")
    parser.add_argument("--api-tls", metavar=("KEY", "CERT", "CA"), nargs=3,
                        help="PEM files for host:port addresses of the API: its key and certificate, and the authority "
                             "whose clients are let in")
    parser.add_argument("--metrics", metavar="ADDRESS", help="serve Prometheus at host:port, path /metrics")
    parser.add_argument("--datapath", metavar="PATH", default="", help="the executable vswitch-datapath")
    parser.add_argument("--stop-datapath", action="store_true", help="end the datapath when vswitchd is ended")
    parser.add_argument("--log-level", metavar="LEVEL", default="info", choices=("debug", "info", "warning", "error"))
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.workers <= 64:
        parser.error("--workers must be between 0 and 64")
    if arguments.slice_ns and not 500 <= arguments.slice_ns <= 1_000_000:
        parser.error("--slice-ns must be between 500 and 1000000")
    if arguments.user is not None:
        if os.geteuid() != 0:
            parser.error("--user needs root")
        try:
            pwd.getpwnam(arguments.user)
        except KeyError:
            parser.error(f"--user: there is no user {arguments.user}")
    return arguments


def _launcher(arguments: argparse.Namespace, socket_path: Path) -> Launcher:
    command = Command(find_executable(arguments.datapath), str(socket_path), str(Path(arguments.state) / "datapath.log"),
                      arguments.workers, arguments.poll, arguments.policy, arguments.slice_ns)
    if not arguments.user:
        return DirectLauncher(command)
    launcher = fork_privileged(command, arguments.user)
    _load_modules()
    drop_to(arguments.user, arguments.state, arguments.run)
    return launcher


def _load_modules() -> None:
    """What is otherwise loaded where it is used: the unprivileged user may not be able to read where Python is installed."""
    for name in ("vswitch.model.switch", "vswitch.openflow.service", "vswitch.rpc.server", "vswitch.config.apply",
                 "vswitch.metrics.server", "encodings.idna", "concurrent.futures.thread", "concurrent.futures.process", "yaml"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _read_tls(arguments: argparse.Namespace) -> tuple[bytes, ...]:
    """Read while we still may: the unprivileged user need not."""
    return tuple(Path(name).read_bytes() for name in arguments.api_tls or ())


async def _run(arguments: argparse.Namespace, launcher: Launcher, socket_path: Path, tls: tuple[bytes, ...]) -> None:
    from vswitch.model.switch import Switch
    from vswitch.openflow.service import OpenFlowService

    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    switch = Switch(arguments.state, str(socket_path), launcher)
    api = openflow = metrics = None
    start = None
    try:
        openflow = OpenFlowService(switch, arguments.run)
        api = await _serve_api(switch, arguments.api or [f"unix:{Path(arguments.run).absolute()}/api.sock"], tls)
        if arguments.metrics:
            from vswitch.metrics.server import serve_metrics
            metrics = serve_metrics(switch, arguments.metrics)
        start = asyncio.create_task(_start(switch, arguments))      # last: whoever is refused an address starts nothing
        # What has been loaded stays: looking through it for garbage would stop everything for 60 ms now and then.
        gc.collect()
        gc.freeze()
        log.info("vswitchd runs", extra={"pid": os.getpid()})
        await ending.wait()
        log.info("vswitchd ends", extra={"datapath": "ends too" if arguments.stop_datapath else "runs on"})
    finally:
        if start is not None:
            start.cancel()
        if metrics is not None:
            await metrics.stop()
        if api is not None:
            await api.stop()
        if openflow is not None:
            await openflow.stop()
        await switch.stop(datapath_too=arguments.stop_datapath)


async def _start(switch, arguments: argparse.Namespace) -> None:
    try:
        await switch.start()
        if arguments.config:
            from vswitch.config.apply import apply_file
            await apply_file(switch, arguments.config)
            log.info("configuration applied", extra={"file": arguments.config})
    except VswitchError as e:
        log.error("start-up is not complete", extra={"reason": str(e)})
    except Exception:
        log.exception("start-up is not complete")


async def _serve_api(switch, addresses: list[str], tls: tuple[bytes, ...]):
    try:
        from vswitch.rpc.server import Tls, serve
    except ImportError as e:
        log.error("no gRPC API", extra={"reason": str(e)})
        return None
    return await serve(switch, addresses, Tls(*tls) if tls else None)


def main(argv: list[str] | None = None) -> int:
    arguments = _arguments(argv)
    set_up_logging(arguments.log_level)
    socket_path = (Path(arguments.run) / "datapath.sock").absolute()
    try:
        for directory in (arguments.state, arguments.run):
            os.makedirs(directory, mode=0o755, exist_ok=True)
        tls = _read_tls(arguments)
        launcher = _launcher(arguments, socket_path)
        with contextlib.suppress(KeyboardInterrupt):
            # A fifth less time for what a controller asks than asyncio's own loop takes.
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_run(arguments, launcher, socket_path, tls))
    except (VswitchError, OSError) as e:
        log.error("vswitchd can't run", extra={"reason": str(e)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
