"""What a model of another source is, before anything large is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.hub.describe import LONGEST, ModelInfo, RemoteModel, described, in_time, opened
from jetson_containers.hub.downloads import translate_errors
from jetson_containers.sources.downloads import SourceDownloader

if TYPE_CHECKING:
    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.sources.names import SourceReference


def describe_model(
    reference: SourceReference, settings: Settings, console: Console, *, limit: float = LONGEST
) -> ModelInfo:
    """The files of a model. Raises as `download_model`, also when there is no whole answer within `limit` seconds."""
    with translate_errors():
        downloader = SourceDownloader.of(reference, settings, console)
        return in_time(lambda: described(downloader, reference), limit, downloader.endpoint)


def open_source_model(reference: SourceReference, settings: Settings, console: Console) -> RemoteModel:
    """A model with the contents of its files. Raises as `describe_model`."""
    with translate_errors():
        downloader = SourceDownloader.of(reference, settings, console)
        return opened(downloader, reference, downloader.endpoint)
