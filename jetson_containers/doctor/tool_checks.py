"""Checks of this tool itself: Python, package trees, settings, variables, the checkout and its links."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from jetson_containers.core import errors, unread_variables
from jetson_containers.core.errors import JetsonError
from jetson_containers.core.settings import ROOT
from jetson_containers.doctor.types import CheckDefinition, Finding, fail, note, ok, read, skip, warn
from jetson_containers.recipes import catalog, isolation

if TYPE_CHECKING:
    from jetson_containers.doctor.types import DoctorContext


def _python(_context: DoctorContext) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    wrong = []
    for line in read(ROOT / "requirements.txt").splitlines():
        name, separator, wanted = line.split(";")[0].split("#")[0].strip().partition("==")
        if separator and _installed(name) != wanted.strip():
            wrong.append(f"{name} {_installed(name) or 'missing'} instead of {wanted.strip()}")
    if wrong:
        return warn(f"Python {version}; {', '.join(wrong[:3])}", "./install.sh --no-engine")
    return ok(f"Python {version} in {sys.prefix}")


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _trees(context: DoctorContext) -> Finding:
    missing = [tree for tree in context.settings.package_trees if not tree.is_dir()]
    if missing:
        remedy = "unset JETSON_CONTAINERS_PACKAGES JETSON_CONTAINERS_PACKAGE_DIRS"
        return fail(f"{missing[0]} is not a directory", remedy)
    try:
        platform = context.platform()
    except JetsonError:
        return skip("the platform is unknown")
    found = catalog.load(context.settings.package_trees, platform, cache=context.settings["cache"])
    if found.broken:
        first = found.broken[0]
        return warn(f"{len(found.broken)} recipes left out: {first.message}", first.hint or "jetson-containers lint")
    return ok(f"{len(found.available)} packages in {', '.join(map(str, context.settings.package_trees))}")


def _sandbox(_context: DoctorContext) -> Finding:
    reason = isolation.why_not()
    if not reason:
        return ok("`config.py` of package trees runs in bubblewrap")
    return note(f"`config.py` of package trees runs with Python's guards only: {reason}", isolation.remedy())


def _settings(context: DoctorContext) -> Finding:
    if context.settings_error:
        return fail(context.settings_error, "correct the file or variable it names")
    changed = sorted(name for name, value in context.settings.values.items() if value.origin != "default")
    return ok(f"changed: {', '.join(changed)}" if changed else "all defaults")


def _variables(context: DoctorContext) -> Finding:
    unknown = unread_variables.unknown_settings(context.settings.env)
    if unknown:
        names = ", ".join(f"${name}" for name in unknown)
        return warn(f"unknown settings: {names}", unread_variables.unknown_settings_hint(unknown))
    return ok("no unknown JETSON_CONTAINERS_* variable")


def _checkout(_context: DoctorContext) -> Finding:
    if not os.access(ROOT, os.R_OK):
        return fail(f"{ROOT} cannot be read", errors.chown_command(ROOT).strip("`"))
    if (ROOT / ".git").exists():
        return ok(f"{ROOT}, a git checkout: `jetson-containers update` updates it")
    return note(f"{ROOT} is not a git checkout", "update it the way it was installed")


def _links(context: DoctorContext) -> Finding:
    place = context.root / "usr/local/bin/jetson-containers"
    if not place.is_symlink() and not place.exists():
        return note("jetson-containers is not in /usr/local/bin", "./install.sh")
    leads_to = place.resolve()
    if leads_to != ROOT / "jetson-containers":
        return note(f"/usr/local/bin/jetson-containers leads to {leads_to}, not to this checkout", "./install.sh")
    return ok("/usr/local/bin/jetson-containers leads here")


def _locale(context: DoctorContext) -> Finding:
    env = context.settings.env
    name = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    if name.upper() in {"C", "POSIX"}:
        return note(f"the locale {name} has no UTF-8", "export LANG=C.UTF-8")
    return ok(f"locale {name or 'of the system'}")


def _open_files(_context: DoctorContext) -> Finding:
    import resource

    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1024:
        return warn(f"only {soft} files can be open at once", "ulimit -n 4096")
    return ok(f"{soft} files can be open at once")


def _reboot(context: DoctorContext) -> Finding:
    if (context.root / "run/reboot-required").exists() or (context.root / "var/run/reboot-required").exists():
        return warn("an update waits for a restart", "sudo reboot")
    return ok("no update waits for a restart")


CHECKS = (
    CheckDefinition(name="python", why="The command line runs in this environment.", look=_python),
    CheckDefinition(
        name="package trees", why="A recipe that cannot be read is missing in every list.", look=_trees, limit=30
    ),
    CheckDefinition(name="sandbox", why="A program of a tree should see that tree only.", look=_sandbox),
    CheckDefinition(name="settings", why="A changed setting changes what builds do.", look=_settings),
    CheckDefinition(name="variables", why="A misspelled variable changes nothing, silently.", look=_variables),
    CheckDefinition(name="checkout", why="Package tree and facts come from it.", look=_checkout),
    CheckDefinition(name="links", why="Two checkouts are easily confused.", look=_links),
    CheckDefinition(name="locale", why="Names of models and packages may hold any letter.", look=_locale),
    CheckDefinition(name="open files", why="Builds and downloads open many.", look=_open_files),
    CheckDefinition(name="restart", why="A new driver works with a new kernel only.", look=_reboot),
)
