"""Every message of every version, as one table: version → message → layout. `REQUESTS` and `ENTRIES` do the same for
multipart: the body of a request, and one entry of its reply."""
from __future__ import annotations

from vswitch.openflow import group_messages as group, messages as ofp, meter_messages as meter, port_messages as port
from vswitch.openflow import queue_messages as queue, rule_messages as rule, session_messages as session
from vswitch.openflow import table_messages as table
from vswitch.openflow.constants import Multipart, Type
from vswitch.openflow.layout import Layout, Many
from vswitch.openflow.versions import KINDS, OF10, OF13, TYPES, Version

# A layout for all versions, or a dict of them by version.
_MESSAGES: dict[Type, Layout | dict[int, Layout]] = {
    Type.HELLO: ofp.HELLO, Type.ERROR: ofp.ERROR, Type.ECHO_REQUEST: ofp.ECHO, Type.ECHO_REPLY: ofp.ECHO,
    Type.EXPERIMENTER: {v: session.VENDOR10 if v == OF10 else ofp.EXPERIMENTER for v in Version},
    Type.FEATURES_REQUEST: ofp.EMPTY, Type.FEATURES_REPLY: session.FEATURES_REPLY,
    Type.GET_CONFIG_REQUEST: ofp.EMPTY, Type.GET_CONFIG_REPLY: ofp.SWITCH_CONFIG, Type.SET_CONFIG: ofp.SWITCH_CONFIG,
    Type.PACKET_IN: rule.PACKET_IN, Type.FLOW_REMOVED: rule.FLOW_REMOVED, Type.PORT_STATUS: port.PORT_STATUS,
    Type.PACKET_OUT: {**rule.PACKET_OUT, OF13: ofp.PACKET_OUT}, Type.FLOW_MOD: rule.FLOW_MOD,
    Type.GROUP_MOD: {**group.GROUP_MOD, OF13: ofp.GROUP_MOD}, Type.PORT_MOD: port.PORT_MOD,
    Type.TABLE_MOD: table.TABLE_MOD,
    Type.MULTIPART_REQUEST: {v: session.MULTIPART10 if v == OF10 else ofp.MULTIPART for v in Version},
    Type.MULTIPART_REPLY: {v: session.MULTIPART10 if v == OF10 else ofp.MULTIPART for v in Version},
    Type.BARRIER_REQUEST: ofp.EMPTY, Type.BARRIER_REPLY: ofp.EMPTY,
    Type.QUEUE_GET_CONFIG_REQUEST: queue.CONFIG_REQUEST,
    Type.QUEUE_GET_CONFIG_REPLY: {**queue.CONFIG_REPLY, OF13: ofp.QUEUE_CONFIG_REPLY},
    Type.ROLE_REQUEST: session.ROLE, Type.ROLE_REPLY: session.ROLE, Type.GET_ASYNC_REQUEST: ofp.EMPTY,
    Type.GET_ASYNC_REPLY: session.ASYNC, Type.SET_ASYNC: session.ASYNC, Type.METER_MOD: ofp.METER_MOD,
    Type.ROLE_STATUS: session.ROLE_STATUS, Type.TABLE_STATUS: table.TABLE_STATUS,
    Type.REQUESTFORWARD: session.REQUESTFORWARD, Type.BUNDLE_CONTROL: session.BUNDLE_CONTROL,
    Type.BUNDLE_ADD_MESSAGE: session.BUNDLE_ADD, Type.CONTROLLER_STATUS: session.CONTROLLER_STATUS,
}

_REQUESTS: dict[Multipart, Layout | dict[int, Layout]] = {
    Multipart.DESC: ofp.EMPTY, Multipart.FLOW: rule.FLOW_REQUEST, Multipart.AGGREGATE: rule.FLOW_REQUEST,
    Multipart.TABLE: ofp.EMPTY, Multipart.PORT_STATS: port.PORT_STATS_REQUEST, Multipart.QUEUE: queue.STATS_REQUEST,
    Multipart.GROUP: ofp.GROUP_REQUEST, Multipart.GROUP_DESC: group.GROUP_DESC_REQUEST, Multipart.GROUP_FEATURES: ofp.EMPTY,
    Multipart.METER: ofp.METER_REQUEST, Multipart.METER_CONFIG: ofp.METER_REQUEST, Multipart.METER_FEATURES: ofp.EMPTY,
    Multipart.TABLE_FEATURES: table.TABLE_FEATURES_REQUEST, Multipart.PORT_DESC: port.PORT_DESC_REQUEST,
    Multipart.TABLE_DESC: ofp.EMPTY, Multipart.QUEUE_DESC: ofp.QUEUE_REQUEST,
    Multipart.FLOW_MONITOR: Layout("MonitorRequests", monitors=Many(rule.MONITOR_REQUEST)),
    Multipart.FLOW_STATS: ofp.FLOW_REQUEST, Multipart.CONTROLLER_STATUS: ofp.EMPTY,
    Multipart.BUNDLE_FEATURES: session.BUNDLE_FEATURES_REQUEST,
    Multipart.EXPERIMENTER: {v: session.VENDOR_MULTIPART10 if v == OF10 else ofp.MULTIPART_EXPERIMENTER for v in Version},
}

_ENTRIES: dict[Multipart, Layout | dict[int, Layout]] = {
    Multipart.DESC: ofp.DESC, Multipart.FLOW: rule.FLOW_STATS, Multipart.AGGREGATE: rule.AGGREGATE,
    Multipart.TABLE: table.TABLE_STATS, Multipart.PORT_STATS: port.PORT_STATS, Multipart.QUEUE: queue.STATS,
    Multipart.GROUP: group.GROUP_STATS, Multipart.GROUP_DESC: {**group.GROUP_DESC, OF13: ofp.GROUP_DESC},
    Multipart.GROUP_FEATURES: ofp.GROUP_FEATURES, Multipart.METER: ofp.METER_STATS,
    Multipart.METER_CONFIG: ofp.METER_CONFIG, Multipart.METER_FEATURES: meter.METER_FEATURES,
    Multipart.TABLE_FEATURES: table.TABLE_FEATURES, Multipart.PORT_DESC: port.PORT, Multipart.TABLE_DESC: table.TABLE_DESC,
    Multipart.QUEUE_DESC: queue.QUEUE_DESC, Multipart.FLOW_MONITOR: rule.UPDATE_FULL,
    Multipart.FLOW_STATS: rule.FLOW_STATS15, Multipart.CONTROLLER_STATUS: session.CONTROLLER_STATUS,
    Multipart.BUNDLE_FEATURES: session.BUNDLE_FEATURES,
    Multipart.EXPERIMENTER: {v: session.VENDOR_MULTIPART10 if v == OF10 else ofp.MULTIPART_EXPERIMENTER for v in Version},
}


def _of_version(table_: dict, version: int, names) -> dict:
    return {name: table_[name][version] if isinstance(table_[name], dict) else table_[name] for name in names}


MESSAGES: dict[int, dict[Type, Layout]] = {v: _of_version(_MESSAGES, v, TYPES[v].values()) for v in Version}
REQUESTS: dict[int, dict[Multipart, Layout]] = {v: _of_version(_REQUESTS, v, KINDS[v]) for v in Version}
ENTRIES: dict[int, dict[Multipart, Layout]] = {v: _of_version(_ENTRIES, v, KINDS[v]) for v in Version}
