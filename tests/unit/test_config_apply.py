"""Files become state: the difference alone, all or nothing; what is shown recreates what is there."""
import asyncio

import pytest
import yaml

from vswitch.config.apply import apply_text, diff_text
from vswitch.config.diff import text as diff_as_text
from vswitch.config.show import show
from vswitch.errors import BusyError, InvalidError, OpenFlowError, QuotaError

from switch_double import SwitchDouble
from test_config_errors import GOOD


async def state(switch):
    return await show(switch)


async def test_apply_makes_what_the_file_says(double):
    changes = await apply_text(double, GOOD)
    assert [change.object for change in changes] == [
        "vtep", "tenant red", "tenant blue", "bridge br-red", "bridge br-blue", "port br-red/web", "port br-red/vx",
        "port br-blue/web", "flow br-red", "flow br-red"]
    assert double.vtep().local4 == "192.0.2.1"
    assert len(double.rules["br-red"]) == 2
    assert await apply_text(double, GOOD) == []


async def test_shown_state_is_no_difference_and_recreates_itself(double):
    await apply_text(double, GOOD)
    shown = await show(double)
    assert await diff_text(double, shown) == []
    other = SwitchDouble()
    await apply_text(other, shown)
    assert await show(other) == shown
    assert yaml.safe_load(shown)["tenants"]["red"]["bridges"]["br-red"]["dpid"] == 1


async def test_a_bridge_without_the_key_flows_keeps_its_rules(double):
    await apply_text(double, GOOD)
    without = GOOD[:GOOD.index("        flows:")] + GOOD[GOOD.index("  blue:"):]
    assert await apply_text(double, without) == []
    assert len(double.rules["br-red"]) == 2
    await apply_text(double, without.replace("dpid: 0x1", "dpid: 0x1\n        flows: []"))
    assert double.rules["br-red"] == {}


async def test_only_the_difference_is_touched(double):
    await apply_text(double, GOOD)
    double.calls.clear()
    changed = GOOD.replace("output:vx", "output:2,output:1").replace("weight: 200", "weight: 300")
    changes = await diff_text(double, changed)
    assert diff_as_text(changes) == (
        "~ tenant red: weight 200 -> 300\n"
        "~ flow br-red: table=0,priority=100,in_port=1 actions=output:2 -> output:2,output:1\n")
    assert double.calls == []
    await apply_text(double, changed)
    assert double.calls == ["change_tenant", "write_flows", "barrier"]


async def test_what_the_switch_picked_stays(double):
    await apply_text(double, GOOD)
    left_open = GOOD.replace(", port_no: 1", "").replace(", port_no: 2", "").replace("dpid: 0x1\n", "mac_max: 8192\n")
    assert await diff_text(double, left_open) == []


async def test_rules_may_name_ports_without_numbers(double):
    await apply_text(double, GOOD.replace(", port_no: 1", "").replace(", port_no: 2", ""))
    assert await diff_text(double, GOOD) == []


async def test_removal(double):
    await apply_text(double, GOOD)
    only_blue = "tenants:\n" + GOOD[GOOD.index("  blue:"):]
    assert diff_as_text(await apply_text(double, only_blue)) == (
        "- bridge br-red: tenant red, dpid 0x1, fail_mode secure, controllers [tcp:127.0.0.1:6653]\n"
        "- tenant red: weight 200\n")
    assert [tenant.name for tenant in double.tenants()] == ["blue"]
    await apply_text(double, "tenants: {}")
    assert double.tenants() == [] and double.ports() == []


async def test_a_bridge_moves_between_tenants(double):
    await apply_text(double, GOOD)
    moved = GOOD.replace("  blue:\n    bridges:\n", "")
    await apply_text(double, moved)
    assert [(bridge.name, bridge.tenant) for bridge in double.bridges()] == [("br-red", "red"), ("br-blue", "red")]


FAILURES = [
    ("add_tenant", QuotaError("too many", "name"), "  blue:", "  green:"),
    ("change_tenant", QuotaError("more than there is", "weight"), "weight: 200", "weight: 300"),
    ("remove_tenant", BusyError("in use", "name"), "  blue:\n", "  green:\n"),
    ("add_bridge", QuotaError("too many"), "br-blue:", "br-green:"),
    ("change_port", BusyError("taken", "vni"), "vni: 1001", "vni: 1002"),
    ("add_port", QuotaError("too many"), "web: {kind: dummy", "db: {kind: dummy"),
    ("set_vtep", BusyError("port taken", "udp_port"), "192.0.2.1", "192.0.2.9"),
    ("write_flows", QuotaError("full"), "priority=0,", "priority=1,"),
]


@pytest.mark.parametrize("step, error, old, new", FAILURES, ids=[case[0] for case in FAILURES])
async def test_a_failure_takes_everything_back(double, step, error, old, new):
    await apply_text(double, GOOD)
    before = await state(double)
    changed = GOOD.replace(old, new)
    if step != "set_vtep":
        changed = changed.replace("192.0.2.1}", "192.0.2.7}")     # a step that succeeds and is taken back
    double.refuse = (step, error)
    with pytest.raises(type(error)) as caught:
        await apply_text(double, changed, "site.yaml")
    assert await state(double) == before
    assert error.reason in str(caught.value)


async def test_a_rule_that_the_switch_refuses_takes_everything_back(double):
    await apply_text(double, GOOD)
    before = await state(double)
    double.full_at = 2
    more = GOOD.replace("          - priority=0", "          - priority=7,actions=drop\n          - priority=0")
    with pytest.raises(OpenFlowError) as caught:
        await apply_text(double, more.replace("weight: 200", "weight: 5"), "site.yaml")
    assert str(caught.value) == "site.yaml:15: tenants.red.bridges.br-red.flows[1]: the table is full"
    assert await state(double) == before


async def test_nothing_is_touched_when_the_file_is_wrong(double):
    await apply_text(double, GOOD)
    double.calls.clear()
    with pytest.raises(InvalidError):
        await apply_text(double, GOOD.replace("weight: 200", "weight: 300").replace("actions=drop", "actions=frob"))
    assert double.calls == []


async def test_two_at_once_are_one_after_the_other(double):
    other = GOOD.replace("weight: 200", "weight: 300").replace("br-blue:", "br-green:")
    await asyncio.gather(*(apply_text(double, text) for text in (GOOD, other) * 3))
    assert await diff_text(double, other) == []


async def test_a_tenant_without_room_is_refused_in_its_line(double):
    with pytest.raises(QuotaError) as caught:
        await apply_text(double, GOOD.replace("weight: 200", "cpu_min: 0.6").replace("  blue:\n", "  blue:\n    cpu_min: 0.6\n"),
                         "site.yaml")
    assert str(caught.value).startswith("site.yaml:17: tenants.blue.cpu_min: ")
    assert double.tenants() == []
