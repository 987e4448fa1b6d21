"""Calls of the API by name. gRPC is imported at the first call."""
from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path

from vswitch.errors import (BusyError, ExistsError, InvalidError, NotFoundError, QuotaError, UnavailableError, VswitchError)

TIMEOUT = 60.0          # seconds a call may take; a stream has no limit
MAX_MESSAGE = 80 << 20  # bytes, as the server's

ERRORS: dict[str, type[VswitchError]] = {
    "INVALID_ARGUMENT": InvalidError, "NOT_FOUND": NotFoundError, "ALREADY_EXISTS": ExistsError,
    "FAILED_PRECONDITION": BusyError, "RESOURCE_EXHAUSTED": QuotaError, "UNAVAILABLE": UnavailableError,
}


class Client:
    """One server. Errors of calls are the product's, as the server raised them."""

    def __init__(self, server: str, tls: tuple[str, str, str] | None, as_json: bool):
        self.server = server
        self.tls = tls
        self.as_json = as_json

    @cached_property
    def _channel(self):
        import grpc
        options = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]
        if not self.tls:
            return grpc.insecure_channel(self.server, options)
        key, certificate, authority = (Path(path).read_bytes() for path in self.tls)
        return grpc.secure_channel(self.server, grpc.ssl_channel_credentials(authority, key, certificate), options)

    def call(self, method: str, **fields):
        """The reply of "Service.Method" to a request with these fields."""
        import grpc
        path, request, reply_class = _request(method, fields)
        stub = self._channel.unary_unary(path, type(request).SerializeToString, reply_class.FromString)
        try:
            return stub(request, timeout=TIMEOUT)
        except grpc.RpcError as error:
            raise self._error(error) from None

    def stream(self, method: str, **fields) -> Iterator:
        """The replies of a streaming method."""
        import grpc
        path, request, reply_class = _request(method, fields)
        stub = self._channel.unary_stream(path, type(request).SerializeToString, reply_class.FromString)
        try:
            yield from stub(request)
        except grpc.RpcError as error:
            raise self._error(error) from None

    def _error(self, error) -> VswitchError:
        field = dict(error.trailing_metadata() or ()).get("vswitch-field", "")
        code = error.code().name
        reason = error.details() or code
        if code == "UNAVAILABLE" and not _from_server(error):
            return UnavailableError(f"no switch answers at {self.server}", "server")
        kind = ERRORS.get(code, VswitchError)
        failure = kind(reason)      # the server's message names the field already
        failure.field = field
        return failure


def _from_server(error) -> bool:
    return not any(sign in (error.details() or "") for sign in ("failed to connect", "No such file", "Socket closed"))


def _request(method: str, fields: dict):
    from google.protobuf import message_factory
    service_name, _, method_name = method.partition(".")
    module = import_module(f"vswitch.rpc.v1.{service_name.removesuffix('Service').lower()}_pb2")
    service = module.DESCRIPTOR.services_by_name[service_name]
    descriptor = service.methods_by_name[method_name]
    request_class = message_factory.GetMessageClass(descriptor.input_type)
    reply_class = message_factory.GetMessageClass(descriptor.output_type)
    present = {name: value for name, value in fields.items() if value is not None}
    try:
        request = request_class(**present)
    except (ValueError, TypeError) as error:
        raise InvalidError(str(error), method_name) from None
    return f"/{service.full_name}/{method_name}", request, reply_class


def port_number(client: Client, bridge: str, port: str) -> int:
    """An OpenFlow port number, given as a number, LOCAL, or a port's name."""
    if port.upper() == "LOCAL":
        return 0xfffffffe
    if port.isdecimal():
        number = int(port)
        if not 1 <= number <= 0xffffffff:
            raise InvalidError(f"{port} is no port number", "port")
        return number
    return client.call("PortService.GetPort", bridge=bridge, name=port).port.port_no


def frame_bytes(text: str) -> bytes:
    """A frame given in hexadecimal, blanks and colons allowed."""
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError:
        raise InvalidError("is not hexadecimal", "frame") from None
