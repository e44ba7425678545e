"""How engagement keeps what happened: kinds as numbers, references as 64 bits, events and people as rows
of fixed size. Their bytes are also those of the state topic; a change of them needs another `LAYOUT`.

What is counted from these rows is `kernels`; who keeps them is `groups`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LAYOUT = 1

Events = NDArray[np.void]
People = NDArray[np.void]
Retractions = NDArray[np.void]

STEP_SECONDS = 300
WINDOWS_HOURS = (1, 24, 7 * 24, 28 * 24)
LOG_SECONDS = max(WINDOWS_HOURS) * 3600
"""Events are kept for the longest window."""
DROPOUT_SECONDS = 30 * 24 * 3600

KINDS = (
    "member_joined",
    "member_left",
    "session_held",
    "session_cancelled",
    "session_attended",
    "thread_started",
    "reply_posted",
    "reaction_given",
    "thread_read",
    "moderation_acted",
    "risk_raised",
    "risk_answered",
    "text_features_measured",
)
"""A kind's place is its number in a row; new ones go to the end."""

(
    JOINED, LEFT, HELD, CANCELLED, ATTENDED, STARTED, REPLIED, REACTED, READ, MODERATED,
) = range(10)  # fmt: skip

NUMBER_BY_KIND = {kind: number for number, kind in enumerate(KINDS)}

MEMBER_ROLES = (0, 1)
"""AttendanceRole: not said, and member."""
MODERATOR_REPLY = 1
"""ModerationAction."""

RETRACTED, WITHDRAWN = 1, 2
"""Why a row is hidden: bits. Hidden rows stay: they can come back, and mark how far a group has come."""

NOBODY = 0
"""In place of a reference that an event does not have."""

FAR = 1 << 62
"""Later than any time."""

_CODES = [("hidden", "u1"), ("spare", "u1"), ("more", "<u4")]
"""The end of a row; the last two are unused and make its length a multiple of 8: numpy forgets padding."""

EVENT = np.dtype(
    [("at", "<i8"), ("event", "<u8"), ("person", "<u8"), ("thread", "<u8"), ("act", "<u8"),
     ("parent", "<u8"), ("kind", "u1"), ("role", "u1"), *_CODES]
)  # fmt: skip
"""`thread` is the session of an event about one; `role` the action of a moderator."""

PERSON = np.dtype(
    [("person", "<u8"), ("first", "<i8"), ("last", "<i8"), ("acted", "<i8"), ("moved", "<i8"),
     ("left", "<i8"), ("is_in", "u1"), ("has_joined", "u1"), *_CODES]
)  # fmt: skip
"""What is remembered of a person's events that have left the log: first and last activity, first act as a
member, newest joining or leaving and which of them it was, newest leaving, whether there was a joining.
FAR, or −FAR for the newest, where there is none."""

RETRACTION = np.dtype([("event", "<u8"), ("received_at", "<i8")])
