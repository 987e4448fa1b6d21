"""Match fields, actions and instructions: round trips, os-ken as the other side, and errors."""
import pytest
from hypothesis import given, strategies as st
from os_ken.ofproto import ofproto_v1_3_parser as osk

from vswitch.datapath.fields import BY_NAME, FIELDS
from vswitch.errors import InvalidError, OpenFlowError
from vswitch.openflow import actions as act, oxm


@st.composite
def matches(draw):
    out = {}
    for field in draw(st.lists(st.sampled_from(FIELDS), unique=True, max_size=8)):
        mask = draw(st.none() | st.integers(0, field.full_mask)) if field.maskable else None
        value = draw(st.integers(0, field.full_mask))
        out[field.name] = (value if mask is None else value & mask, mask)
    return out


@given(matches(), st.integers(0, 3))
def test_match_round_trip(match, words):
    data = bytes(8 * words) + oxm.encode_match(match)
    decoded, used = oxm.decode_match(data, 8 * words)
    assert decoded == match and used == len(data) - 8 * words and used % 8 == 0


@given(matches())
def test_match_as_os_ken_writes_it(match):
    known = {n: v for n, v in match.items() if BY_NAME[n].oxm >> 16 == 0x8000}
    data = oxm.encode_match(known)
    parsed = osk.OFPMatch.parser(data, 0)
    again = bytearray()
    parsed.serialize(again, 0)
    assert {f.header >> 9 for f in parsed.fields} == {BY_NAME[n].oxm >> 9 for n in known}
    assert len(again) == len(data)


ACTIONS = [act.Output(1, 128), act.CopyTtlOut(), act.CopyTtlIn(), act.SetMplsTtl(3), act.DecMplsTtl(), act.PushVlan(),
           act.PopVlan(), act.PushMpls(0x8848), act.PopMpls(0x0800), act.SetQueue(7), act.Group(9), act.SetNwTtl(64),
           act.DecNwTtl(), act.PushPbb(), act.PopPbb(), act.SetField("eth_dst", 0x020000000001),
           act.SetField("ipv6_src", 1 << 120), act.SetField("vlan_vid", 0x1005),
           act.ExperimenterAction(1, b"\0\1\2\3\4\5\6\7")]


def test_actions_round_trip():
    assert act.decode_actions(act.encode_actions(ACTIONS)) == ACTIONS


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: type(a).__name__)
def test_actions_as_os_ken_writes_them(action):
    data = act.encode_action(action)
    again = bytearray()
    osk.OFPAction.parser(data, 0).serialize(again, 0)
    assert bytes(again) == data


def test_instructions_round_trip():
    all_of_them = [act.Meter(1), act.ApplyActions(tuple(ACTIONS)), act.ClearActions(), act.WriteActions(tuple(ACTIONS[:2])),
                   act.WriteMetadata(5, 0xff), act.GotoTable(3), act.ExperimenterInstruction(1, bytes(8))]
    data = act.encode_instructions(all_of_them)
    assert act.decode_instructions(data) == all_of_them
    rest, again = data[:-16], bytearray()
    while rest:
        instruction = osk.OFPInstruction.parser(rest, 0)
        piece = bytearray()
        instruction.serialize(piece, 0)
        again += piece
        rest = rest[len(piece):]
    assert bytes(again) == data[:-16]


@pytest.mark.parametrize("match, field", [
    ({"nonsense": (1, None)}, "match.nonsense"), ({"vlan_vid": (0x2000, None)}, "match.vlan_vid"),
    ({"in_port": (1, 0xff)}, "match.in_port"), ({"eth_dst": (b"\1\2", None)}, "match.eth_dst"),
    ({"ip_proto": (-1, None)}, "match.ip_proto")])
def test_match_that_can_not_be_written(match, field):
    with pytest.raises(InvalidError) as e:
        oxm.encode_match(match)
    assert e.value.field == field


@pytest.mark.parametrize("data, error", [
    ("0001", (4, 1)), ("0000000400000000", (4, 0)), ("0001000900000000", (4, 1)),
    ("00010009800000040100000000000000", (4, 1)), ("0001000cffff000400000001" + "00000000", (4, 6)),
    ("00010014" + "8000000400000001" * 2 + "00000000", (4, 10))])
def test_match_that_can_not_be_read(data, error):
    with pytest.raises(OpenFlowError) as e:
        oxm.decode_match(bytes.fromhex(data))
    assert (e.value.of_type, e.value.of_code) == error


@pytest.mark.parametrize("data, error", [
    ("00000008", (2, 1)), ("0000000800000000", (2, 1)), ("0000000c0000000000000000", (2, 1)), ("1234000800000000", (2, 0)),
    ("001900108000ff04000000010000000000"[:32], (2, 13))])
def test_actions_that_can_not_be_read(data, error):
    with pytest.raises(OpenFlowError) as e:
        act.decode_actions(bytes.fromhex(data))
    assert (e.value.of_type, e.value.of_code) == error


@pytest.mark.parametrize("data, error", [
    ("0001", (3, 7)), ("0001000400000000", (3, 7)), ("0002000800000000", (3, 7)), ("0042000800000000", (3, 0)),
    ("00040010000000000000000c00000000", (2, 1))])
def test_instructions_that_can_not_be_read(data, error):
    with pytest.raises(OpenFlowError) as e:
        act.decode_instructions(bytes.fromhex(data))
    assert (e.value.of_type, e.value.of_code) == error
