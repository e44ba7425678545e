"""The command `circles`, for operators. A partner who has installed the SDK only is told so."""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    """Entry point of the command."""
    if importlib.util.find_spec("click") is None:
        sys.exit(
            "`circles` is the operators' command: pip install 'circles[stack]', or 'circles[services]' for "
            "`circles import` alone. The SDK is circles.client."
        )
    from infra.cli.main import main as run

    run()
