"""`--upstream DIR|REF`: dusty-nv's tree beside ours, from a checkout or fetched into the cache directory."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core import files, json_text, mirrors
from jetson_containers.core.errors import ConfigError, NotReadyError, UsageError, command

if TYPE_CHECKING:
    from typing import Any

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings

REPOSITORY = "https://github.com/dusty-nv/jetson-containers"
_REF = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
RECORD = "refs.json"
DAY = 86400.0  # seconds


def tree(settings: Settings, console: Console) -> Path | None:
    """The package tree that the setting `upstream` means; None where it is empty.

    A directory is taken as it is, or its `packages`. Anything else is a branch, tag or full commit of
    the public repository. What was fetched once is used again: a commit for ever, a branch or tag for as many days as
    the setting `upstream_days` says, and for longer where the network does not answer. Raises UsageError, ConfigError
    or NotReadyError.
    """
    wanted = settings["upstream"]
    if not wanted:
        return None
    directory = Path(wanted).expanduser()
    if os.path.isdir(directory):  # noqa: PTH112 - Path.is_dir raises where a name is too long
        return _packages(directory.absolute())
    if wanted.startswith((".", "/", "~")) or not _REF.fullmatch(wanted) or ".." in wanted:
        raise UsageError(
            f"--upstream: `{wanted}` is neither a directory nor a name that git could know",
            hint="name a checkout of upstream, or a branch, tag or full commit: `--upstream master`",
        )
    return _packages(_fetched(wanted, settings, console, renew=False))


def renew(settings: Settings, console: Console) -> str:
    """Fetch what the setting `upstream` names anew, whatever its age; its commit. Raises what `tree` raises."""
    wanted = settings["upstream"]
    if os.path.isdir(Path(wanted).expanduser()):  # noqa: PTH112 - Path.is_dir raises where a name is too long
        raise UsageError(f"--upstream: `{wanted}` is a directory of yours", hint="update it with git")
    return _fetched(wanted, settings, console, renew=True).name


def _packages(directory: Path) -> Path:
    return directory / "packages" if (directory / "packages").is_dir() else directory


def _fetched(ref: str, settings: Settings, console: Console, *, renew: bool) -> Path:
    """The directory of a commit, which never changes: what is being built from keeps its files."""
    place = settings.path("cache") / "upstream"
    kept = _kept(place, ref)
    old = kept is not None and (renew or _is_old(ref, place, settings["upstream_days"]))
    if kept is not None and (not old or settings["offline"]):
        console.detail(f"upstream's `{ref}` is {_state(kept, place, ref)}")
        return kept
    if settings["offline"]:
        raise NotReadyError(
            f"`{ref}` of upstream was not fetched yet, and offline nothing can be",
            hint="leave out --offline once, or name a checkout: `--upstream DIR`",
        )
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{place} cannot be made: {error.strerror}", hint="check the setting `cache`") from error
    with files.open_lock(place / ".lock") as lock:
        files.wait_for_lock(lock)
        meanwhile = _kept(place, ref)  # another command may have fetched it
        if meanwhile is not None and meanwhile != kept:
            return meanwhile
        try:
            return _fetch(ref, kept, place, settings, console)
        except NotReadyError as error:
            if kept is None or renew:
                raise
            console.warning(f"{error.message}; going on with {_state(kept, place, ref)}", error.hint)
            return kept


def _kept(place: Path, ref: str) -> Path | None:
    """Where the files of a branch, tag or commit are that was fetched before."""
    commit = ref if _COMMIT.fullmatch(ref) else str(_records(place).get(ref, {}).get("commit", ""))
    return place / commit if _COMMIT.fullmatch(commit) and (place / commit).is_dir() else None


def _records(place: Path) -> dict[str, Any]:
    """The commit of each branch and tag, and when it was asked for."""
    with contextlib.suppress(OSError, ValueError):
        found = json_text.parse((place / RECORD).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return {ref: row for ref, row in found.items() if isinstance(row, dict)}
    return {}


def _age(ref: str, place: Path) -> float | None:
    """Days since a branch or tag was fetched; None where that is not known, as with a time in the future."""
    fetched = _records(place).get(ref, {}).get("fetched")
    age = (time.time() - fetched) / DAY if isinstance(fetched, (int, float)) else -1.0
    return age if age >= 0 else None


def _is_old(ref: str, place: Path, days: int) -> bool:
    if _COMMIT.fullmatch(ref):
        return False
    age = _age(ref, place)
    return age is None or age >= days


def _state(kept: Path, place: Path, ref: str) -> str:
    age = _age(ref, place)
    when = "" if age is None else f", fetched {age:.0f} days ago" if age >= 1 else ", fetched today"
    return f"commit {kept.name[:12]}{when}"


def _fetch(ref: str, kept: Path | None, place: Path, settings: Settings, console: Console) -> Path:
    """Fetch one state, without its history, and lay its files out under a name that appears when all are there."""
    for left in place.glob(".new-*"):  # of a fetch that was killed
        shutil.rmtree(left, ignore_errors=True)
    what = f"; here is {_state(kept, place, ref)}" if kept else ""
    console.info(f"fetching `{ref}` of {REPOSITORY} into {place}{what}")
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **mirrors.git_variables(settings["mirrors"].get("git", {}))}
    repository = place / "repository"
    if not (repository / "HEAD").is_file():
        _git(["init", "--quiet", "--bare", str(repository)], env, ref)
    _git(["-C", str(repository), "fetch", "--quiet", "--depth=1", REPOSITORY, ref], env, ref)
    commit = _git(["-C", str(repository), "rev-parse", "FETCH_HEAD^{commit}"], env, ref).strip()
    target = place / commit
    if not target.is_dir():
        _lay_out(commit, repository, target, env, ref)
    if not _COMMIT.fullmatch(ref):
        records = {**_records(place), ref: {"commit": commit, "fetched": time.time()}}
        files.write_atomically(place / RECORD, json.dumps(records, indent=1, sort_keys=True))
        console.info(f"upstream's `{ref}` is commit {commit[:12]}" + (", as before" if kept == target else ""))
    return target


def _lay_out(commit: str, repository: Path, target: Path, env: dict[str, str], ref: str) -> None:
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        there = [f"--git-dir={repository}", f"--work-tree={made}"]
        _git([*there, "-c", "core.bare=false", "checkout", "--quiet", "--force", commit, "--", "."], env, ref)
        made.chmod(0o755)
        made.rename(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _git(words: list[str], env: dict[str, str], ref: str) -> str:
    """What git prints. Raises UsageError for a name that upstream lacks, NotReadyError for all else."""
    try:
        done = subprocess.run(
            ["git", *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise NotReadyError("`git` is not on PATH", hint="sudo apt-get install git") from error
    if done.returncode == 0:
        return done.stdout
    said = [line for line in done.stderr.splitlines() if line.strip()]
    if any("couldn't find remote ref" in line or "not our ref" in line for line in said):
        short = bool(re.fullmatch(r"[0-9a-f]{4,39}", ref)) and not _COMMIT.fullmatch(ref)
        hint = "a commit needs all 40 digits" if short else command("git", "ls-remote", REPOSITORY) + " lists them"
        raise UsageError(f"upstream has no `{ref}`", hint=hint, details=said)
    raise NotReadyError(
        f"`{ref}` of upstream could not be fetched",
        details=said,
        hint="the same command tries again; or name a checkout: `--upstream DIR`",
    )
