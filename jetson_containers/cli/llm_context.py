"""This machine, as the actions of `llm` need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jetson_containers.cli.app import App
    from jetson_containers.llm.context import LlmContext


def context_of(app: App) -> LlmContext:
    """Make it of an invocation; nothing is probed before it is asked for."""
    from jetson_containers.llm.context import HubAdapter, LlmContext

    return LlmContext(
        platform=app.platform,
        settings=app.settings,
        console=app.console,
        hub=HubAdapter(settings=app.settings, console=app.console),
        engine=lambda: app.container_engine,
        catalog=lambda: app.catalog,
    )
