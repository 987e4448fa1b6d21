"""Where controllers are, and where they may connect, as Open vSwitch writes it: tcp:HOST[:PORT], ssl:HOST[:PORT], unix:PATH;
ptcp:[PORT][:ADDRESS], pssl:[PORT][:ADDRESS], punix:PATH."""
from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from vswitch.errors import InvalidError

OFP_PORT = 6653             # IANA's port for OpenFlow
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_ACTIVE = re.compile(r"(tcp|ssl):(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]+))(?::(\d+))?")
_PASSIVE = re.compile(r"p(tcp|ssl):(\d*)(?::(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)))?")
_PATH_MAX = 107             # bytes of a Unix socket's name
ACTIVE_FORM = "tcp:HOST[:PORT], ssl:HOST[:PORT] or unix:PATH"
PASSIVE_FORM = "ptcp:[PORT][:ADDRESS], pssl:[PORT][:ADDRESS] or punix:PATH"


@dataclass(frozen=True)
class Target:
    host: str = ""          # "" = any address, where one listens
    port: int = 0
    path: str = ""          # of a Unix socket
    tls: bool = False


def _address(text: str, field: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidError(f"{text!r} is not an IP address", field) from None


def _port(text: str | None, field: str) -> int:
    port = int(text or OFP_PORT)
    if not 1 <= port <= 65535:
        raise InvalidError(f"must be between 1 and 65535, not {port}", field)
    return port


def _unix(text: str, word: str, form: str, field: str) -> Target:
    path = text.removeprefix(word)
    if not path.startswith("/") or len(path.encode()) > _PATH_MAX or "\0" in path:
        raise InvalidError(f"{text!r} is not {form}", field)
    return Target(path=path)


def controller(text: str, field: str = "bridge.controllers") -> Target:
    """What to connect to. InvalidError for anything else; an IPv6 host stands in brackets."""
    if text.startswith("unix:"):
        return _unix(text, "unix:", ACTIVE_FORM, field)
    match = _ACTIVE.fullmatch(text)
    if not match:
        raise InvalidError(f"{text!r} is not {ACTIVE_FORM}", field)
    if match[2]:
        _address(match[2], field)
    elif not _HOST.fullmatch(match[3]):
        raise InvalidError(f"{match[3]!r} is not a host name or address", field)
    return Target(match[2] or match[3], _port(match[4], field), tls=match[1] == "ssl")


def listener(text: str, field: str = "bridge.listen") -> Target:
    """What to listen at."""
    if text.startswith("punix:"):
        return _unix(text, "punix:", PASSIVE_FORM, field)
    match = _PASSIVE.fullmatch(text)
    if not match:
        raise InvalidError(f"{text!r} is not {PASSIVE_FORM}", field)
    address = match[3] or match[4] or ""
    if address:
        _address(address, field)
    return Target(address, _port(match[2], field), tls=match[1] == "ssl")
