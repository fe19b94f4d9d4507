"""`jetson-containers setup`: prepares the host; each step is shown, asked, backed up, and can be undone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, collect, command
from jetson_containers.core import errors
from jetson_containers.core.errors import NothingMatchedError, NotReadyError, UsageError
from jetson_containers.core.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.host.changes import HostMachine, StepPlan

NAMES = ("nvidia-runtime", "docker-group", "swap", "log-rotation", "power-mode", "data-root", "headless")


@dataclass(frozen=True, kw_only=True)
class SetupOptions:
    """What the options say of the machine; empty: as it is found."""

    user: str = ""
    data_root: str = ""
    swap_file: str = ""
    swap_size: int | None = None  # GiB
    daemon_json: str = "/etc/docker/daemon.json"
    no_restart: bool = False


@command(epilog="Example: sudo jetson-containers setup swap data-root --dry-run")
@click.argument("steps", nargs=-1, metavar="[STEP]...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be changed, and change nothing.")
@click.option("--undo", is_flag=True, help="Undo what setup changed, the last step first.")
@click.option("--user", metavar="NAME", default="", help="Who joins the group docker; default: who called sudo.")
@click.option(
    "--data-root", metavar="DIR", default="", help="Where docker is to keep images; default: the fastest disk."
)
@click.option("--swap-file", metavar="FILE", default="", help="Where to swap; default: on the fastest disk.")
@click.option("--swap-size", metavar="GIB", type=click.IntRange(1, 256), help="Default: as much as memory, up to 16.")
@click.option("--daemon-json", metavar="FILE", default="/etc/docker/daemon.json", help="The engine's configuration.")
@click.option("--no-restart", is_flag=True, help="Do not restart the engine; say how.")
@collect(lambda: SetupOptions, "options")
def setup(app: App, *, steps: tuple[str, ...], yes: bool, dry_run: bool, undo: bool, options: SetupOptions) -> None:
    """Prepare this machine for containers: shows each change as a diff, asks, backs up.

    Steps: nvidia-runtime, docker-group, swap, log-rotation, power-mode; data-root and headless only when they are
    named or confirmed. Without STEP all are gone through.
    """
    if unknown := sorted(set(steps) - set(NAMES)):
        hint = did_you_mean(unknown[0], NAMES, otherwise=f"known: {', '.join(NAMES)}")
        raise UsageError(f"unknown step `{unknown[0]}`", hint=hint)
    machine = machine_of(app, options)
    if undo:
        _undo(app, machine, steps, yes=yes, dry_run=dry_run)
    else:
        run_steps(app, machine, steps, yes=yes, dry_run=dry_run)


def machine_of(app: App, options: SetupOptions) -> HostMachine:
    """This machine, as the options describe it."""
    from jetson_containers.host.changes import HostMachine
    from jetson_containers.platforms import detect

    platform = detect.detect(HostMachine().root, app.settings.env, "")
    return HostMachine(
        user=options.user or os.environ.get("SUDO_USER", ""),
        is_jetson=platform.l4t is not None,
        daemon_json=options.daemon_json,
        new_data_root=options.data_root,
        swap_file=options.swap_file,
        swap_gib=options.swap_size or 0,
        restart=not options.no_restart,
    )


def run_steps(app: App, machine: HostMachine, steps: Sequence[str], *, yes: bool, dry_run: bool) -> None:
    """Go through the steps: show, ask, carry out."""
    from jetson_containers.host.steps import ON_REQUEST, plan

    if not dry_run:
        _check_rights(app, steps, yes=yes)
    rows = []
    for step in steps or NAMES:
        made = plan(step, machine)
        if made.changes and yes and not steps and step in ON_REQUEST:
            rows.append(_row(made, "left out", f"name it to have it: {step}"))
        else:
            rows.append(_one(app, machine, made, yes=yes, dry_run=dry_run))
        _tell(app, rows[-1])
    if app.console.as_json:
        app.console.result_json(rows)


def _one(app: App, machine: HostMachine, made: StepPlan, *, yes: bool, dry_run: bool) -> dict[str, Any]:
    from jetson_containers.host import journal
    from jetson_containers.host.changes import FileChange

    if not made.changes:
        return _row(made, "nothing to do", made.reason)
    app.console.info(app.console.style(f"{made.step}: {made.purpose}", "bold"))
    for line in shown(made):
        app.console.info("  " + line)
    if dry_run:
        machine.pending.update({change.path: change.after for change in made.changes if isinstance(change, FileChange)})
        return _row(made, "would change", made.later)
    if not yes and not app.console.confirm(f"Apply {made.step}?"):
        return _row(made, "declined")
    journal.apply(made, machine, app.console.info)
    return _row(made, "done", made.later)


def shown(made: StepPlan) -> list[str]:
    """The changes of a plan as lines: diffs and commands."""
    return [line for change in made.changes for line in change.shown() if line != "# true"]


def _row(made: StepPlan, state: str, note: str = "") -> dict[str, Any]:
    return {"step": made.step, "state": state, "note": note, "changes": shown(made)}


def _tell(app: App, row: dict[str, Any]) -> None:
    if app.console.as_json:
        return
    note = f": {row['note']}" if row["note"] else ""
    app.console.result(f"{row['step']}: {row['state']}{note}")


def _check_rights(app: App, steps: Sequence[str], *, yes: bool) -> None:
    if os.geteuid() != 0:
        again = errors.command("sudo", "jetson-containers", "setup", *steps)
        raise NotReadyError(
            "setup changes files of the system, for which it must be root", hint=f"{again}; --dry-run shows it"
        )
    if not yes and not app.console.interactive:
        raise UsageError("there is no terminal to ask on", hint="--yes applies the steps, --dry-run shows them")


def _undo(app: App, machine: HostMachine, steps: Sequence[str], *, yes: bool, dry_run: bool) -> None:
    from jetson_containers.host import journal

    found = [entry for entry in reversed(journal.entries(machine)) if not steps or entry.step in steps]
    if not found:
        raise NothingMatchedError(
            "setup has changed nothing that could be undone", hint="jetson-containers setup --dry-run"
        )
    if not dry_run:
        _check_rights(app, ("--undo", *steps), yes=yes)
    rows = []
    for entry in found:
        state = "would undo" if dry_run else "declined"
        if not dry_run and (yes or app.console.confirm(f"Undo {entry.step}?")):
            journal.undo(entry, machine, app.console.info)
            state = "undone"
        rows.append({"step": entry.step, "state": state})
        if not app.console.as_json:
            app.console.result(f"{entry.step}: {state}")
    if app.console.as_json:
        app.console.result_json(rows)
