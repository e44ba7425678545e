"""How writing is spread over the members of a community, and who answers whom. Descriptions of everybody.

All is counted of everybody who is there and of all that they wrote, so nothing has an interval: the Gini
index of a group is not that of a sample. Groups are compared by their figures, one a group, elsewhere. How
long replies take is `survival`'s.

Definitions are those of the studies that coined them: Hsiung 2000 (messages of posters and threads), van
Mierlo 2014 (1-9-90), Geramita et al. 2018 (five classes), Freeman 1979 (centralisation), Gini 1912. A rank's
share of members is rounded to whole people, half up: of 302 the top 1 % are 3 and the next 10 % are 30.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipelines.evidence.estimates import Estimate, count, not_estimated
from pipelines.evidence.linear import Floats, Integers

EVERYBODY = "no interval: a description of everybody"
NO_MEMBERS, NO_MESSAGES = "there are no members", "nobody wrote anything"

Class = Literal["superuser", "top contributor", "contributor", "observer", "never logged in"]
CLASSES: tuple[Class, ...] = ("superuser", "top contributor", "contributor", "observer", "never logged in")


def described(value: float, method: str) -> Estimate:
    return Estimate(float(value), None, None, None, method, EVERYBODY)


# --- Messages ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Messages:
    """Hsiung's seven figures: three counts, and four that follow of them."""

    posters: Estimate
    messages: Estimate
    threads: Estimate
    posted_once_share: Estimate
    initial_only_share: Estimate
    per_poster: Estimate
    per_thread: Estimate


def describe_messages(authors: npt.ArrayLike, threads: npt.ArrayLike) -> Messages:
    """Of the author and the thread of each message (n,), the initial post of a thread being one of them.

    Shares are of posters who wrote one message, and of threads that have one. Raises ValueError when they are
    not of one number.
    """
    who, where = np.asarray(authors).ravel(), np.asarray(threads).ravel()
    if len(who) != len(where):
        raise ValueError(f"{len(who)} authors, {len(where)} threads")
    return describe_counts(np.unique(who, return_counts=True)[1], np.unique(where, return_counts=True)[1])


def describe_counts(of_poster: npt.ArrayLike, of_thread: npt.ArrayLike) -> Messages:
    """The same of how many messages each poster wrote (p,), and each thread has (t,): from 1 on.

    Messages are those of the posters: in a period they may be in threads that are older, which are not told.
    """
    of_poster, of_thread = (np.asarray(each).ravel().astype(np.int64) for each in (of_poster, of_thread))
    return Messages(
        count(len(of_poster)),
        count(int(of_poster.sum())),
        count(len(of_thread)),
        _share_of_ones(of_poster, "share of posters who posted once"),
        _share_of_ones(of_thread, "share of threads with the initial post only"),
        _per(of_poster, "messages per poster"),
        _per(of_thread, "messages per thread"),
    )


def _share_of_ones(counts: Integers, method: str) -> Estimate:
    return described((counts == 1).mean(), method) if len(counts) else not_estimated(method, NO_MESSAGES)


def _per(counts: Integers, method: str) -> Estimate:
    return described(counts.mean(), method) if len(counts) else not_estimated(method, NO_MESSAGES)


# --- Who writes how much ----------------------------------------------------------------------------------


def gini(amounts: npt.ArrayLike) -> Estimate:
    """Σ(2i − n − 1)x₍ᵢ₎/(nΣx) of what each member wrote (n,), with those who wrote nothing: 0 to 1 − 1/n."""
    method = "Gini index"
    x = np.sort(np.asarray(amounts, float).ravel())
    reason = _why_no_shares(x)
    if reason:
        return not_estimated(method, reason)
    n = len(x)
    return described((2 * np.arange(1, n + 1) - n - 1) @ x / (n * x.sum()), method)


