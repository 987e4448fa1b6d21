"""The product's errors as gRPC status codes: one table, applied by one interceptor."""
from __future__ import annotations

import asyncio
import logging

import grpc

from vswitch import errors

log = logging.getLogger(__name__)

FIELD_KEY = "vswitch-field"
OF_TYPE_KEY = "vswitch-of-type"
OF_CODE_KEY = "vswitch-of-code"

CODES: dict[type[errors.VswitchError], grpc.StatusCode] = {
    errors.InvalidError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.ExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.BusyError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.QuotaError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.OpenFlowError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.BundleRefused: grpc.StatusCode.FAILED_PRECONDITION,
}

# OFPT_ERROR types and codes that mean something else than a malformed request (OpenFlow 1.3.5, 7.4.4).
OPENFLOW_CODES: dict[tuple[int, int], grpc.StatusCode] = {
    (5, 1): grpc.StatusCode.RESOURCE_EXHAUSTED,   # FLOW_MOD_FAILED, TABLE_FULL
    (5, 3): grpc.StatusCode.ALREADY_EXISTS,       # FLOW_MOD_FAILED, OVERLAP
    (5, 4): grpc.StatusCode.PERMISSION_DENIED,    # FLOW_MOD_FAILED, EPERM
    (6, 3): grpc.StatusCode.RESOURCE_EXHAUSTED,   # GROUP_MOD_FAILED, OUT_OF_GROUPS
    (6, 8): grpc.StatusCode.NOT_FOUND,            # GROUP_MOD_FAILED, UNKNOWN_GROUP
    (12, 3): grpc.StatusCode.NOT_FOUND,           # METER_MOD_FAILED, UNKNOWN_METER
    (12, 10): grpc.StatusCode.RESOURCE_EXHAUSTED,  # METER_MOD_FAILED, OUT_OF_METERS
}


def status_code(error: Exception) -> grpc.StatusCode:
    """The status of an error; INTERNAL for one that is not the product's."""
    if isinstance(error, errors.OpenFlowError):
        return OPENFLOW_CODES.get((error.of_type, error.of_code), CODES[errors.OpenFlowError])
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return grpc.StatusCode.INTERNAL


def trailing_metadata(error: Exception) -> tuple[tuple[str, str], ...]:
    """What a program wants to know of an error without reading its message."""
    pairs = []
    if getattr(error, "field", ""):
        pairs.append((FIELD_KEY, error.field.encode("ascii", "replace").decode()))
    if isinstance(error, errors.OpenFlowError):
        pairs += [(OF_TYPE_KEY, str(error.of_type)), (OF_CODE_KEY, str(error.of_code))]
    return tuple(pairs)


async def _abort(context: grpc.aio.ServicerContext, error: Exception) -> None:
    code = status_code(error)
    if code is grpc.StatusCode.INTERNAL:
        log.error("a call failed for an unforeseen reason", exc_info=error)
        await context.abort(code, f"unforeseen: {type(error).__name__}: {error}")
    await context.abort(code, str(error), trailing_metadata(error))


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Turns every exception that a service lets through into a status."""

    async def intercept_service(self, continuation, details):
        handler = await continuation(details)
        if handler is None or handler.request_streaming:
            return handler
        if handler.response_streaming:
            return handler._replace(unary_stream=_guard_stream(handler.unary_stream))
        return handler._replace(unary_unary=_guard_call(handler.unary_unary))


def _guard_call(method):
    async def call(request, context):
        try:
            return await method(request, context)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            await _abort(context, error)
    return call


def _guard_stream(method):
    async def stream(request, context):
        try:
            async for response in method(request, context):
                yield response
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            await _abort(context, error)
    return stream
