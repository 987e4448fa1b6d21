"""run.py CONFIG: one switch in the foreground to play with; Ctrl-C ends it. Its state is in a directory of its own."""
from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vswitch.cli.client import Client
from vswitch.config.load import load_text
from vswitch.errors import UnavailableError, VswitchError

BIN = Path(sys.executable).parent


def start(config: Path, directory: Path) -> tuple[subprocess.Popen, str]:
    """vswitchd with the configuration applied, and where its API is."""
    process = subprocess.Popen([BIN / "vswitchd", "--state", directory / "state", "--run", directory / "run",
                                "--stop-datapath", "--log-level", "warning"])
    server = f"unix:{directory}/run/api.sock"
    client = Client(server, None, False)
    try:
        while not _connected(client):
            if process.poll() is not None:
                raise VswitchError("vswitchd has ended")
            time.sleep(0.05)
        client.call("ConfigService.Apply", text=config.read_text(encoding="utf-8"), filename=str(config))
    except BaseException:
        end(process)
        raise
    return process, server


def _connected(client: Client) -> bool:
    try:
        return client.call("SwitchService.GetInfo").connected
    except UnavailableError:
        return False


def end(process: subprocess.Popen) -> None:
    process.terminate()
    process.wait()


def tell(config: Path, server: str, bridge: str) -> None:
    vswitch = shlex.quote(str(BIN / "vswitch"))
    print(f"""The switch runs with {config}. In another terminal:

  export VSWITCH_SERVER={server}
  {vswitch} port list                  # ports and their counters
  {vswitch} flow dump {bridge}          # rules
  {vswitch} top                        # who uses the CPU time, live
  {vswitch} config diff {config}       # after editing the file; `apply` makes it so
  {BIN / 'vswitch-controller'} learning_switch     # for bridges whose controller is tcp:127.0.0.1:6653

Ctrl-C ends it.""", flush=True)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: run.py CONFIG", file=sys.stderr)
        return 2
    config = Path(arguments[0]).resolve()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="vswitch-run-") as directory:
        try:
            bridges = load_text(config.read_text(encoding="utf-8"), str(config)).bridges
            process, server = start(config, Path(directory))
        except (VswitchError, OSError) as error:
            print(f"run: {error}", file=sys.stderr)
            return 1
        try:
            tell(config, server, next(iter(bridges), "BRIDGE"))
            return process.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            end(process)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
