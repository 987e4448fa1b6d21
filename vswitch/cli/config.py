"""`vswitch config`."""
import click

from vswitch.cli.output import message_dict, print_json
from vswitch.errors import InvalidError

MARKS = {"add": "+", "change": "~", "remove": "-"}


@click.group()
def config():
    """The desired state as one YAML file; FILE - is standard input."""


def _read(file) -> str:
    try:
        return file.read()
    except UnicodeDecodeError:
        raise InvalidError("is not UTF-8 text", file.name) from None


@config.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@click.pass_obj
def check(client, file):
    """Check a file; needs no switch."""
    from vswitch.config.load import load_text
    load_text(_read(file), file.name)
    if client.as_json:
        print_json({"ok": True})


@config.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@click.pass_obj
def diff(client, file):
    """What apply would change."""
    _show_changes(client, client.call("ConfigService.Diff", text=_read(file), filename=file.name))


@config.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@click.pass_obj
def apply(client, file):
    """Make the running state what the file says: the difference only, all or nothing."""
    _show_changes(client, client.call("ConfigService.Apply", text=_read(file), filename=file.name))


def _show_changes(client, reply) -> None:
    if client.as_json:
        print_json([message_dict(change) for change in reply.changes])
        return
    for change in reply.changes:
        click.echo(f"{MARKS[change.action]} {change.object}{': ' if change.detail else ''}{change.detail}")


@config.command()
@click.option("--flows/--no-flows", default=True, help="With the bridges' rules (a controller's too), or without.")
@click.pass_obj
def show(client, flows):
    """The file that recreates the running state."""
    text = client.call("ConfigService.Show", flows=flows).text
    if client.as_json:
        import yaml
        print_json(yaml.safe_load(text))
    else:
        click.echo(text, nl=False)
