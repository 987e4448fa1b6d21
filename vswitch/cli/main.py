"""`vswitch [--server ADDR] [--json] NOUN VERB`: one module a noun, loaded when it is named."""
from __future__ import annotations

import sys
from importlib import import_module

import click

from vswitch.errors import VswitchError

# Each module of this package has a command of the same name; the text is what --help shows without loading it.
COMMANDS = {
    "tenant": "Tenants: shares of the datapath's CPU time.",
    "bridge": "Bridges: one tenant's OpenFlow switches.",
    "port": "Ports of bridges.",
    "vtep": "The host's VXLAN tunnel end point.",
    "flow": "Rules, in ovs-ofctl's syntax.",
    "group": "Groups, in ovs-ofctl's syntax.",
    "meter": "Meters, in ovs-ofctl's syntax.",
    "table": "Tables: what they do when they are full, and with what they don't know.",
    "packet_out": "Send a frame through actions.",
    "mac": "Learned addresses.",
    "trace": "What would happen to a frame, and why.",
    "stats": "Counters of workers, tenants, ports and tables.",
    "top": "Who uses the datapath's CPU time, live.",
    "scheduler": "How workers share their time.",
    "balance": "Queues that move from busy workers to others.",
    "event": "What happens, as it happens.",
    "config": "The desired state as one YAML file.",
    "info": "The switch as a whole.",
}


class NounGroup(click.Group):
    def list_commands(self, ctx):
        return [name.replace("_", "-") for name in COMMANDS]

    def get_command(self, ctx, name):
        module = name.replace("-", "_")
        if module not in COMMANDS:
            return None
        return getattr(import_module(f"vswitch.cli.{module}"), module)

    def format_commands(self, ctx, formatter):
        with formatter.section("Commands"):
            formatter.write_dl([(name.replace("_", "-"), text) for name, text in COMMANDS.items()])


@click.group(cls=NounGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--server", envvar="VSWITCH_SERVER", default="unix:/run/vswitch/api.sock", show_default=True,
              help="Where vswitchd listens: unix:/path or host:port ($VSWITCH_SERVER).")
@click.option("--tls", nargs=3, type=click.Path(exists=True, dir_okay=False), metavar="KEY CERT CA",
              help="PEM files for mutual TLS, for a host:port server.")
@click.option("--json", "as_json", is_flag=True, help="Print what a script can read.")
@click.pass_context
def cli(ctx, server, tls, as_json):
    """A virtual switch with time protection."""
    from vswitch.cli.client import Client
    ctx.obj = Client(server, tls, as_json)


def main(arguments: list[str] | None = None) -> None:
    """Exit codes: 0 done, 1 refused or failed (one line on stderr), 2 not a command."""
    try:
        cli.main(arguments, prog_name="vswitch", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2 if isinstance(error, click.UsageError) else 1)
    except VswitchError as error:
        print(f"vswitch: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()      # the reader has gone: nothing more to say to anybody
        sys.exit(0)


if __name__ == "__main__":
    main()
