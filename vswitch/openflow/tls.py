"""TLS to and from controllers (OpenFlow 1.3.5, 6.3.4): both sides show a certificate that the other's authority has signed.
Names in certificates aren't looked at, as Open vSwitch's aren't."""
from __future__ import annotations

import ssl

from vswitch.model.objects import Bridge


class TlsError(Exception):
    """Why there is no TLS: a file that can't be read, or isn't what it should be."""


def context(bridge: Bridge, *, server: bool) -> ssl.SSLContext:
    """Of the bridge's files, read anew each time: certificates are renewed in place."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    try:
        made.load_cert_chain(bridge.tls_certificate, bridge.tls_key)
    except (OSError, ValueError) as e:
        raise TlsError(f"certificate {bridge.tls_certificate}, key {bridge.tls_key}: {reason(e)}") from None
    try:
        made.load_verify_locations(bridge.tls_ca)
    except (OSError, ValueError) as e:
        raise TlsError(f"CA {bridge.tls_ca}: {reason(e)}") from None
    return made


def reason(error: Exception) -> str:
    """What an operator can do something with."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
