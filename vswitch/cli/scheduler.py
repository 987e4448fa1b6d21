"""`vswitch scheduler`."""
import click

from vswitch.cli.output import show_one


@click.group()
def scheduler():
    """How workers share their time."""


@scheduler.command()
@click.pass_obj
def show(client):
    """The policy and the slice."""
    show_one(client, client.call("SwitchService.GetScheduler"))


@scheduler.command("set")
@click.option("--policy", type=click.Choice(["wfq", "round-robin", "none"]), help="Who runs next; none = no protection.")
@click.option("--slice-ns", type=click.IntRange(500, 1_000_000), help="How long one tenant runs at a time.")
@click.pass_obj
def set_(client, policy, slice_ns):
    """Change it, until the datapath ends."""
    now = client.call("SwitchService.GetScheduler")
    client.call("SwitchService.SetScheduler", policy=policy or now.policy, slice_ns=slice_ns or now.slice_ns)
