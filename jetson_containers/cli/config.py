"""`jetson-containers config`: which settings hold, where they come from, and changing the user's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core import errors, settings
from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.core.suggest import did_you_mean
from jetson_containers.core.text import without_passwords

if TYPE_CHECKING:
    from pathlib import Path


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog="Example: jetson-containers config list")
def config() -> None:
    """Show and change settings; docs/settings.md describes each."""


def _checked(name: str) -> str:
    plain = name.lower().replace("-", "_").removeprefix(settings.PREFIX.lower())
    if plain not in settings.OPTIONS:
        known = f"known: {', '.join(sorted(settings.OPTIONS))}"
        raise UsageError(f"unknown setting `{name}`", hint=did_you_mean(plain, settings.OPTIONS, otherwise=known))
    return plain


def _text(value: Any) -> str:
    """A value as `config set` takes it."""
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def hidden(value: Any) -> Any:
    """A value for lists that are sent to others; `config get` prints it as it is."""
    return without_passwords(value) if isinstance(value, str) else value


def _short(value: Any) -> str:
    """The same for people: of a mapping what it is about, since each of its addresses is long."""
    return f"for {', '.join(value)}" if isinstance(value, dict) and value else _text(value) or "-"


@command("list", epilog="Example: jetson-containers config list --json")
def list_settings(app: App) -> None:
    """List all settings with their values and where these come from."""
    values = app.settings.values
    if app.console.as_json:
        app.console.result_json(
            {
                name: {"value": hidden(value.value), "origin": value.origin, "help": settings.OPTIONS[name].help}
                for name, value in sorted(values.items())
            }
        )
        return
    rows = [(name, _short(value.value), value.origin) for name, value in sorted(values.items())]
    app.console.table(("setting", "is", "from"), rows, to_result=True)


@command("get", epilog="Example: jetson-containers config get data")
@click.argument("setting")
def get(app: App, *, setting: str) -> None:
    """Print the value of SETTING."""
    name = _checked(setting)
    value = app.settings.values[name]
    if app.console.as_json:
        app.console.result_json({"setting": name, "value": value.value, "origin": value.origin})
    else:
        app.console.result(_text(value.value))


@command(
    "set",
    epilog="Example: jetson-containers config set data /mnt/nvme/data",
    # `-1` is a value, and what is wrong with it is said by its setting.
    context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True},
)
@click.argument("setting")
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Remove the setting from the file instead.")
@click.option("--system", is_flag=True, help="Write /etc/jetson-containers/config.yaml, for all users.")
def set_value(app: App, *, setting: str, value: str | None, unset: bool, system: bool) -> None:
    """Write SETTING into the user's settings file. A value is checked before; comments of the file stay."""
    name = _checked(setting)
    empty = not (value or "").strip() and settings.OPTIONS[name].kind is not str  # a text may be empty on purpose
    if (value is None or empty) != unset:
        raise UsageError("give a value, or --unset", hint=f"{name}: {settings.OPTIONS[name].help}")
    file = _file(app, system=system)
    errors.command("sudo", "jetson-containers", "config", "set", "--system", name)
    try:
        settings.change_file(file, name, value)
    except OSError as error:
        as_root = errors.command("sudo", "jetson-containers", "config", "set", "--system", name)
        hint = as_root if system else "jetson-containers config path"
        raise NotReadyError(f"{file} cannot be written: {error.strerror}", hint=hint) from error
    _show(app, name, file)


def _show(app: App, name: str, file: Path) -> None:
    now = settings.load({}).values[name]
    if app.console.as_json:
        app.console.result_json({"setting": name, "value": now.value, "origin": now.origin, "file": str(file)})
        return
    app.console.ok(f"{name} = {_short(now.value)} ({now.origin})")
    if now.origin not in {str(file), "default"}:
        app.console.warning(f"{now.origin} overrides what {file} says")


@command("path", epilog="Example: jetson-containers config path")
def path(app: App) -> None:
    """Print the files that settings are read from, the last one first; those that exist are marked."""
    env = app.settings.env
    places = settings.config_places(env, settings.ROOT)
    if app.console.as_json:
        app.console.result_json([{"file": str(place), "exists": place.is_file()} for place in reversed(places)])
        return
    for place in reversed(places):
        app.console.result(f"{place}{'' if place.is_file() else '  (not there)'}")


def _file(app: App, *, system: bool) -> Path:
    if system:
        return settings.SYSTEM_FILE
    own = settings.user_file(app.settings.env)
    if own is None:
        raise NotReadyError("there is no home directory", hint="export HOME=DIR, or use --system")
    return own


for each in (list_settings, get, set_value, path):
    config.add_command(each)
