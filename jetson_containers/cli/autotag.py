"""`jetson-containers autotag`: exactly one line on stdout, the image reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, command, split_list

if TYPE_CHECKING:
    from jetson_containers.autotag import Options


@command(epilog="Example: ./run.sh $(./autotag llama_cpp) llama-cli --version")
@click.argument("packages", nargs=-1, required=True)
@click.option("-p", "--prefer", default="", help="Order of the sources, default local,registry,build.")
@click.option("-d", "--disable", default="", help="Sources not to use: local, registry, build.")
@click.option("-u", "--user", default="", help="Namespace on Docker Hub to look in, instead of the configured ones.")
@click.option("--registry", multiple=True, help="REGISTRY/NAMESPACE to look in (repeatable).")
@click.option("-o", "--output", default="", help="Also write the reference to this file.")
@click.option("--pin", is_flag=True, help="Print the reference with its digest.")
@click.option("--explain", is_flag=True, help="Show every candidate and the rule that accepted or refused it.")
@click.option("-y", "--yes", is_flag=True, help="Build without asking when nothing fits.")
def autotag(app: App, *, packages: tuple[str, ...], **given: Any) -> None:
    """Find an image that holds all the packages and runs here; with -y, build one when there is none."""
    raise NotImplementedError
