"""`vswitch tenant`."""
import click

from vswitch.cli.output import show_list, show_one


@click.group()
def tenant():
    """Tenants: shares of the datapath's CPU time."""


def _shares(command):
    for option in reversed((
            click.option("--weight", type=int, help="Share in proportion to the others', 1..10000."),
            click.option("--cpu-min", type=float, help="Guaranteed fraction of one worker, 0..1."),
            click.option("--cpu-max", type=float, help="Most of one worker it may use, 0..1; 0 = no limit."),
            click.option("--max-rules", type=click.IntRange(0, 0xffffffff), help="OpenFlow rules; 0 = 1,000,000."),
            click.option("--max-megaflows", type=click.IntRange(0, 0xffffffff),
                         help="Cache entries per worker; 0 = 65,536."))):
        command = option(command)
    return command


def _present(values: dict) -> dict:
    return {name: value for name, value in values.items() if value is not None}


@tenant.command()
@click.argument("name")
@_shares
@click.pass_obj
def add(client, name, **shares):
    """Add a tenant."""
    client.call("TenantService.AddTenant", tenant={"name": name, **_present(shares)})


@tenant.command("set")
@click.argument("name")
@_shares
@click.pass_obj
def set_(client, name, **shares):
    """Change what is given, leave the rest."""
    client.call("TenantService.SetTenant", name=name, **shares)


@tenant.command("del")
@click.argument("name")
@click.pass_obj
def del_(client, name):
    """Delete a tenant that owns no bridge."""
    client.call("TenantService.DeleteTenant", name=name)


@tenant.command("list")
@click.pass_obj
def list_(client):
    """All tenants."""
    show_list(client, client.call("TenantService.ListTenants").tenants, {
        "name": "name", "id": "id", "weight": "weight", "cpu min": "cpu_min", "cpu max": "cpu_max",
        "max rules": "max_rules", "max megaflows": "max_megaflows"})


@tenant.command()
@click.argument("name")
@click.pass_obj
def show(client, name):
    """One tenant."""
    show_one(client, client.call("TenantService.GetTenant", name=name))
