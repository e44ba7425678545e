"""A plot as Markdown with a PNG in it, for the page of an asset. What is drawn stands beside the asset."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

INCHES = (7.0, 3.0)


def markdown(draw: Callable[..., None], panels: int = 1) -> str:
    """`draw` gets the axes of an empty figure, one for each panel, from left to right; more than two are in
    lines of two."""
    # A figure of its own, without pyplot: nothing is kept between runs and no display is looked for.
    from matplotlib.figure import Figure

    lines = (panels + 1) // 2
    figure = Figure(figsize=(INCHES[0], INCHES[1] * lines), layout="constrained")
    draw(*figure.subplots(lines, min(panels, 2), squeeze=False).ravel()[:panels])
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=80)
    return f"![plot](data:image/png;base64,{base64.b64encode(png.getvalue()).decode()})"
