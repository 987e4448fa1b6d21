"""Errors at OpenFlow's edge, in two tables: every error of the switch as an OpenFlow one, and every OpenFlow one (its numbers
inside the switch are 1.5.1's, 7.5.4) in the numbers of each version.

An error that a version has no number for is said as Open vSwitch says it: in Nicira's numbers, or ONF's for extensions to
1.3, as an experimenter error.
"""
from __future__ import annotations

import struct
from typing import NamedTuple

from vswitch.errors import (BusyError, ExistsError, InvalidError, NotFoundError, OpenFlowError, QuotaError,
                            UnavailableError, VswitchError)
from vswitch.openflow.constants import (AsyncConfigFailed, BadAction, BadInstruction, BadMatch, BadProperty, BadRequest,
                                        BundleFailed, ErrorType, FlowModFailed, FlowMonitorFailed, GroupModFailed,
                                        MeterModFailed, PortModFailed, RoleRequestFailed, SwitchConfigFailed,
                                        TableFeaturesFailed, TableModFailed, Type)
from vswitch.openflow.versions import NICIRA, OF10, OF11, OF12, OF13, OF14, OF15, ONF

_FLOW_MOD = {
    QuotaError: (ErrorType.FLOW_MOD_FAILED, FlowModFailed.TABLE_FULL),
    UnavailableError: (ErrorType.FLOW_MOD_FAILED, FlowModFailed.UNKNOWN),
    VswitchError: (ErrorType.FLOW_MOD_FAILED, FlowModFailed.UNKNOWN),
}
_GROUP_MOD = {
    QuotaError: (ErrorType.GROUP_MOD_FAILED, GroupModFailed.OUT_OF_GROUPS),
    NotFoundError: (ErrorType.GROUP_MOD_FAILED, GroupModFailed.UNKNOWN_GROUP),
    VswitchError: (ErrorType.GROUP_MOD_FAILED, GroupModFailed.EPERM),
}
_METER_MOD = {
    QuotaError: (ErrorType.METER_MOD_FAILED, MeterModFailed.OUT_OF_METERS),
    NotFoundError: (ErrorType.METER_MOD_FAILED, MeterModFailed.UNKNOWN_METER),
    VswitchError: (ErrorType.METER_MOD_FAILED, MeterModFailed.UNKNOWN),
}
_PORT_MOD = {
    NotFoundError: (ErrorType.PORT_MOD_FAILED, PortModFailed.BAD_PORT),
    InvalidError: (ErrorType.PORT_MOD_FAILED, PortModFailed.BAD_CONFIG),
    VswitchError: (ErrorType.PORT_MOD_FAILED, PortModFailed.EPERM),
}
_TABLE_MOD = {
    NotFoundError: (ErrorType.TABLE_MOD_FAILED, TableModFailed.BAD_TABLE),
    InvalidError: (ErrorType.TABLE_MOD_FAILED, TableModFailed.BAD_CONFIG),
    VswitchError: (ErrorType.TABLE_MOD_FAILED, TableModFailed.EPERM),
}
_OTHER = {
    NotFoundError: (ErrorType.BAD_REQUEST, BadRequest.BAD_PORT),
    InvalidError: (ErrorType.BAD_REQUEST, BadRequest.BAD_LEN),
    ExistsError: (ErrorType.BAD_REQUEST, BadRequest.EPERM),
    BusyError: (ErrorType.BAD_REQUEST, BadRequest.EPERM),
    VswitchError: (ErrorType.BAD_REQUEST, BadRequest.EPERM),
}
_TABLES = {Type.FLOW_MOD: _FLOW_MOD, Type.GROUP_MOD: _GROUP_MOD, Type.METER_MOD: _METER_MOD, Type.PORT_MOD: _PORT_MOD,
           Type.TABLE_MOD: _TABLE_MOD}


def openflow_error(error: Exception, type_: int) -> OpenFlowError:
    """What to answer a message of (canonical) `type_` with that met `error`."""
    if isinstance(error, OpenFlowError):
        return error
    table = _TABLES.get(type_, _OTHER)
    for cls in type(error).__mro__:
        if cls in table:
            return OpenFlowError(*table[cls], str(error))
    return OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.EPERM, str(error))


# -- each version's numbers

class _Number(NamedTuple):
    type: int               # OFPET_*; for an experimenter's error in 1.2 and later unused
    code: int               # or the exp_type
    experimenter: int = 0   # 0 = the specification's own


def _of(type_: int, code: int) -> _Number:
    return _Number(type_, code)


def _nx(type_: int, code: int = 0) -> _Number:
    """Nicira's: (type, code) in 1.0 and 1.1, one exp_type later."""
    return _Number(type_, code, NICIRA)


