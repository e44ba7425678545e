"""Compiles the worker's loops before it takes records: the first time on a machine; later they are loaded."""

from __future__ import annotations

import numpy as np

from services.engagement import kernels
from services.engagement.layout import EVENT, STEP_SECONDS
from services.engagement.people import nobody
from services.engagement.reading import read
from services.engagement.tables import KEPT_FROM_EVENTS, Tabulator


def warm_up() -> None:
    """Some half a minute, or half a second."""
    read([(b"", b"", 0)])
    events = np.zeros(1, EVENT)
    kernels.merge(events.copy(), 0, events)
    for kept_from_events in (0, KEPT_FROM_EVENTS):
        figures = Tabulator(kept_from_events).figures("", events, nobody(), STEP_SECONDS, None)
    target = np.empty(kernels.MAX_ENCODED_BYTES, np.uint8)
    kernels.encode(figures.counts, figures.medians, figures.gini.view(np.uint8), target)
