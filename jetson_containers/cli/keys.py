"""`jetson-containers keys`: the key pair that signs images, in cosign's files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.abbreviations import AbbreviatingGroup
from jetson_containers.cli.app import App, command, global_options
from jetson_containers.core import errors
from jetson_containers.core.errors import UsageError
from jetson_containers.core.files import readable_os_errors, write_atomically

if TYPE_CHECKING:
    from jetson_containers.signing.signer import Signer

PASSWORD = "COSIGN_PASSWORD"  # noqa: S105 - the name of cosign's variable


@click.group(
    cls=AbbreviatingGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: jetson-containers keys new robots",
)
@global_options
@click.pass_obj
def keys(app: App, /, **options: Any) -> None:
    """Make a key that signs images."""
    app.update(options)


@command("new", epilog="Example: jetson-containers keys new robots")
@click.argument("name", type=click.Path(path_type=Path))
def keys_new(app: App, *, name: Path) -> None:
    """Write NAME.key, which signs and stays secret, and NAME.pub, which verifies and goes to the machines.

    The files are cosign's: its `sign` and `verify` take them too. NAME.key is sealed by a password, which is asked for,
    or that of COSIGN_PASSWORD. Needs `pip install -r requirements-sign.txt`.
    """
    from jetson_containers.signing.keys import new_pair

    private, public = (name.with_name(name.name + end) for end in (".key", ".pub"))
    for path in (private, public):
        if path.exists():
            raise UsageError(f"`{path}` exists, and a key is not replaced", hint="choose another NAME")
    secret, open_text = new_pair(password(app, twice=True))
    with readable_os_errors():
        write_atomically(private, secret, mode=0o600)
        write_atomically(public, open_text, mode=0o644)
    if app.console.as_json:
        app.console.result_json({"private": str(private), "public": str(public)})
        return
    sign = errors.command("jetson-containers", "push", "--sign", private, "IMAGE")
    verify = errors.command("jetson-containers", "config", "set", "verify_key", public.absolute())
    app.console.ok(f"{private} and {public}; {sign} signs, {verify} makes a machine require it")


keys.add_command(keys_new)


def take_password(app: App) -> None:
    """Take the password out of the environment, where every program that is started would find it.

    The first thing of a command that may sign, before it starts anything or reads the settings.
    """
    app.key_password = os.environ.pop(PASSWORD, None)


def signer(app: App) -> Signer | None:
    """What signs for the setting `sign_key` (`--sign`); None without one.

    Raises UsageError for a file that is not a private key, a wrong password, and without a terminal to ask for it;
    NotReadyError without the libraries.
    """
    path = app.settings["sign_key"]
    if not path:
        return None
    from jetson_containers.signing.keys import PrivateKey
    from jetson_containers.signing.signer import Signer

    return Signer.of(PrivateKey.read(path, lambda: password(app)), app.settings)


def check_key(app: App) -> None:
    """Look whether what `sign_key` names is a private key, without its password: a dry run needs none.

    Raises UsageError where it is not.
    """
    if path := app.settings["sign_key"]:
        from jetson_containers.signing.keys import check_sealed

        check_sealed(path)


def password(app: App, *, twice: bool = False) -> bytes:
    """The password of a private key: that of the environment, else asked for. Raises UsageError without a terminal."""
    given = app.key_password if app.key_password is not None else os.environ.get(PASSWORD)
    if given is not None:
        return given.encode()
    if not app.console.interactive:
        raise UsageError(
            "no password for the private key, and nobody to ask", hint=f"set {PASSWORD} in the environment"
        )
    question = "Password of the private key"
    given = click.prompt(question, hide_input=True, err=True, confirmation_prompt=twice, default="", show_default=False)
    return str(given).encode()
