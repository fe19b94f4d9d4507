"""From references to files on disk: list, look, make sure there is room, fetch in parallel, verify, link."""

from __future__ import annotations

import concurrent.futures
import os
import queue
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import NOT_READY, NOTHING_FOUND, DownloadError, is_network, is_offline, status_of
from .explain import explain, not_cached
from .model import FilePlan, Listing, Plan, Result, State
from .onefile import FileTransfer
from .owner import owner_of
from .progress import Reporter, show_bytes
from .reference import is_wanted, parse
from .remote import Hub, Patience, Stop, StoppedError
from .store import Repository

if TYPE_CHECKING:
    from typing import Callable, Iterable, Iterator, Mapping, Sequence

    from .credentials import Token
    from .model import Entry
    from .owner import Owner
    from .reference import Reference

JOBS = 8  # files at the same time
_STOPPING = 2.0  # seconds that the other files of a failed download get to stop


@dataclass(frozen=True)
class Options:
    """What was asked for besides the references. `cache` is the library's cache directory."""

    cache: Path
    kind: str = "model"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    offline: bool = False
    verify: bool = False
    dry_run: bool = False
    jobs: int = JOBS
    endpoint: str = ""
    patience: Patience = field(default_factory=Patience)


class Downloader:
    """One command: several references, one hub, one cache."""

    def __init__(
        self,
        options: Options,
        token: Token,
        reporter: Reporter,
        *,
        env: Mapping[str, str] | None = None,
        sleep: Callable[[float], object] | None = None,
        free_space: Callable[[Path], int] | None = None,
    ) -> None:
        self.options = options
        self.token = token
        self.reporter = reporter
        self._stop = Stop(sleep)
        self._env = env
        self._free_space = free_space or _free_space
        self._hub_made: Hub | None = None
        reporter.secret = token.value

    def download(self, references: Sequence[str]) -> Iterator[Result]:
        """Plan all, then fetch one reference after the other; each result comes as soon as it is complete.

        Raises DownloadError. A path that exists is handed back unchanged.
        """
        items = self.plan(references)
        plans = [item for item in items if isinstance(item, Plan)]
        if not self.options.dry_run:
            self.check_space(plans)
        for item in items:
            if isinstance(item, Result):
                yield item
            elif self.options.dry_run:
                yield Result(str(item.path), item)
            else:
                yield self.fetch(item)

    def plan(self, references: Sequence[str]) -> list[Plan | Result]:
        """What each reference comes to, without fetching a file. Raises DownloadError."""
        items: list[Plan | Result] = []
        for text in references:
            if os.path.exists(text):  # noqa: PTH110 - Path.exists raises for a name that is too long
                self.reporter.say(f"{text} is a path on this machine; nothing to download")
                items.append(Result(str(Path(text))))
                continue
            reference = parse(text, self.options.kind)
            items.append(self.plan_listing(self.listing(reference)))
        return items

    def plan_listing(self, listing: Listing) -> Plan:
        """What is here of the wanted files of a listing. Raises DownloadError when none is wanted."""
        reference = listing.reference
        with self._explained(reference):
            entries = self._wanted(listing)
            repository = Repository(self.options.cache, reference, self._owner)
            path = repository.snapshot(listing.commit)
            files = self._look(repository, listing, entries)
        return Plan(listing, files, path / reference.file if reference.file else path)

    def listing(self, reference: Reference) -> Listing:
        """The files of a repository. Raises DownloadError."""
        with self._explained(reference):
            return self._listing(reference)

    def _listing(self, reference: Reference) -> Listing:
        """From the hub, or from the cache when offline or when the hub does not answer."""
        if self.options.offline:
            return self._listing_here(reference)
        try:
            return self._hub.listing(reference)
        except Exception as error:
            if status_of(error) in (401, 403, 404) or not _is_unreachable(error):
                raise
            explained = explain(error, reference, self.token, self.endpoint)
            try:
                listing = self._listing_here(reference)
            except DownloadError:
                raise error from None
            self.reporter.warn(f"{explained}; using what is in the cache")
            return listing

    def check_space(self, plans: Iterable[Plan]) -> None:
        """Refuse before the first byte when what is missing does not fit."""
        missing = sum({item.entry.etag: item.needs for plan in plans for item in plan.files}.values())
        if not missing:
            return
        place = self.options.cache.absolute()
        while not place.exists():
            place = place.parent
        free = self._free_space(place)
        if missing > free:
            raise DownloadError(
                NOT_READY,
                f"{show_bytes(missing)} are to be downloaded, {self.options.cache} has {show_bytes(free)} free",
                "free some space, take less (--include, --exclude), or give another place with --cache-dir",
            )

    def fetch(self, plan: Plan, *, move: bool = True) -> Result:
        """Fetch what is missing of one plan, in parallel; `move`: the revision means this commit from now on."""
        reference = plan.listing.reference
        with self._explained(reference):
            repository = Repository(self.options.cache, reference, self._owner)
            repository.chown_root_files()
            states = {item.entry.name: item.state for item in plan.files}
            wanted = [item for item in plan.files if item.state is not State.CACHED]
            if wanted and self.options.offline:
                raise not_cached(reference, _say_lacking(reference, wanted))
            if wanted:
                repository.prepare()
                files = f"{len(plan.files)} files" if len(plan.files) > 1 else plan.files[0].entry.name
                self.reporter.say(f"{reference}: {files}, {show_bytes(plan.missing)} to download")
                states.update(self._fetch_all(plan.listing, wanted, repository))
            for item in plan.files:
                repository.link(plan.listing.commit, item.entry)
            repository.record(plan.listing, move=move)
        return Result(str(plan.path), plan, states)

    @property
    def endpoint(self) -> str:
        """The hub's address."""
        given = self.options.endpoint or (os.environ if self._env is None else self._env).get("HF_ENDPOINT", "")
        return (given or "https://huggingface.co").rstrip("/")

    # one reference

    @property
    def _hub(self) -> Hub:
        if self._hub_made is None:
            self._hub_made = Hub(
                self.token,
                say=self.reporter.say,
                endpoint=self.endpoint,
                patience=self.options.patience,
                stop=self._stop,
            )
        return self._hub_made

    @property
    def _owner(self) -> Owner:
        return owner_of(self.options.cache, self._env)

    def _wanted(self, listing: Listing) -> list[Entry]:
        reference = listing.reference
        if reference.file:
            found = [entry for entry in listing.entries if entry.name == reference.file]
            if not found:
                raise _no_such_file(listing)
            return found
        found = [e for e in listing.entries if is_wanted(e.name, self.options.include, self.options.exclude)]
        if not found:
            names = ", ".join(sorted(entry.name for entry in listing.entries)[:10])
            raise DownloadError(
                NOTHING_FOUND, f"no file of `{reference}` passes the patterns", f"files there: {names or 'none'}"
            )
        return found

    def _listing_here(self, reference: Reference) -> Listing:
        repository = Repository(self.options.cache, reference)
        commit = repository.commit_of(reference.revision or "main")
        if commit is None:
            raise not_cached(reference)
        listing = repository.listing(commit)
        if not listing.entries:
            raise not_cached(reference)
        return listing

    def _look(self, repository: Repository, listing: Listing, entries: Sequence[Entry]) -> tuple[FilePlan, ...]:
        """What is here of each file; checksums of several are computed at the same time."""
        verify, write = self.options.verify, not self.options.dry_run
        here = [entry for entry in entries if repository.location(listing.commit, entry)] if verify else []
        with self.reporter.progress(
            f"{listing.reference.repo} checksums", sum(entry.size for entry in here)
        ) as progress:

            def look(entry: Entry) -> FilePlan:
                def watch(count: int) -> None:
                    self._stop.check()
                    progress.move(entry.name, count)

                return repository.check(listing.commit, entry, rehash=verify, write=write, watch=watch)

            with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                try:
                    found = tuple(pool.map(look, entries))
                except BaseException:
                    self._stop.set()
                    raise
        for item in found:
            if item.state is State.CORRUPT:
                self.reporter.warn(f"{listing.reference}: {item.entry.name} in the cache is damaged")
        return found

    def _explained(self, reference: Reference) -> _Explained:
        return _Explained(reference, self.token, self.endpoint)

    # files in parallel

    def _fetch_all(self, listing: Listing, wanted: Sequence[FilePlan], repository: Repository) -> dict[str, State]:
        """Largest first. The first failure stops all; what has arrived stays for the next time.

        Daemon threads rather than an executor: Ctrl-C must not wait for a server that says nothing.
        """
        todo: queue.Queue[FilePlan] = queue.Queue()
        for item in sorted(wanted, key=lambda item: -item.missing):
            todo.put(item)
        done: queue.Queue[tuple[FilePlan, State | BaseException]] = queue.Queue()
        total = sum({item.entry.etag: item.missing for item in wanted}.values())
        states: dict[str, State] = {}
        with self.reporter.progress(listing.reference.repo, total) as progress:

            def work() -> None:
                while True:
                    try:
                        item = todo.get_nowait()
                    except queue.Empty:
                        return
                    try:
                        done.put(
                            (item, FileTransfer(self._hub, listing, item, repository, progress, self.reporter).fetch())
                        )
                    except BaseException as error:  # noqa: BLE001 - carried to the main thread
                        done.put((item, error))

            count = min(max(1, self.options.jobs), len(wanted))
            threads = [threading.Thread(target=work, name=f"download-{n}", daemon=True) for n in range(count)]
            for thread in threads:
                thread.start()
            try:
                for _ in wanted:  # one outcome each, also where two of them should have the same name
                    item, outcome = done.get()
                    if isinstance(outcome, BaseException):
                        raise outcome
                    states[item.entry.name] = outcome
            except BaseException as error:
                self._stop.set()
                for thread in threads if isinstance(error, Exception) else ():
                    thread.join(_STOPPING / count)
                raise
        return states


