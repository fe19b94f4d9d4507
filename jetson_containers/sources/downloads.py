"""Downloads from other sources than the hub, with the hub's transfer: parts, checksums, locks and links as there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.core.console import Level
from jetson_containers.hub.downloads import HostDownloader, translate_errors
from jetson_containers.hub.transfer.credentials import Token
from jetson_containers.hub.transfer.errors import DownloadError
from jetson_containers.hub.transfer.fetch import DownloadOptions
from jetson_containers.hub.transfer.progress import Reporter
from jetson_containers.hub.transfer.store import CachedRepository
from jetson_containers.hub.transfer.types import DownloadResult
from jetson_containers.registry.client import RegistryClient
from jetson_containers.registry.http import Transport
from jetson_containers.registry.types import UnreachableError
from jetson_containers.sources import modelscope
from jetson_containers.sources.direct import DirectSource, UnverifiedListing
from jetson_containers.sources.first_use import FirstUseTransfer, kept_listing
from jetson_containers.sources.names import DIRECT, MODELSCOPE, MODELSCOPE_HOST, OLLAMA
from jetson_containers.sources.oci import ArtifactSource
from jetson_containers.sources.ollama import OllamaSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.hub.transfer.reference import Reference
    from jetson_containers.hub.transfer.remote import Hub
    from jetson_containers.hub.transfer.types import DownloadPlan, RepositoryListing
    from jetson_containers.sources.names import SourceReference
    from jetson_containers.sources.source import ModelSource


def cache_of(data: Path, source: str) -> Path:
    """Where the models of a source are kept below a data directory."""
    return data / "models" / source


def download_model(reference: SourceReference, settings: Settings, console: Console, **given: Any) -> DownloadResult:
    """Download one model below the data directory. `given`: fields of `DownloadOptions`.

    Raises NothingMatchedError, NotReadyError (no answer, no space), StepError (wrong bytes) and what registries raise.
    """
    with translate_errors():
        downloader = SourceDownloader.of(reference, settings, console, **given)
        plan = downloader.plan_listing(downloader.listing(reference))
        if not downloader.options.dry_run:
            downloader.check_space([plan])
            return downloader.fetch(plan)
    return DownloadResult(str(plan.path), plan)


class SourceDownloader(HostDownloader):
    """The hub's downloader with another source in the place of the hub."""

    make: Callable[[], ModelSource]

    @classmethod
    def of(cls, reference: SourceReference, settings: Settings, console: Console, **given: Any) -> SourceDownloader:
        """With this machine's settings."""
        given.setdefault("cache", cache_of(settings.path("data"), reference.source))
        given.setdefault("offline", bool(settings["offline"]))
        given.pop("token", None)
        options = DownloadOptions(**given)
        reporter = Reporter(quiet=console.level == Level.QUIET, stream=console.err, warn=console.warning)
        made = cls(options, Token(), reporter, env=settings.env)
        made.make = lambda: _source(reference, settings, made)
        return made

    @property
    def source(self) -> ModelSource:
        """The source, made when it is first asked."""
        if self._hub_made is None:
            self._hub_made = self.make()
        return self._hub_made  # type: ignore[return-value]  # `make` is the only one that makes it

    @property
    def stop(self) -> Any:
        """What ends all threads."""
        return self._stop

    @property
    def _hub(self) -> Hub:
        return self.source

    @property
    def endpoint(self) -> str:
        """The source's address."""
        return self.source.endpoint

    def _listing(self, reference: Reference) -> RepositoryListing:
        """From the source, or from the cache when offline or when it does not answer."""
        if self.options.offline:
            return self._listing_here(reference)
        try:
            return self._as_kept(self.source.files_of(reference))  # type: ignore[arg-type]  # there are no others here
        except UnreachableError as error:
            try:
                listing = self._listing_here(reference)
            except DownloadError:
                raise error from None
            self.reporter.warn(f"{error.message}; using what is in the cache")
            return listing

    def _as_kept(self, listing: RepositoryListing) -> RepositoryListing:
        """With the checksum of an earlier download of the same version, where the server gives none."""
        if not isinstance(listing, UnverifiedListing):
            return listing
        repository = CachedRepository(self.options.cache, listing.reference)
        before = repository.commit_of(listing.revision)
        if before not in {None, listing.commit}:
            self.reporter.warn(f"{listing.reference} is another file now than the one that was fetched before")
        return kept_listing(repository, listing.commit) or listing

    def fetch(self, plan: DownloadPlan, *, move: bool = True) -> DownloadResult:
        """As the hub's; a file without a checksum gets that of what arrives, which is said."""
        listing = plan.listing
        if not isinstance(listing, UnverifiedListing):
            return super().fetch(plan, move=move)
        repository = CachedRepository(self.options.cache, listing.reference, self._owner)
        repository.chown_root_files()
        repository.prepare()
        (item,) = plan.files
        with self._explained(listing.reference), self.reporter.progress(listing.reference.repo, item.missing) as shown:
            state = FirstUseTransfer(self._hub, listing, item, repository, shown, self.reporter).fetch()
        found = repository.listing(listing.commit)
        self.reporter.warn(
            f"{self.source.host} gives no checksum of {item.entry.name}, so what arrived is trusted: its sha256 is "
            f"{found.entries[0].sha256}. Compare it with the page that names the file; with #sha256= and these digits "
            "behind the address no other file is taken"
        )
        result = super().fetch(self.plan_listing(found), move=move)
        return replace(result, states={item.entry.name: state})


def _source(reference: SourceReference, settings: Settings, downloader: SourceDownloader) -> ModelSource:
    given = {"say": downloader.reporter.say, "patience": downloader.options.patience, "stop": downloader.stop}
    if reference.source == MODELSCOPE:
        host = settings["mirrors"].get("registries", {}).get(MODELSCOPE_HOST) or settings.env.get("MODELSCOPE_DOMAIN")
        token = settings.env.get(modelscope.TOKEN, "").strip()
        transport = Transport.of(settings, modelscope.ModelScopeSource.title)
        return modelscope.ModelScopeSource(transport, host or reference.host, token, **given)
    if reference.source == DIRECT:
        return DirectSource(Transport.of(settings, DirectSource.title), reference.host, **given)
    kind = OllamaSource if reference.source == OLLAMA else ArtifactSource
    return kind(RegistryClient.of(settings), reference.host, **given)
