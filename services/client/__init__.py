"""The partner's SDK, imported as `circles.client`: builds events, posts them, keeps them while it cannot.

Needs grpcio and protobuf only, and imports nothing else of this repository but the generated stubs. How
events come about is the partner's business; `services.simulator` is one such partner.
"""

from services.client import events
from services.client.channel import Tls
from services.client.client import Client
from services.client.doors import Event
from services.client.errors import (
    BatchRefused,
    ClientClosed,
    ClientError,
    GatewayAway,
    NotAuthenticated,
    SpoolDamaged,
    SpoolFull,
    SpoolInUse,
)
from services.client.spool import Spool
from services.client.summary import Refusal, Summary

__all__ = [
    "BatchRefused",
    "Client",
    "ClientClosed",
    "ClientError",
    "Event",
    "GatewayAway",
    "NotAuthenticated",
    "Refusal",
    "Spool",
    "SpoolDamaged",
    "SpoolFull",
    "SpoolInUse",
    "Summary",
    "Tls",
    "events",
]