def _onf(exp_type: int) -> _Number:
    return _Number(0, exp_type, ONF)


_BEFORE_12 = (OF10, OF11)

# Type, code → (versions, number) where a version's number is not the canonical one.
_E = ErrorType
_EXCEPTIONS: dict[tuple[int, int], list[tuple[tuple[int, ...], _Number]]] = {
    (_E.BAD_REQUEST, BadRequest.BAD_TABLE_ID): [((OF10,), _nx(1, 512))],
    (_E.BAD_REQUEST, BadRequest.IS_SLAVE): [(_BEFORE_12, _of(1, 5))],
    (_E.BAD_REQUEST, BadRequest.BAD_PORT): [(_BEFORE_12, _nx(1, 514))],
    (_E.BAD_REQUEST, BadRequest.BAD_PACKET): [(_BEFORE_12, _of(1, 6))],
    (_E.BAD_REQUEST, BadRequest.MULTIPART_BUFFER_OVERFLOW): [((OF10, OF11, OF12), _of(1, 6))],
    (_E.BAD_REQUEST, BadRequest.MULTIPART_REQUEST_TIMEOUT): [((OF10, OF11, OF12), _of(1, 5)), ((OF13,), _onf(2640))],
    (_E.BAD_REQUEST, BadRequest.MULTIPART_REPLY_TIMEOUT): [((OF10, OF11, OF12), _of(1, 5)), ((OF13,), _onf(2641))],
    (_E.BAD_REQUEST, BadRequest.MULTIPART_BAD_SCHED): [((OF10, OF11, OF12, OF13, OF14), _of(1, 5))],
    (_E.BAD_REQUEST, BadRequest.PIPELINE_FIELDS_ONLY): [((OF10, OF11, OF12, OF13, OF14), _of(1, 5))],
    (_E.BAD_REQUEST, BadRequest.UNKNOWN): [((OF10, OF11, OF12, OF13, OF14), _of(1, 5))],
    (_E.BAD_ACTION, BadAction.BAD_OUT_GROUP): [((OF10,), _nx(2, 9))],
    (_E.BAD_ACTION, BadAction.MATCH_INCONSISTENT): [((OF10,), _nx(1, 522))],
    (_E.BAD_ACTION, BadAction.UNSUPPORTED_ORDER): [((OF10,), _of(3, 5))],
    (_E.BAD_ACTION, BadAction.BAD_TAG): [((OF10,), _of(2, 5))],
    (_E.BAD_ACTION, BadAction.BAD_SET_TYPE): [(_BEFORE_12, _nx(1, 523))],
    (_E.BAD_ACTION, BadAction.BAD_SET_LEN): [(_BEFORE_12, _nx(1, 524))],
    (_E.BAD_ACTION, BadAction.BAD_SET_ARGUMENT): [(_BEFORE_12, _nx(1, 525))],
    (_E.BAD_ACTION, BadAction.BAD_SET_MASK): [(_BEFORE_12, _nx(1, 525)), ((OF12,), _of(2, 13)), ((OF13, OF14), _onf(4250))],
    (_E.BAD_ACTION, BadAction.BAD_METER): [((OF10, OF11, OF12, OF13, OF14), _of(2, 5))],
    (_E.BAD_INSTRUCTION, BadInstruction.UNSUP_INST): [((OF10,), _nx(2, 257))],
    (_E.BAD_INSTRUCTION, BadInstruction.BAD_EXP_TYPE): [((OF11,), _of(3, 5))],
    (_E.BAD_INSTRUCTION, BadInstruction.BAD_LEN): [((OF11,), _of(1, 6))],
    (_E.BAD_INSTRUCTION, BadInstruction.EPERM): [((OF11,), _of(1, 5))],
    (_E.BAD_INSTRUCTION, BadInstruction.DUP_INST): [((OF11,), _nx(3, 256)), ((OF12, OF13), _onf(2600))],
    (_E.BAD_MATCH, BadMatch.BAD_WILDCARDS): [((OF10,), _nx(1, 262))],
    (_E.BAD_MATCH, BadMatch.BAD_FIELD): [((OF10,), _nx(0, 263))],
    (_E.BAD_MATCH, BadMatch.BAD_VALUE): [((OF10,), _nx(1, 258))],
    (_E.BAD_MATCH, BadMatch.BAD_MASK): [(_BEFORE_12, _nx(1, 259))],
    (_E.BAD_MATCH, BadMatch.BAD_PREREQ): [(_BEFORE_12, _nx(1, 260))],
    (_E.BAD_MATCH, BadMatch.DUP_FIELD): [(_BEFORE_12, _nx(1, 261))],
    (_E.BAD_MATCH, BadMatch.EPERM): [((OF11,), _of(1, 5))],
    (_E.FLOW_MOD_FAILED, FlowModFailed.UNKNOWN): [((OF10,), _of(3, 5))],
    (_E.FLOW_MOD_FAILED, FlowModFailed.TABLE_FULL): [((OF10,), _of(3, 0))],
    (_E.FLOW_MOD_FAILED, FlowModFailed.BAD_TABLE_ID): [((OF10,), _nx(1, 512))],
    (_E.FLOW_MOD_FAILED, FlowModFailed.OVERLAP): [((OF10,), _of(3, 1))],
    (_E.FLOW_MOD_FAILED, FlowModFailed.EPERM): [((OF10,), _of(3, 2))],
    (_E.FLOW_MOD_FAILED, FlowModFailed.BAD_TIMEOUT): [((OF10,), _of(3, 3))],
    (_E.FLOW_MOD_FAILED, FlowModFailed.BAD_COMMAND): [((OF10,), _of(3, 4))],
    (_E.FLOW_MOD_FAILED, FlowModFailed.BAD_FLAGS): [((OF10,), _nx(3, 258)), ((OF11,), _nx(5, 258))],
    (_E.FLOW_MOD_FAILED, FlowModFailed.CANT_SYNC): [((OF10,), _of(3, 2)), ((OF11, OF12, OF13), _of(5, 4))],
    (_E.FLOW_MOD_FAILED, FlowModFailed.BAD_PRIORITY): [((OF10,), _of(3, 2)), ((OF11, OF12), _of(5, 0)), ((OF13,), _onf(2360))],
    (_E.FLOW_MOD_FAILED, FlowModFailed.IS_SYNC): [((OF10,), _of(3, 2)), ((OF11, OF12, OF13), _of(5, 4))],
    (_E.GROUP_MOD_FAILED, GroupModFailed.UNKNOWN_BUCKET): [((OF11, OF12, OF13, OF14), _of(6, 12))],
    (_E.GROUP_MOD_FAILED, GroupModFailed.BUCKET_EXISTS): [((OF11, OF12, OF13, OF14), _of(6, 12))],
    (_E.PORT_MOD_FAILED, PortModFailed.BAD_PORT): [((OF10,), _of(4, 0))],
    (_E.PORT_MOD_FAILED, PortModFailed.BAD_HW_ADDR): [((OF10,), _of(4, 1))],
    (_E.PORT_MOD_FAILED, PortModFailed.BAD_CONFIG): [((OF10,), _of(1, 5))],
    (_E.PORT_MOD_FAILED, PortModFailed.BAD_ADVERTISE): [((OF10,), _of(1, 5))],
    (_E.PORT_MOD_FAILED, PortModFailed.EPERM): [(_BEFORE_12, _of(1, 5))],
    (_E.TABLE_MOD_FAILED, TableModFailed.EPERM): [((OF11,), _of(1, 5))],
    (_E.SWITCH_CONFIG_FAILED, SwitchConfigFailed.BAD_FLAGS): [((OF10,), _of(1, 5))],
    (_E.SWITCH_CONFIG_FAILED, SwitchConfigFailed.BAD_LEN): [((OF10,), _of(1, 6))],
    (_E.SWITCH_CONFIG_FAILED, SwitchConfigFailed.EPERM): [(_BEFORE_12, _of(1, 5))],
    (_E.ROLE_REQUEST_FAILED, RoleRequestFailed.STALE): [(_BEFORE_12, _of(1, 5))],
    (_E.ROLE_REQUEST_FAILED, RoleRequestFailed.UNSUP): [(_BEFORE_12, _of(1, 5))],
    (_E.ROLE_REQUEST_FAILED, RoleRequestFailed.BAD_ROLE): [(_BEFORE_12, _nx(1, 513))],
    (_E.TABLE_FEATURES_FAILED, TableFeaturesFailed.BAD_CAPABILITY): [((OF13, OF14), _of(13, 5))],
    (_E.TABLE_FEATURES_FAILED, TableFeaturesFailed.BAD_MAX_ENTRIES): [((OF13, OF14), _of(13, 5))],
    (_E.TABLE_FEATURES_FAILED, TableFeaturesFailed.BAD_FEATURES): [((OF13, OF14), _of(13, 5))],
    (_E.TABLE_FEATURES_FAILED, TableFeaturesFailed.BAD_COMMAND): [((OF13, OF14), _of(13, 5))],
    (_E.TABLE_FEATURES_FAILED, TableFeaturesFailed.TOO_MANY): [((OF13, OF14), _of(13, 5))],
}
for _code in GroupModFailed:
    _EXCEPTIONS.setdefault((_E.GROUP_MOD_FAILED, _code), []).append(((OF10,), _nx(6, _code)))
    if GroupModFailed.CHAINED_GROUP <= _code <= GroupModFailed.EPERM:
        _EXCEPTIONS[_E.GROUP_MOD_FAILED, _code].append(((OF11,), _of(1, 5)))
