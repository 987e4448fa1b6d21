"""`vswitch-controller [--on os-ken|ryu] APP...`: picks the platform's interpreter and starts launch.py in it.

Ryu 4.34 needs an environment of its own (controllers/ryu_env.sh makes it); os-ken is in ours.
"""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEFAULT_RYU_ENV = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vswitch" / "ryu"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vswitch-controller", description="Run OpenFlow controllers written to Ryu's API.")
    parser.add_argument("apps", nargs="+", metavar="APP",
                        help="learning_switch, tenant_firewall, flow_stats_monitor, a file, or a module "
                             "(ryu.app.simple_switch_13)")
    parser.add_argument("--on", choices=("os-ken", "ryu"), default="os-ken", help="the platform (os-ken)")
    parser.add_argument("--port", "--ofp-tcp-listen-port", type=int, default=6653, help="TCP port for switches (6653)")
    parser.add_argument("--host", "--ofp-listen-host", default="127.0.0.1", help="address for switches (127.0.0.1)")
    parser.add_argument("--ryu-env", type=Path, default=Path(os.environ.get("VSWITCH_RYU_ENV", DEFAULT_RYU_ENV)),
                        help="Ryu's virtual environment ($VSWITCH_RYU_ENV, %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="log what the platform does, too")
    options = parser.parse_args(arguments)
    if not 0 < options.port < 65536:
        parser.error(f"--port: {options.port} is out of range, 1..65535")
    return options


def apps_directory() -> Path:
    """Where the switch's own apps are: installed beside the runner, or in the source tree."""
    installed = HERE / "apps"
    return installed if installed.is_dir() else HERE.parents[1] / "controllers"


def command(options: argparse.Namespace) -> list[str]:
    """What to execute. SystemExit with one line where the platform is not there."""
    python = sys.executable
    if options.on == "ryu":
        python = str(options.ryu_env / "bin" / "python")
        if not os.access(python, os.X_OK):
            raise SystemExit(f"vswitch-controller: there is no Ryu in {options.ryu_env}: make it with sh "
                             f"{apps_directory() / 'ryu_env.sh'} {options.ryu_env}")
    launch = [python, str(HERE / "launch.py"), options.on, options.host, str(options.port), str(apps_directory()),
              str(options.ryu_env), "verbose" if options.verbose else "quiet"]
    return launch + options.apps


def main(arguments: list[str] | None = None) -> None:
    arguments_of_python = command(parse_arguments(arguments))
    os.execv(arguments_of_python[0], arguments_of_python)


if __name__ == "__main__":
    main()
