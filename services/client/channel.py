"""The way to the gateway: TLS or plaintext, and how a connection is kept and opened anew. What goes over
it is not decided here.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc

_COMMON: tuple[tuple[str, int], ...] = (
    # The gateway takes a ping a minute and hangs up on whoever sends more; a timer is never exact.
    ("grpc.keepalive_time_ms", 75_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # Otherwise only two pings are sent before the next event, and a dead line is noticed too late.
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC's own back-off grows to two minutes, far beyond when the gateway is there again.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)
# A proxy that the environment names would get the key in plaintext.
_LOOPBACK = (*_COMMON, ("grpc.enable_http_proxy", 0))


@dataclass(frozen=True)
class Tls:
    """PEM files, read when the client is made: for renewed ones make a new client.

    `ca`: who may have signed the gateway's certificate; None: the public authorities that gRPC brings.
    `certificate` and `private_key`: your own, where the gateway asks for them; both or none.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    private_key: str | Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("tls: give certificate and private_key together, or none of them")

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError for a file that cannot be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=_content(self.ca),
            private_key=_content(self.private_key),
            certificate_chain=_content(self.certificate),
        )


def open_channel(address: str, tls: Tls | None, *, plaintext: bool) -> grpc.Channel:
    """A channel that connects when it is used first. ValueError where the key would go out in plaintext."""
    if tls is not None:
        if plaintext:
            raise ValueError("tls and plaintext=True exclude one another")
        return grpc.secure_channel(address, tls.credentials(), options=_COMMON)
    if is_loopback(address):
        return grpc.insecure_channel(address, options=_LOOPBACK)
    if not plaintext:
        raise ValueError(
            f"{address} is not on this machine, and without TLS anyone on the way reads the key and the "
            "events: pass tls=Tls(ca=…), or plaintext=True where the way is encrypted already"
        )
    return grpc.insecure_channel(address, options=_COMMON)


def is_loopback(address: str) -> bool:
    """Whether a gRPC address, with or without its port, stays on this machine. In doubt it does not."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    for scheme in ("dns:///", "dns:", "ipv4:", "ipv6:"):
        address = address.removeprefix(scheme)
    host = address.rpartition(":")[0] or address
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _content(path: str | Path | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
