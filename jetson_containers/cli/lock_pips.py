"""`jetson-containers lock-pips`."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core.errors import JetsonError, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.recipes.locks import LockTask
    from jetson_containers.recipes.package import Package

_FLAGS = ("--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet")


@command("lock-pips")
@click.argument("patterns", nargs=-1, metavar="[PKG]...")
@click.option("--upgrade", is_flag=True, help="Use the newest versions; otherwise pins are kept where possible.")
@click.option("--dry-run", is_flag=True, help="Print the commands and change nothing.")
def lock_pips(app: App, *, patterns: tuple[str, ...], upgrade: bool, dry_run: bool) -> int:
    """Make the pip locks of recipes again, with `uv pip compile`.

    The lock that pins what `source.python` names is resolved from that, for every platform and the oldest Python of its
    row, without what the packages below bring. All other locks keep their pins and get the hashes of all files. Without
    PKG, the locks of all packages. Needs `uv` and a package index; uv's own variables (`UV_INDEX_URL`, …) choose it.

    Example: jetson-containers lock-pips huggingface_hub --dry-run
    """
    from jetson_containers.recipes import locks

    everything = _everywhere(app)
    wanted = _selected(everything, patterns)
    uv = "uv" if dry_run else _uv()
    failed = 0
    for task in locks.tasks(wanted, everything):
        argv = _argv(uv, task, upgrade=upgrade)
        if dry_run:
            app.console.result(_shell(argv, task))
            continue
        try:
            changed = _compile(argv, task)
        except JetsonError as error:
            app.console.error(error)
            failed += 1
            continue
        app.console.result(f"{_shown(task.lock)}: {changed}")
    return int(failed > 0)


def _everywhere(app: App) -> list[Package]:
    """Every row that is available on some platform, or on the one of `--target`."""
    from jetson_containers.platforms import detect
    from jetson_containers.platforms.target import SUPPORTED_TARGETS
    from jetson_containers.recipes import catalog

    target = app.options.get("target")
    trees = app.package_trees
    found: dict[tuple[str, str], Package] = {}
    for name in (target,) if target else SUPPORTED_TARGETS:
        for package in catalog.load(trees, detect.parse_target(name)).available.values():
            found.setdefault((package.name, package.origin), package)
    return list(found.values())


def _selected(packages: Sequence[Package], patterns: Sequence[str]) -> list[Package]:
    import fnmatch

    from jetson_containers.core.errors import NothingMatchedError

    chosen = []
    for pattern in patterns or ("*",):
        matching = [p for p in packages if any(fnmatch.fnmatchcase(n, pattern) for n in (p.name, p.family, *p.aliases))]
        if not matching:
            raise NothingMatchedError(f"no package matches `{pattern}`", hint="`jetson-containers list` shows them all")
        chosen += matching
    return chosen


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        raise NotReadyError("`uv` is not installed, and locks are made with it", hint="pip install uv")
    return found


def _argv(uv: str, task: LockTask, *, upgrade: bool) -> list[str]:
    argv = [uv, "pip", "compile", "-", *_FLAGS, f"--python-version={task.python}", f"--output-file={task.lock}"]
    argv += ["--no-deps"] if task.keeps_pins else []
    argv += ["--upgrade"] if upgrade and not task.keeps_pins else []
    return argv


def _overrides(task: LockTask) -> list[str]:
    """A requirement that never holds, for each package that the image has: it is left out with all that it needs."""
    return [f"{name} ; python_version < '0'" for name in task.left_out]


def _shell(argv: Sequence[str], task: LockTask) -> str:
    """The same as a line for bash."""
    made = f"printf '%s\\n' {shlex.join(task.requirements)} | {shlex.join(argv)}"
    return f"{made} --override=<(printf '%s\\n' {shlex.join(_overrides(task))})" if task.left_out else made


def _compile(argv: Sequence[str], task: LockTask) -> str:
    from jetson_containers.recipes import locks

    before = task.lock.read_text(encoding="utf-8")
    text = "\n".join(task.requirements) + "\n"
    with tempfile.TemporaryDirectory() as folder:
        overrides = Path(folder, "overrides.txt")
        overrides.write_text("".join(f"{line}\n" for line in _overrides(task)), encoding="utf-8")
        more = [f"--override={overrides}"] if task.left_out else []
        done = subprocess.run([*argv, *more], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        details = done.stderr.strip().splitlines()[-6:]
        message = f"{_shown(task.lock)} could not be made"
        raise JetsonError(message, details=details, hint="`--dry-run` shows the command")
    after = task.lock.read_text(encoding="utf-8")
    if after == before:
        return "unchanged"
    old, new = ({str(pin) for pin in locks.pins(lock)} for lock in (before, after))
    changed = sorted(new - old)
    return f"now {', '.join(changed)}" if changed else "hashes or removed pins changed"


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