def lorenz(amounts: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Shares of members, and of what they wrote, from who wrote least on: (n + 1,) each, from 0 to 1.

    Empty where nothing was written.
    """
    x = np.sort(np.asarray(amounts, float).ravel())
    if _why_no_shares(x):
        return np.empty(0), np.empty(0)
    written = np.concatenate([[0.0], np.cumsum(x) / x.sum()])
    return np.arange(len(x) + 1) / len(x), np.minimum(written, 1.0)


@dataclass(frozen=True)
class Ranked:
    """So many `people`, and the share of all messages that they wrote."""

    people: int
    share: Estimate


def one_nine_ninety(amounts: npt.ArrayLike) -> tuple[Ranked, Ranked, Ranked]:
    """Of members ranked by what they wrote (n,): the first 1 %, the next 9 %, and all others."""
    method = "share of messages by rank; 1, 9 and 90 % of members, rounded to people"
    x = np.sort(np.asarray(amounts, float).ravel())[::-1]
    first, tenth = _percent(1, len(x)), _percent(10, len(x))
    one, nine, ninety = (
        _ranked(x[start:end], x, method) for start, end in ((0, first), (first, tenth), (tenth, len(x)))
    )
    return one, nine, ninety


def _ranked(some: Floats, x: Floats, method: str) -> Ranked:
    reason = _why_no_shares(x) or (None if len(some) else "the rank has nobody: too few members")
    if reason:
        return Ranked(len(some), not_estimated(method, reason))
    return Ranked(len(some), described(some.sum() / x.sum(), method))


@dataclass(frozen=True, eq=False)
class Classified:
    """`codes` (n,): each member's place in `CLASSES`; per class how many, and their share of all messages.

    `people` of a class that cannot be told has a reason; its members' code is −1.
    """

    codes: Integers
    people: tuple[Estimate, ...]
    shares: tuple[Estimate, ...]


def five_classes(amounts: npt.ArrayLike, has_logged_in: npt.ArrayLike | None) -> Classified:
    """Geramita's classes of all members (n,), by how much they wrote and whether they ever logged in (n,).

    The first 1 % of all members are superusers, the next 10 % top contributors, as far as they wrote
    anything; contributors wrote, observers did not, the last never logged in. Who wrote has logged in. Of
    equals, who comes first ranks first. Without log-ins (None: reads are not collected) observers and those
    who never came are not told apart. Raises ValueError when they are not of one number.
    """
    x = np.asarray(amounts, float).ravel()
    seen = None if has_logged_in is None else np.asarray(has_logged_in, bool).ravel()
    if seen is not None and len(seen) != len(x):
        raise ValueError(f"{len(x)} members, {len(seen)} log-ins")
    codes = np.full(len(x), -1) if seen is None else np.where(seen, 3, 4)
    codes[x > 0] = 2
    ranked = np.argsort(-x, kind="stable")
    first = _percent(1, len(x))
    for code, start, end in ((0, 0, first), (1, first, first + _percent(10, len(x)))):
        of_rank = ranked[start:end]
        codes[of_rank[x[of_rank] > 0]] = code
    return Classified(
        codes.astype(np.int64),
        tuple(_people(codes, i, seen is None and i > 2) for i in range(len(CLASSES))),
        tuple(_written(x, codes, i) for i in range(len(CLASSES))),
    )


def _people(codes: Integers, code: int, is_unknown: bool) -> Estimate:
    if is_unknown:
        return not_estimated("count", "reads are not collected")
    return count(int((codes == code).sum()))


def _written(x: Floats, codes: Integers, code: int) -> Estimate:
    method = "share of messages by class"
    reason = _why_no_shares(x)
    return not_estimated(method, reason) if reason else described(x[codes == code].sum() / x.sum(), method)


def _why_no_shares(x: Floats) -> str | None:
    if len(x) == 0:
        return NO_MEMBERS
    if not (np.isfinite(x).all() and (x >= 0).all()):
        return "an amount is missing, or below 0"
    return None if x.any() else NO_MESSAGES


def _percent(share: int, people: int) -> int:
    """Half up."""
    return (share * people + 50) // 100


# --- Who answers whom -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """Of `members` and the replies among them: reciprocity, centralisation, and the dyads that there are."""

    reciprocity: Estimate
    centralisation: Estimate
    members: int
    dyads: int
    mutual: int


def describe_replies(senders: npt.ArrayLike, receivers: npt.ArrayLike, members: int) -> Network:
    """Of who replied (r,) to whom (r,), as numbers from 0, below `members`.

    Reciprocity: dyads with replies in both directions over those with any. In-degree centralisation:
    Σ(max − dᵢ)/(n − 1)² with dᵢ of n members, how many others replied to i; 1 where all reply to one only.
    How often is not counted, and replies to oneself are not. Members whom nobody answers count as well.
    Raises ValueError when numbers differ, or are of no member.
    """
    a, b = (np.asarray(each).ravel().astype(np.int64) for each in (senders, receivers))
    if len(a) != len(b) or min(a.min(initial=0), b.min(initial=0)) < 0:
        raise ValueError(f"{len(a)} senders, {len(b)} receivers")
    if max(a.max(initial=-1), b.max(initial=-1)) >= members:
        raise ValueError(f"a number is of none of {members} members")
    arcs = np.unique((a * members + b)[a != b])
    a, b = arcs // max(members, 1), arcs % max(members, 1)
    mutual = int(np.isin(b * members + a, arcs, assume_unique=True).sum()) // 2
    dyads = len(arcs) - mutual
    name = "mutual dyads over dyads"
    reciprocity = (
        described(mutual / dyads, name) if dyads else not_estimated(name, "nobody replied to another")
    )
    degrees = np.bincount(b, minlength=members)
    spread = centralisation(int(degrees.max(initial=0)), int(degrees.sum()), members)
    return Network(reciprocity, spread, members, dyads, mutual)


def centralisation(highest: int, total: int, members: int) -> Estimate:
    """Of the in-degrees of so many members: the highest, and all added up."""
    method = "Freeman's centralisation of in-degrees, Σ(max − d)/(n − 1)²"
    if members < 2:
        return not_estimated(method, "fewer than two members")
    return described((members * highest - total) / (members - 1) ** 2, method)
