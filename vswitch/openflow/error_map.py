"""Every error of the switch as the OFPT_ERROR that says it (OpenFlow 1.3.5, 7.4.4): OpenFlow's edge, in one table."""
from __future__ import annotations

from vswitch.errors import (BusyError, ExistsError, InvalidError, NotFoundError, OpenFlowError, QuotaError,
                            UnavailableError, VswitchError)
from vswitch.openflow.constants import BadRequest, ErrorType, FlowModFailed, PortModFailed, Type

_FLOW_MOD = {
    QuotaError: (ErrorType.FLOW_MOD_FAILED, FlowModFailed.TABLE_FULL),
    UnavailableError: (ErrorType.FLOW_MOD_FAILED, FlowModFailed.UNKNOWN),
    VswitchError: (ErrorType.FLOW_MOD_FAILED, FlowModFailed.UNKNOWN),
}
_PORT_MOD = {
    NotFoundError: (ErrorType.PORT_MOD_FAILED, PortModFailed.BAD_PORT),
    InvalidError: (ErrorType.PORT_MOD_FAILED, PortModFailed.BAD_CONFIG),
    VswitchError: (ErrorType.PORT_MOD_FAILED, PortModFailed.EPERM),
}
_OTHER = {
    NotFoundError: (ErrorType.BAD_REQUEST, BadRequest.BAD_PORT),
    InvalidError: (ErrorType.BAD_REQUEST, BadRequest.BAD_LEN),
    ExistsError: (ErrorType.BAD_REQUEST, BadRequest.EPERM),
    BusyError: (ErrorType.BAD_REQUEST, BadRequest.EPERM),
    VswitchError: (ErrorType.BAD_REQUEST, BadRequest.EPERM),
}
_TABLES = {Type.FLOW_MOD: _FLOW_MOD, Type.PORT_MOD: _PORT_MOD}


def openflow_error(error: Exception, type_: int) -> OpenFlowError:
    """What to answer a message of `type_` with that met `error`."""
    if isinstance(error, OpenFlowError):
        return error
    table = _TABLES.get(type_, _OTHER)
    for cls in type(error).__mro__:
        if cls in table:
            return OpenFlowError(*table[cls], str(error))
    return OpenFlowError(ErrorType.BAD_REQUEST, BadRequest.EPERM, str(error))