for _code in BadProperty:
    _EXCEPTIONS[_E.BAD_PROPERTY, _code] = [
        (_BEFORE_12, _nx(13, _code + 2) if _code <= BadProperty.BAD_VALUE else _nx(14, _code)), ((OF12,), _nx(0, 25 + _code)),
        ((OF13,), _of(13, _code + 2) if _code <= BadProperty.BAD_VALUE else _onf(4440 + _code))]
for _code in AsyncConfigFailed:
    _EXCEPTIONS[_E.ASYNC_CONFIG_FAILED, _code] = [((OF10, OF11, OF12), _of(1, 5)), ((OF13,), _onf(2370 + _code))]
for _code in BundleFailed:
    _EXCEPTIONS[_E.BUNDLE_FAILED, _code] = [((OF10, OF11, OF12), _of(1, 5))] + (
        [((OF13,), _onf(2300 + _code))] if _code <= BundleFailed.BUNDLE_IN_PROGRESS else [((OF13, OF14), _of(1, 5))])
for _code, _old, _new in ((FlowMonitorFailed.MONITOR_EXISTS, 517, 6), (FlowMonitorFailed.BAD_FLAGS, 518, 7),
                          (FlowMonitorFailed.UNKNOWN_MONITOR, 519, 8)):
    _EXCEPTIONS[_E.FLOW_MONITOR_FAILED, _code] = [(_BEFORE_12, _nx(1, _old)), ((OF12, OF13), _nx(0, _new))]
