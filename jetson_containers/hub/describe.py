"""What a model is, before anything large is fetched: files, sizes, formats and config.json."""

from __future__ import annotations

import queue
import re
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from jetson_containers.core import json_text
from jetson_containers.hub import downloads
from jetson_containers.hub.transfer.errors import NOT_READY, DownloadError
from jetson_containers.hub.transfer.reference import Reference, parse
from jetson_containers.hub.transfer.store import CachedRepository
from jetson_containers.hub.transfer.types import FileState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.hub.downloads import HostDownloader
    from jetson_containers.hub.transfer.fetch import Downloader
    from jetson_containers.hub.transfer.types import RepositoryFile, RepositoryListing

T = TypeVar("T")

LONGEST = 120.0  # seconds for the list of files and the small ones
# File name ends by format. The original PyTorch forms count as one.
_FORMATS = {"safetensors": (".safetensors",), "bin": (".bin", ".pt", ".pth"), "gguf": (".gguf",)}
_QUANTIZED = "hf_quant_config.json"  # NVIDIA's Model Optimizer
_NO_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|rng_state|random_states)[^/]*$")
# Authors put a second copy beside the one that is loaded: consolidated.safetensors, original/, onnx/.
_LOADED = re.compile(r"(pytorch_)?model[^/]*\.(safetensors|bin)$")


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model on the hub, or in the cache.

    `revision` is what was asked, `commit` what it means now. `weights` gives the bytes of the weights in each format
    that is there (`safetensors`, `bin`, `gguf`); of gguf, every file may be another quantization of the same weights.
    `config` is the parsed config.json (an adapter's: adapter_config.json), or None with the reason in `config_missing`;
    `beside` hf_quant_config.json, where only that says how the weights are quantized. `path` is the snapshot on this
    machine when every file of it is here; `folder` its directory below `data/models`, empty for the hub's usual one.
    """

    id: str
    revision: str
    commit: str
    files: tuple[RepositoryFile, ...]
    weights: Mapping[str, int] = field(default_factory=dict)
    gated: bool | str = False
    config: Mapping[str, Any] | None = None
    config_missing: str = ""
    beside: Mapping[str, Any] | None = None
    path: Path | None = None
    folder: str = ""

    @property
    def is_gguf(self) -> bool:
        """Whether GGUF is the only format there."""
        return set(self.weights) == {"gguf"}


def describe(
    reference: str,
    settings: Settings,
    console: Console,
    *,
    kind: str = "model",
    token: str = "",
    limit: float = LONGEST,
    **given: Any,
) -> ModelInfo:
    """Ask for a repository's files, and fetch its config.json alone; never weights. Offline from the cache.

    Raises UsageError, NothingMatchedError or NotReadyError, also when there is no whole answer within `limit` seconds.
    A gated model's files can be listed without access: its `config` is None then.
    """
    with downloads.translate_errors():
        downloader = downloads.downloader(settings, console, token=token, **given)
        return in_time(lambda: described(downloader, parse(reference, kind)), limit)


def described(downloader: Downloader, reference: Reference) -> ModelInfo:
    """What a downloader's source says of a model. Raises DownloadError."""
    return _of_listing(downloader, downloader.listing(reference))


@dataclass(frozen=True, kw_only=True)
class RemoteModel:
    """A model at its source: what it is, and the contents of its files as far as they are asked for."""

    info: ModelInfo
    downloader: HostDownloader
    listing: RepositoryListing
    who: str = "the hub"

    def small(self, name: str, longest: int) -> bytes:
        """A small file, kept in the cache; empty where there is none, or one of more than `longest` bytes.

        Raises as `describe`; a gated or offline file that is not here is empty too.
        """
        if not any(entry.name == name and entry.size <= longest for entry in self.listing.entries):
            return b""
        with downloads.translate_errors():
            path = in_time(lambda: _fetched(self.downloader, self.listing, name)[0], LONGEST, self.who)
        return path.read_bytes() if path else b""

    def head(self, name: str, read: Callable[[bytes], T], longest: int) -> T:
        """What `read` makes of the first bytes of a file (see `HostDownloader.head`). Raises as `describe`."""
        with downloads.translate_errors():
            return in_time(lambda: self.downloader.head(self.listing, name, read, longest), LONGEST, self.who)


def open_model(reference: str, settings: Settings, console: Console) -> RemoteModel:
    """A model of the hub. Raises as `describe`."""
    with downloads.translate_errors():
        return opened(downloads.downloader(settings, console), parse(reference))


def opened(downloader: HostDownloader, reference: Reference, who: str = "the hub") -> RemoteModel:
    """A model of a downloader's source, also when there is no whole answer in time. Raises DownloadError."""

    def ask() -> RemoteModel:
        listing = downloader.listing(reference)
        return RemoteModel(info=_of_listing(downloader, listing), downloader=downloader, listing=listing, who=who)

    return in_time(ask, LONGEST, who)


def _of_listing(downloader: Downloader, listing: RepositoryListing) -> ModelInfo:
    config, problem = _config(downloader, listing)
    named = config is not None and "quantization_config" not in config
    beside = _json(downloader, listing, _QUANTIZED)[0] if named and _has(listing, _QUANTIZED) else None
    repository = CachedRepository(downloader.options.cache, listing.reference)
    return ModelInfo(
        id=listing.reference.repo,
        folder=f"{downloader.options.cache.name}/{listing.reference.folder}",
        revision=listing.revision,
        commit=listing.commit,
        files=listing.entries,
        weights=weight_bytes(listing.entries),
        gated=listing.gated,
        config=config,
        config_missing=problem,
        beside=beside,
        path=_path_if_whole(repository, listing),
    )


def in_time(ask: Callable[[], T], limit: float, who: str = "the hub") -> T:
    """The answer of `ask`, or its error. Raises DownloadError when there is neither within `limit` seconds.

    The hub's client limits each read from the socket only: a server that sends byte by byte would never end. What it
    still does then, in a daemon thread, keeps nobody waiting.
    """
    done: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

    def work() -> None:
        try:
            done.put((ask(), None))
        except BaseException as error:  # noqa: BLE001 - carried to the caller
            done.put((None, error))

    threading.Thread(target=work, name="describe", daemon=True).start()
    try:
        answer, error = done.get(timeout=limit)
    except queue.Empty:
        raise DownloadError(
            NOT_READY, f"{who} gave no whole answer within {limit:.0f} s", "try again later, or with `--offline`"
        ) from None
    if error is not None:
        raise error
    return cast("T", answer)


def weight_bytes(files: Sequence[RepositoryFile]) -> dict[str, int]:
    """Bytes of the weights by format: of the files that are loaded by their name, where there are such."""
    found: dict[str, int] = {}
    for name, ends in _FORMATS.items():
        all_of_it = [file for file in files if file.name.endswith(ends) and not _NO_WEIGHTS.search(file.name)]
        loaded = [file for file in all_of_it if _LOADED.match(file.name)]
        if all_of_it:
            found[name] = sum(file.size for file in loaded or all_of_it)
    return found


def _has(listing: RepositoryListing, name: str) -> bool:
    return any(entry.name == name for entry in listing.entries)


def _config(downloader: Downloader, listing: RepositoryListing) -> tuple[Mapping[str, Any] | None, str]:
    """config.json, of an adapter or an artifact of MLC its own, or the reason why there is none."""
    names = ("config.json", "adapter_config.json", "mlc-chat-config.json")
    name = next((name for name in names if _has(listing, name)), "")
    return _json(downloader, listing, name) if name else (None, "there is no config.json")


def _json(downloader: Downloader, listing: RepositoryListing, name: str) -> tuple[Mapping[str, Any] | None, str]:
    """An object of a small file, or the reason why there is none."""
    path, problem = _fetched(downloader, listing, name)
    if path is None:
        return None, problem
    try:
        config = json_text.parse(path.read_text(encoding="utf-8"), python=True)
    except ValueError as error:
        return None, f"{name} cannot be read: {error}"
    return (config, "") if isinstance(config, dict) else (None, f"{name} holds no object")


def _fetched(downloader: Downloader, listing: RepositoryListing, name: str) -> tuple[Path, str] | tuple[None, str]:
    """Where a small file is in the cache now; or None and why, where it is gated, or not here while offline."""
    reference = replace(listing.reference, file=name)
    try:
        plan = downloader.plan_listing(replace(listing, reference=reference))
        return Path(downloader.fetch(plan, move=False).path), ""
    except DownloadError as error:
        if listing.gated or downloader.options.offline:
            return None, error.message
        raise


def _path_if_whole(repository: CachedRepository, listing: RepositoryListing) -> Path | None:
    """The snapshot, when all files are there by their size; checksums are the download's business."""
    if not listing.whole or not all(_is_here(repository, listing.commit, entry) for entry in listing.entries):
        return None
    return repository.snapshot(listing.commit)


def _is_here(repository: CachedRepository, commit: str, entry: RepositoryFile) -> bool:
    linked = (repository.snapshot(commit) / entry.name).exists()
    return linked and repository.check(commit, entry, rehash=False, write=False).state is FileState.CACHED
