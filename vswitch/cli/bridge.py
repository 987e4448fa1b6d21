"""`vswitch bridge`."""
import click

from vswitch.cli.output import show_list, show_one


class Dpid(click.ParamType):
    """A datapath id: 0x..., or 16 hexadecimal digits as OpenFlow tools print it, or decimal."""
    name = "dpid"

    def convert(self, value, param, ctx):
        try:
            number = int(value, 16) if len(value) == 16 else int(value, 0)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not 0 < number < 1 << 64:
            self.fail(f"{value} is out of range, 1..2^64-1", param, ctx)
        return number


@click.group()
def bridge():
    """Bridges: one tenant's OpenFlow switches."""


def _settings(command):
    for option in reversed((
            click.option("--dpid", type=Dpid(), help="OpenFlow datapath id."),
            click.option("--fail-mode", type=click.Choice(["standalone", "secure"]), help="Without a controller."),
            click.option("--controller", "controllers", multiple=True, metavar="tcp:HOST[:PORT]",
                         help="Connect to it; also ssl:HOST[:PORT], unix:PATH; may be repeated; '' = none."),
            click.option("--listen", multiple=True, metavar="ptcp:[PORT][:ADDRESS]",
                         help="Let controllers connect; also pssl:[PORT][:ADDRESS], punix:PATH; may be repeated; '' = none."),
            click.option("--protocol", "protocols", multiple=True, metavar="VERSION",
                         help="OpenFlow version spoken, 1.0 to 1.5; may be repeated; '' = all."),
            click.option("--auxiliary", type=click.IntRange(0, 16), help="Auxiliary connections to each controller."),
            click.option("--tls", nargs=3, metavar="CERTIFICATE KEY CA",
                         help="PEM files on the switch's host, for ssl: and pssl:; '' '' '' = none."),
            click.option("--mac-ageing", type=click.IntRange(1, 86400), help="Seconds."),
            click.option("--egress-table", type=click.IntRange(0, 253), help="First egress table of OpenFlow 1.5; 0 = none."),
            click.option("--mac-max", type=click.IntRange(1, 1 << 20), help="Learned addresses."))):
        command = option(command)
    return command


def _fail_mode(word: str | None) -> str | None:
    return f"FAIL_MODE_{word.upper()}" if word else None


def _named(values: tuple[str, ...]) -> list[str]:
    return [value for value in values if value]


def _tls(files: tuple[str, str, str] | None) -> dict[str, str] | None:
    return dict(zip(("certificate", "key", "ca"), files)) if files is not None else None


@bridge.command()
@click.argument("name")
@click.option("--tenant", required=True, help="The owner.")
@_settings
@click.pass_obj
def add(client, name, tenant, fail_mode, controllers, listen, protocols, tls, **numbers):
    """Add a bridge."""
    message = {key: value for key, value in numbers.items() if value is not None}
    if fail_mode:
        message["fail_mode"] = _fail_mode(fail_mode)
    if tls:
        message["tls"] = _tls(tls)
    client.call("BridgeService.AddBridge", bridge={
        "name": name, "tenant": tenant, "controllers": _named(controllers), "listen": _named(listen),
        "protocols": _named(protocols), **message})


@bridge.command("set")
@click.argument("name")
@_settings
@click.pass_obj
def set_(client, name, fail_mode, controllers, listen, protocols, tls, **numbers):
    """Change what is given, leave the rest."""
    client.call("BridgeService.SetBridge", name=name, fail_mode=_fail_mode(fail_mode),
                controllers={"target": _named(controllers)} if controllers else None,
                listen={"target": _named(listen)} if listen else None,
                protocols={"version": _named(protocols)} if protocols else None, tls=_tls(tls), **numbers)


@bridge.command("del")
@click.argument("name")
@click.pass_obj
def del_(client, name):
    """Delete a bridge with its ports and rules."""
    client.call("BridgeService.DeleteBridge", name=name)


@bridge.command("list")
@click.option("--tenant", help="Of this tenant only.")
@click.pass_obj
def list_(client, tenant):
    """All bridges."""
    show_list(client, client.call("BridgeService.ListBridges", tenant=tenant).bridges, {
        "name": "name", "tenant": "tenant", "dpid": "dpid", "fail mode": "fail_mode", "controllers": "controllers",
        "listen": "listen", "protocols": "protocols"})


@bridge.command()
@click.argument("name")
@click.pass_obj
def show(client, name):
    """One bridge."""
    show_one(client, client.call("BridgeService.GetBridge", name=name))


@bridge.command()
@click.argument("name", default="")
@click.pass_obj
def controllers(client, name):
    """OpenFlow sessions, of one bridge or all."""
    show_list(client, client.call("BridgeService.ListControllers", bridge=name).controllers, {
        "bridge": "bridge", "target": "target", "connected": "connected", "version": "version", "role": "role",
        "auxiliary": "auxiliary", "last error": "last_error"})