for _code in (FlowMonitorFailed.UNKNOWN, FlowMonitorFailed.INVALID_MONITOR, FlowMonitorFailed.BAD_COMMAND,
              FlowMonitorFailed.BAD_TABLE_ID, FlowMonitorFailed.BAD_OUT):
    _EXCEPTIONS[_E.FLOW_MONITOR_FAILED, _code] = [((OF10, OF11, OF12, OF13), _of(1, 5))]

_NUMBERS = {(*key, version): number for key, rows in _EXCEPTIONS.items() for versions, number in rows for version in versions}
# Error types that a version has no like of: EPERM of a bad request says the least that is wrong.
_SINCE = {_E.BAD_INSTRUCTION: OF11, _E.BAD_MATCH: OF11, _E.GROUP_MOD_FAILED: OF11, _E.TABLE_MOD_FAILED: OF11,
          _E.SWITCH_CONFIG_FAILED: OF11, _E.ROLE_REQUEST_FAILED: OF12, _E.METER_MOD_FAILED: OF13,
          _E.TABLE_FEATURES_FAILED: OF13, _E.BAD_PROPERTY: OF14, _E.ASYNC_CONFIG_FAILED: OF14,
          _E.FLOW_MONITOR_FAILED: OF14, _E.BUNDLE_FAILED: OF14}
_TYPE_10 = {_E.FLOW_MOD_FAILED: 3, _E.PORT_MOD_FAILED: 4, _E.QUEUE_OP_FAILED: 5}
_NICIRA_TYPE = 0xb0c2       # NXET_VENDOR
_EPERM = _Number(_E.BAD_REQUEST, BadRequest.EPERM)
_TWO, _EXPERIMENTER, _VENDOR = struct.Struct("!HH"), struct.Struct("!HHI"), struct.Struct("!HHIHH")


def error_number(version: int, type_: int, code: int) -> _Number:
    """An error of the switch in a version's numbers."""
    if (number := _NUMBERS.get((type_, code, version))) is not None:
        return number
    if version < _SINCE.get(type_, OF10):
        return _EPERM
    if version == OF10:
        return _Number(_TYPE_10.get(type_, type_), code)
    return _Number(type_, code)


def encode_error_body(version: int, error: OpenFlowError, data: bytes) -> bytes:
    """The body of the OFPT_ERROR that says it; `data` is the start of the offending message, or text."""
    number = error_number(version, int(error.of_type), int(error.of_code))
    if not number.experimenter:
        return _TWO.pack(number.type, number.code) + data
    if version in _BEFORE_12:
        return _VENDOR.pack(_NICIRA_TYPE, 0, number.experimenter, number.type, number.code) + data
    return _EXPERIMENTER.pack(ErrorType.EXPERIMENTER, number.code, number.experimenter) + data
