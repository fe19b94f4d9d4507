"""`root`, `data`, `update`: where this checkout and its data are, and the newest state of it; upstream's commands."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from jetson_containers.cli.app import App, command
from jetson_containers.core import errors
from jetson_containers.core.errors import NotReadyError
from jetson_containers.core.git import revision
from jetson_containers.core.settings import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@command(epilog='Example: cd "$(jetson-containers root)"')
def root(app: App) -> None:
    """Print the directory of this checkout."""
    _show(app, ROOT)


@command(epilog='Example: docker run -v "$(jetson-containers data)":/data IMAGE')
def data(app: App) -> None:
    """Print the directory that containers see as /data."""
    _show(app, app.settings.path("data").absolute())


@command(epilog="Example: jetson-containers update")
def update(app: App) -> None:
    """Fetch the newest state of this checkout with `git pull`; local commits and changes are never overwritten.

    With --upstream REF, fetch that branch or tag of upstream instead.
    """
    if app.settings["upstream"]:
        _update_upstream(app)
        return
    before = revision(ROOT)
    if not before:
        raise NotReadyError(f"{ROOT} is not a git checkout", hint="update it the way it was installed")
    if app.settings["offline"]:
        raise NotReadyError("offline nothing can be fetched", hint="leave out --offline")
    _check_branch()
    done = _git("pull", "--ff-only")
    app.console.info(done.stdout.strip())
    if done.returncode != 0:
        raise NotReadyError(
            "git failed to update the checkout", hint=f"{errors.command('git', '-C', ROOT, 'status')} shows its state"
        )
    _show_revisions(app, before, revision(ROOT))


def _update_upstream(app: App) -> None:
    from jetson_containers.cli import upstream

    if app.settings["offline"]:
        raise NotReadyError("offline nothing can be fetched", hint="leave out --offline")
    commit = upstream.renew(app.settings, app.console)
    if app.console.as_json:
        app.console.result_json({"upstream": app.settings["upstream"], "commit": commit})


def _check_branch() -> None:
    """Refuse where git would not know which branch of which repository to take commits from."""
    branch = _git("symbolic-ref", "--quiet", "--short", "HEAD").stdout.strip()
    if not branch:
        raise NotReadyError(
            f"{ROOT} is at a commit or a tag, not on a branch, so there is nothing newer that belongs to it",
            hint=f"{errors.command('git', '-C', ROOT, 'checkout', 'BRANCH')}, then again",
        )
    if not _git("config", "--get", f"branch.{branch}.merge").stdout.strip():
        raise NotReadyError(
            f"{ROOT} is on branch {branch}, which follows no branch of another repository",
            hint=f"{errors.command('git', '-C', ROOT, 'branch', '--set-upstream-to', 'origin/BRANCH')}, then again",
        )


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    """What git says of this checkout; its errors go to the terminal."""
    argv = ["git", "-C", str(ROOT), *words]
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, text=True, env=_env()
        )
    except FileNotFoundError as error:
        raise NotReadyError("`git` is not on PATH", hint="sudo apt-get install git") from error


def _env() -> dict[str, str]:
    return {**os.environ, "GIT_TERMINAL_PROMPT": "0"}  # a question for a password would wait for ever


def _show(app: App, path: Path) -> None:
    if app.console.as_json:
        app.console.result_json({"path": str(path)})
    else:
        app.console.result(str(path))


def _show_revisions(app: App, before: str, after: str) -> None:
    if app.console.as_json:
        app.console.result_json({"before": before, "after": after})
    elif before == after:
        app.console.ok(f"{ROOT} is up to date: {after[:12]}")
    else:
        app.console.ok(f"{ROOT}: {before[:12]} → {after[:12]}; ./install.sh installs what it newly needs")
