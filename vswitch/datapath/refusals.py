"""A DP_ERROR of the channel as the exception that it means."""
from __future__ import annotations

import errno
import os

from vswitch.datapath.records import ErrorRecord
from vswitch.errors import (BusyError, ExistsError, InvalidError, NotFoundError, OpenFlowError, QuotaError,
                            UnavailableError, VswitchError)

NO_OPENFLOW_CODE = 0xffff

_BY_ERRNO = {
    errno.ENOENT: NotFoundError, errno.ENODEV: NotFoundError, errno.ESRCH: NotFoundError, errno.ENXIO: NotFoundError,
    errno.EEXIST: ExistsError, errno.EADDRINUSE: ExistsError,
    errno.EBUSY: BusyError,
    errno.ENOSPC: QuotaError, errno.EDQUOT: QuotaError, errno.ENOMEM: QuotaError, errno.ENFILE: QuotaError,
    errno.EMFILE: QuotaError,
    errno.EINVAL: InvalidError, errno.ERANGE: InvalidError, errno.EMSGSIZE: InvalidError, errno.ENAMETOOLONG: InvalidError,
    errno.EADDRNOTAVAIL: InvalidError, errno.EAFNOSUPPORT: InvalidError, errno.EOPNOTSUPP: InvalidError,
    errno.EPERM: InvalidError, errno.EACCES: InvalidError,
}


def refusal(error: ErrorRecord) -> VswitchError:
    reason = error.reason or os.strerror(error.error)
    if error.of_type != NO_OPENFLOW_CODE:
        return OpenFlowError(error.of_type, error.of_code, reason, error.field)
    return _BY_ERRNO.get(error.error, UnavailableError)(reason, error.field)