class _Explained:
    """Turns what the client raises into a DownloadError; what nobody knows goes on as it is."""

    def __init__(self, reference: Reference, token: Token, endpoint: str) -> None:
        self._arguments = (reference, token, endpoint)

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, (DownloadError, StoppedError)):
            failure = explain(error, *self._arguments)
            if failure is not None:
                token = self._arguments[1]
                raise DownloadError(
                    failure.status, token.redact(failure.message), token.redact(failure.hint)
                ) from error


def _free_space(place: Path) -> int:
    return shutil.disk_usage(str(place)).free


def _is_unreachable(error: BaseException) -> bool:
    code = status_of(error)
    return is_offline(error) or (is_network(error) if code is None else code >= 500 or code == 429)


def _say_lacking(reference: Reference, wanted: Sequence[FilePlan]) -> str:
    names = ", ".join(item.entry.name for item in wanted[:3]) + (" …" if len(wanted) > 3 else "")
    return f"{len(wanted)} files of `{reference}` are missing or damaged in the cache ({names}), and this is offline"


def _no_such_file(listing: Listing) -> DownloadError:
    reference = listing.reference
    below = [entry.name for entry in listing.entries if entry.name.startswith(f"{reference.file}/")]
    if below:
        hint = f"it is a directory: {reference.repo} --include '{reference.file}/*'"
        return DownloadError(NOTHING_FOUND, f"`{reference}` is not a file", hint)
    if not listing.whole:
        return not_cached(reference)
    end = Path(str(reference.file)).suffix
    like = sorted(entry.name for entry in listing.entries if end and entry.name.endswith(end))
    names = ", ".join((like or sorted(entry.name for entry in listing.entries))[:10])
    return DownloadError(NOTHING_FOUND, f"`{reference}`: there is no such file", f"files there: {names or 'none'}")
