"""`--upstream DIR|REF`: dusty-nv's tree beside ours, from a checkout or fetched into the cache directory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core import files, mirrors
from jetson_containers.core.errors import ConfigError, NotReadyError, UsageError, command

if TYPE_CHECKING:
    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings

REPOSITORY = "https://github.com/dusty-nv/jetson-containers"
_REF = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def tree(settings: Settings, console: Console) -> Path | None:
    """The package tree that the setting `upstream` means; None where it is empty.

    A directory is taken as it is, or its `packages`. Anything else is a branch, tag or full commit of
    the public repository. What was fetched once is used again: a commit for ever, a branch or tag until its directory
    is removed. Raises UsageError, ConfigError or NotReadyError.
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
    return _packages(_fetched(wanted, settings, console))


def _packages(directory: Path) -> Path:
    return directory / "packages" if (directory / "packages").is_dir() else directory


def _fetched(ref: str, settings: Settings, console: Console) -> Path:
    place = settings.path("cache") / "upstream"
    target = place / ref.replace("/", "__")
    if target.is_dir():
        return target
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
        for left in place.glob(".new-*"):  # of a fetch that was killed
            shutil.rmtree(left, ignore_errors=True)
        if not target.is_dir():  # another command may have fetched it meanwhile
            console.info(f"fetching `{ref}` of {REPOSITORY} into {target}")
            _fetch(ref, place, target, settings)
    return target


def _fetch(ref: str, place: Path, target: Path, settings: Settings) -> None:
    """Fetch one state, without its history, and lay its files out under a name that appears when all are there."""
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **mirrors.git_variables(settings["mirrors"].get("git", {}))}
    repository = place / "repository"
    if not (repository / "HEAD").is_file():
        _git(["init", "--quiet", "--bare", str(repository)], env, ref)
    _git(["-C", str(repository), "fetch", "--quiet", "--depth=1", REPOSITORY, ref], env, ref)
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=place))
    try:
        there = [f"--git-dir={repository}", f"--work-tree={made}"]
        _git([*there, "-c", "core.bare=false", "checkout", "--quiet", "--force", "FETCH_HEAD", "--", "."], env, ref)
        made.chmod(0o755)
        made.rename(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _git(words: list[str], env: dict[str, str], ref: str) -> None:
    try:
        done = subprocess.run(
            ["git", *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise NotReadyError("`git` is not on PATH", hint="sudo apt-get install git") from error
    if done.returncode == 0:
        return
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
