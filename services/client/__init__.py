"""The partner's side of the contract: batches events, posts them, repeats what was not acknowledged.

Needs grpcio and protobuf only. How events come about is the partner's business; `services.simulator`
is one such partner.
"""

from services.client.client import Client, Event, Refusal, Summary

__all__ = ["Client", "Event", "Refusal", "Summary"]
