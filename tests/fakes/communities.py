"""Communities made so that the aggregates that two studies published must come out, as arrays.

They show that our definitions are theirs. Nobody knows the studies' rows; how messages are spread here beyond
the published figures is of no meaning.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


class Written(NamedTuple):
    """The author and the thread of each message."""

    authors: Integers
    threads: Integers


class Members(NamedTuple):
    """How many posts each member wrote, and whether the member ever logged in."""

    posts: Integers
    has_logged_in: Booleans


def psycho_babble() -> Written:
    """Hsiung 2000: 1516 members posted 21,230 messages in 3028 threads, January to August 2000.

    48 % of posters posted once (728), 13 % of threads are the initial post alone (394).
    """
    of_members = spread(21_230, 1516, ones=728)
    of_threads = spread(21_230, 3028, ones=394)
    return Written(np.repeat(np.arange(1516), of_members), np.repeat(np.arange(3028), of_threads))


def geramita() -> Members:
    """Geramita et al. 2018: of 302 members 3 superusers wrote 630 of 1488 posts, 30 were top contributors,
    108 contributors, 87 observers, and 74 never logged in.
    """
    posts = np.zeros(302, np.int64)
    posts[:3] = 210
    posts[3:33] = 20
    posts[33:141] = spread(258, 108, ones=20)
    return Members(posts, np.arange(302) < 228)


def spread(total: int, count: int, ones: int) -> Integers:
    """`total` over `count` places: so many have one, all others two or more, as alike as can be.

    Raises ValueError when it cannot be.
    """
    others, left = count - ones, total - ones
    if ones > count or left < 2 * others or (others == 0 and left > 0):
        raise ValueError(f"{total} cannot be spread over {count} with {ones} ones")
    found = np.ones(count, np.int64)
    if others:
        found[ones:] = left // others
        found[count - left % others :] += 1
    return found
