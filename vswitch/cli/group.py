"""`vswitch group`: groups in ovs-ofctl's syntax."""
import click

from vswitch.cli.output import message_dict, print_json


@click.group()
def group():
    """Groups, in ovs-ofctl's syntax.

    group_id=1,type=select,bucket=weight:2,actions=output:1,bucket=weight:1,actions=output:2
    """


def _writes(name: str, command: str, text: str):
    @group.command(name, help=text)
    @click.argument("bridge")
    @click.argument("group")
    @click.pass_obj
    def write(client, bridge, group):
        client.call("GroupService.WriteGroup", bridge=bridge, command=f"GROUP_COMMAND_{command}", text=group)
    return write


_writes("add", "ADD", "Add a group.")
_writes("mod", "MODIFY", "Give a group another type or other buckets.")
_writes("insert-buckets", "INSERT_BUCKETS", "Add buckets to a group, at command_bucket_id=ID, first or last.")
_writes("remove-bucket", "REMOVE_BUCKET", "Remove a bucket, command_bucket_id=ID, first, last or all.")


@group.command("del")
@click.argument("bridge")
@click.argument("number", metavar="GROUP|all")
@click.pass_obj
def del_(client, bridge, number):
    """Delete a group, or all, with the rules that name it."""
    client.call("GroupService.WriteGroup", bridge=bridge, command="GROUP_COMMAND_DELETE", text=f"group_id={number}")


@group.command("list")
@click.argument("bridge")
@click.pass_obj
def list_(client, bridge):
    """Groups as they could be added again, a line each."""
    found = client.call("GroupService.ListGroups", bridge=bridge).groups
    if client.as_json:
        print_json([message_dict(entry) for entry in found])
        return
    for entry in found:
        click.echo(entry.text)


@group.command()
@click.argument("bridge")
@click.pass_obj
def stats(client, bridge):
    """What came to each group and bucket."""
    found = client.call("GroupService.ListGroups", bridge=bridge).groups
    if client.as_json:
        print_json([message_dict(entry) for entry in found])
        return
    for entry in found:
        click.echo(f"group_id={entry.group.id} references={entry.references} packets={entry.packets} bytes={entry.bytes}")
        for bucket, packets, octets in zip(entry.group.buckets, entry.bucket_packets, entry.bucket_bytes):
            click.echo(f"  bucket_id={bucket.id} packets={packets} bytes={octets}")
