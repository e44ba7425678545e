"""How engagement keeps what happened: kinds as numbers, references as 64 bits, events and people as rows
of fixed size. Their bytes are also those of the state topic; a change of them needs another `LAYOUT`.

What is counted from these rows is `kernels`; who keeps them is `groups`.
"""

from __future__ import annotations

from typing import Any

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
"""Why a row is hidden: bits. Hidden rows stay, so that they can come back and mark how far a group has come."""

NOBODY = 0
"""In place of a reference that an event does not have."""

FAR = 1 << 62
"""Later than any time."""

EVENT = np.dtype(
    {
        "names": ["at", "event", "person", "thread", "act", "parent", "kind", "role", "hidden"],
        "formats": ["<i8", "<u8", "<u8", "<u8", "<u8", "<u8", "u1", "u1", "u1"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 49, 50],
        "itemsize": 56,
    }
)
"""`thread` is the session of an event about one; `role` the action of a moderator."""

PERSON = np.dtype(
    {
        "names": ["person", "first", "last", "acted", "moved", "left", "is_in", "has_joined", "hidden"],
        "formats": ["<u8", "<i8", "<i8", "<i8", "<i8", "<i8", "u1", "u1", "u1"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 49, 50],
        "itemsize": 56,
    }
)
"""What is remembered of a person's events that have left the log: first and last activity, first act as a
member, newest joining or leaving and which of them it was, newest leaving, whether there was a joining.
FAR, or −FAR for the newest, where there is none."""

RETRACTION = np.dtype([("event", "<u8"), ("received_at", "<i8")])

FIGURES = (
    "count_events",
    "count_posts",
    "count_replies",
    "count_reads",
    "count_reactions",
    "count_active_participants",
    "count_newcomers",
    "count_returning",
    "count_dropouts",
    "count_sessions",
    "count_places",
    "count_attendances",
    "count_threads",
    "count_threads_answered",
    "count_threads_followed_1h",
    "count_threads_answered_1h",
    "count_threads_followed_24h",
    "count_threads_answered_24h",
    "count_threads_moderated",
    "count_dyads",
    "count_dyads_reciprocal",
    "count_contributors",
    "count_posts_of_top",
    "first_reply_median_seconds",
    "moderator_reply_median_seconds",
    "contribution_gini",
)
"""Of WindowEngagement, in the order of the columns that `kernels.figures` fills."""

ADDITIVE = tuple(
    name
    for name in FIGURES
    if name.startswith("count_") and name not in ("count_active_participants", "count_returning",
                                                  "count_posts_of_top", "count_contributors")
)  # fmt: skip


def rows_from(data: bytes, kind: np.dtype[Any]) -> NDArray[np.void]:
    """A copy that may be changed. Raises ValueError when the bytes are not whole rows."""
    return np.frombuffer(data, kind).copy()
