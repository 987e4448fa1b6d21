"""The one tree of errors. OpenFlow and gRPC map it at their edge, in one table each."""
from __future__ import annotations


class VswitchError(Exception):
    """Base of every error a user can cause or see. `field` names the offending input ("port.vni", "weight"), or is ""."""

    def __init__(self, reason: str, field: str = ""):
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason = reason
        self.field = field

    def within(self, path: str) -> VswitchError:
        """The same error, told of a part of something larger."""
        self.field = f"{path}.{self.field}" if self.field else path
        self.args = (f"{self.field}: {self.reason}",)
        return self


class InvalidError(VswitchError):
    """A value that is wrong whatever the switch's state (unknown key, out of range, bad syntax)."""


class NotFoundError(VswitchError):
    """Names an object that there is not."""


class ExistsError(VswitchError):
    """Names an object that there is already, or a name, port number, VNI or datapath id in use."""


class BusyError(VswitchError):
    """The object is in use: a tenant that owns bridges, a port that a patch names."""


class QuotaError(VswitchError):
    """A tenant's quota, or a table that is full."""


class UnavailableError(VswitchError):
    """The datapath is not there (yet, or again): try again."""


class OpenFlowError(VswitchError):
    """What OpenFlow names by an OFPT_ERROR type and code (OpenFlow 1.3.5, 7.4.4)."""

    def __init__(self, of_type: int, of_code: int, reason: str = "", field: str = ""):
        super().__init__(reason or f"OFPT_ERROR type {of_type} code {of_code}", field)
        self.of_type = of_type
        self.of_code = of_code


class BundleRefused(VswitchError):
    """A bundle of which nothing was carried out, because of one of its items."""

    def __init__(self, index: int, error: Exception):
        super().__init__(f"item {index}: {error}")
        self.index = index
        self.error = error
