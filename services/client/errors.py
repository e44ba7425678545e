"""What can end a call of the SDK, each with a sentence that says what to do. What a single event breaks
is no error: it comes back in `Summary.refused`.
"""

from __future__ import annotations


class ClientError(Exception):
    """Every error of the SDK but ValueError and TypeError, which are the caller's mistakes."""


class NotAuthenticated(ClientError):
    """The gateway does not know the key. Not repeated: it would not help."""


class GatewayAway(ClientError):
    """No answer within the client's patience. Post the same events again: those that arrived count once."""


class BatchRefused(ClientError):
    """The gateway refused a whole call for a reason that repeating does not change, in its words."""


class ClientClosed(ClientError):
    """`close` was called, perhaps by another thread while this one was posting."""


class SpoolFull(ClientError):
    """The spool has no room for these events; none of them was stored."""


class SpoolInUse(ClientError):
    """Another process has this spool open."""


class SpoolDamaged(ClientError):
    """The spool's files are not as they were written. Nothing is removed that was not posted."""
