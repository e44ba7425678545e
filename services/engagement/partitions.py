"""All groups of one partition: what is told reaches them, and what changed is handed on to be written.

Pure but for the file of idle groups, which it is given.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from services.engagement.cold import ColdGroups
from services.engagement.groups import Group, GroupKey, Withdrawn
from services.engagement.layout import Events
from services.engagement.reading import Told
from services.engagement.state import StateRecord, StateWriter, Written
from services.engagement.tables import Figures, Tabulator
from services.engagement.tenants import Contribution


class GroupFigures(NamedTuple):
    group: Group
    figures: Figures


class PartitionState:
    """Groups by their keys, and which of them changed since the last flush."""

    def __init__(self, writer: StateWriter, tabulator: Tabulator, cold: ColdGroups) -> None:
        self.applied_offset = -1
        self.count_events = 0
        """In memory."""
        self._writer = writer
        self._tabulator = tabulator
        self._cold = cold
        self._groups: OrderedDict[GroupKey, tuple[Group, Written]] = OrderedDict()
        """The one that was touched last comes last."""
        self._touched: dict[GroupKey, None] = {}
        self._tenants: dict[str, Contribution] = {}
        self._changed_tenants: dict[str, list[tuple[Events, int]]] = defaultdict(list)
        """Events that count from now on (1) or not any more (−1): all of a tenant at once cost less."""

    def restore(self, group: Group, written: Written, ever_withdrawn: Mapping[str, Withdrawn]) -> None:
        """Puts a group back as it was written.

        Its figures were sent, but people may have spoken of their consent while nobody was here.
        """
        self._groups[group.key] = group, written
        self.count_events += group.count
        self._tenant(group).change(group.log[group.log["hidden"] == 0], 1)
        self._set_in_tenant(group)
        if group.knows(ever_withdrawn.get(group.key.tenant_id, ())):
            self._touched[group.key] = None

    def doubt(self) -> None:
        """Something of the state is missing: what comes again is not taken for known by its offset."""
        for group, _ in self._groups.values():
            group.restored_offset = -1

    def close(self) -> None:
        self._cold.close()

    def tell(self, told: Told, withdrawn: Mapping[str, Withdrawn]) -> None:
        """Hands what some records tell to the groups."""
        order = np.lexsort((told.events["event"], told.events["at"], told.group))
        events, group, offsets = told.events[order], told.group[order], told.offsets[order]
        ends = np.searchsorted(group, np.arange(len(told.groups)), side="right").tolist()
        start = 0
        for place, ((key, data_class), end) in enumerate(zip(told.groups, ends, strict=True)):
            found = self.group(key, data_class, withdrawn)
            before = found.count
            if place in told.retractions:
                found.retract(told.retractions[place])
            news = events[start:end]
            if found.restored_offset >= 0:
                news = news[offsets[start:end] > found.restored_offset]
            found.tell(news, withdrawn.get(key.tenant_id, ()))
            self.count_events += found.count - before
            # Also where nothing is new: the figures may not have been sent before a crash.
            self._touched[key] = None
            start = end

    def follow(self, tenant_id: str, persons: Withdrawn, withdrawn: Mapping[str, Withdrawn]) -> None:
        """People said something of their consent: their groups' figures follow."""
        now = withdrawn.get(tenant_id, ())
        for key in self._cold.groups_of(tenant_id, persons):
            self.group(key, 0, withdrawn)
        for key, (group, _) in self._groups.items():
            if key.tenant_id == tenant_id and group.knows(persons):
                group.hide(now)
                self._touched[key] = None

    def take(self) -> Iterator[tuple[list[StateRecord], GroupFigures | None]]:
        """Of each group that changed, what has to be written; begins to collect anew."""
        touched, self._touched = self._touched, {}
        for key in touched:
            group, written = self._groups[key]
            group.forget_retractions()
            news = group.take_news()
            records = [*self._writer.records(group, written, news, self.applied_offset)]
            self._contribute(group, news)
            yield records, self._figures(group, news)

    def take_tenants(self) -> list[Contribution]:
        """Of the tenants whose groups changed; after `take`."""
        changed, self._changed_tenants = self._changed_tenants, defaultdict(list)
        for tenant_id, changes in changed.items():
            for sign in (1, -1):
                parts = [events for events, each in changes if each == sign]
                if parts:
                    self._tenants[tenant_id].change(np.concatenate(parts), sign)
        return [self._tenants[tenant_id] for tenant_id in changed]

    def group(self, key: GroupKey, data_class: int, withdrawn: Mapping[str, Withdrawn]) -> Group:
        """The group, from memory, from among the idle ones, or new."""
        found = self._groups.get(key)
        if found is None:
            found = self._cold.take(key, withdrawn.get(key.tenant_id, ()))
            if found is None:
                found = Group(key, data_class), Written()
            self._groups[key] = found
            self.count_events += found[0].count
        self._groups.move_to_end(key)
        return found[0]

    def rest(self, max_events: int) -> None:
        """Lets go of the groups that were idle for longest, until there are no more than `max_events`.

        Right after a flush, so that nothing of them waits to be written.
        """
        while self.count_events > max_events and len(self._groups) > 1:
            key, (group, written) = self._groups.popitem(last=False)
            self._writer.close(written)
            self._cold.put(group, written)
            self._tabulator.forget(key)
            self.count_events -= group.count

    def _contribute(self, group: Group, news: Events) -> None:
        visible = news[news["hidden"] == 0] if group.has_hidden else news
        self._changed_tenants[group.key.tenant_id] += [(visible, 1), *group.take_turned()]
        self._set_in_tenant(group)

    def _set_in_tenant(self, group: Group) -> None:
        tenant = self._tenant(group)
        if group.has_events:
            tenant.set_group(group.key.group_id, group.as_of, group.newest_active_at())

    def _tenant(self, group: Group) -> Contribution:
        tenant_id = group.key.tenant_id
        if tenant_id not in self._tenants:
            self._tenants[tenant_id] = Contribution(tenant_id, group.data_class)
        return self._tenants[tenant_id]

    def _figures(self, group: Group, news: Events) -> GroupFigures | None:
        if not group.has_events:
            return None
        is_disturbed, group.is_disturbed = group.is_disturbed, False
        figures = self._tabulator.figures(
            group.key, group.log, group.people, group.as_of, None if is_disturbed else news
        )
        return GroupFigures(group, figures)
