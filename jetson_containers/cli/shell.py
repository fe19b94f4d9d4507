"""`completion` and `man`: what a shell and a reader of manual pages get, made from the commands themselves."""

from __future__ import annotations

from pathlib import Path

import click

from jetson_containers.cli.app import App, command


@command(epilog="Example: source <(jetson-containers completion bash)")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(app: App, *, shell: str) -> None:
    """Print the completion script of SHELL; ./install.sh puts it where the shell finds it.

    bash: source <(jetson-containers completion bash), in ~/.bashrc.
    zsh: jetson-containers completion zsh >~/.zfunc/_jetson-containers, with ~/.zfunc in fpath.
    fish: jetson-containers completion fish >~/.config/fish/completions/jetson-containers.fish
    """
    from jetson_containers.cli.complete import source
    from jetson_containers.cli.main import cli

    text = source(cli, shell, "jetson-containers")
    if app.console.as_json:
        app.console.result_json({"shell": shell, "script": text})
    else:
        app.console.result(text.rstrip("\n"))


@command(epilog="Example: jetson-containers man --output ~/.local/share/man/man1 && man jetson-containers-build")
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("man/man1"),
    show_default=True,
    help="Where to write them.",
)
def man(app: App, *, output: Path) -> None:
    """Write one manual page per command."""
    from jetson_containers.cli.manual import pages
    from jetson_containers.core.files import readable_os_errors, write_atomically

    made = pages()
    with readable_os_errors():
        for name, text in made.items():
            write_atomically(output / f"{name}.1", text)
    if app.console.as_json:
        app.console.result_json({"directory": str(output), "pages": sorted(made)})
    else:
        app.console.ok(f"{len(made)} manual pages in {output}")
