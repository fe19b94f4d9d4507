"""`lock`: write down what an image is made of; `build --locked` makes the same again, or says what differs."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, command, list_option, split_list
from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.builder.known_base import BaseImage
    from jetson_containers.cli.build import BuildArguments
    from jetson_containers.core.settings import Settings
    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.plan.request import Assembly


@command(epilog="Example: jetson-containers lock llama_cpp -o llama.lock && ./build.sh --locked llama.lock")
@click.argument("packages", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the lock to this file.")
@click.option("--name", default="", help="As in build.")
@click.option("--base", default="", help="As in build.")
@list_option("--build-args", help="As in build.")
@list_option("--build-flags", separator=" ", help="As in build.")
@list_option("--skip-packages", help="As in build.")
def lock(app: App, *, packages: tuple[str, ...], output: Path | None, **options: Any) -> None:
    """Write down what an image is made of: base, recipes, sources, hashes, and the version of this program.

    The base image is pulled or made where it is not here yet, as by a build, because its digest is part of every key.
    """
    from jetson_containers.builder import base_image
    from jetson_containers.cli import build
    from jetson_containers.core import files

    given = replace(build.BuildArguments.defaults(packages, app), **options)
    base = base_image.ensure(
        app.platform, app.engine, app.console, app.settings, base=build.chosen_base(app, given),
        allow_install=bool(app.settings["allow_install"]),
    )  # fmt: skip
    assembly = build.assemble_on(app, given, base)
    text = json.dumps(document(app, given, assembly, base), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if output is None:
        app.console.result(text.rstrip("\n"))
        return
    files.write_atomically(output, text)
    if base.made:
        app.console.warning(
            f"the base {base.reference} was made here, and no registry has it",
            "take it to the other machine: jetson-containers bundle",
        )
    app.console.ok(f"{output}: {len(assembly.plans[0].stages)} stages of {assembly.plans[0].final}")


def document(app: App, given: BuildArguments, assembly: Assembly, base: BaseImage) -> dict[str, Any]:
    """What an image is made of, as `plan.lock` writes it."""
    from jetson_containers.cli import build
    from jetson_containers.plan import lock as plan_lock

    (plan,) = assembly.plans
    values = {
        "target": str(app.options.get("target") or ""),
        "base": build.chosen_base(app, given),
        "name": given.name,
        "skip": split_list(given.skip_packages),
        "build_args": build.parse_build_args(given.build_args),
        "build_flags": list(build.split_flags(given.build_flags)),
        "variables": _of_families(variables(given), plan),
        "upstream": _upstream(app),
    }
    return plan_lock.document(
        plan,
        plan_lock.request_of(values, given.packages),
        base_digest=base.digest or "",
        resolve=lambda repository, ref: _commit(repository, ref, app.settings),
    )


def variables(given: BuildArguments) -> dict[str, str]:
    """The variables that pin packages: those of the lock, else those of the environment."""
    from jetson_containers.platforms.target import version_variables

    if given.locked_request is not None:
        return dict(given.locked_request["variables"])
    return version_variables(os.environ)


def _of_families(found: Mapping[str, str], plan: BuildPlan) -> dict[str, str]:
    """The variables of families that the image holds; others say nothing about it."""
    families = {stage.definition.family for stage in plan.stages if stage.definition}
    names = {f"{family.upper().replace('-', '_').replace('.', '_')}_VERSION" for family in families}
    return {name: value for name, value in sorted(found.items()) if name in names}


def arguments(app: App, given: BuildArguments, locked: Mapping[str, Any]) -> BuildArguments:
    """The arguments of a build as they were locked. Raises UsageError for what was given beside and is another."""
    request = locked["request"]
    if given.multiple:
        raise UsageError("--locked is for one image", hint="leave out --multiple")
    own = {"--name": given.name, "--base": given.base, "--target": str(app.options.get("target") or "")}
    words = {
        "--build-args": given.build_args,
        "--build-flags": given.build_flags,
        "--skip-packages": given.skip_packages,
    }
    others = [name for name, value in own.items() if value and value != request[name.removeprefix("--")]]
    others += [name for name, value in words.items() if value]
    if given.packages and list(given.packages) != request["packages"]:
        others.insert(0, "packages")
    if others:
        raise UsageError(
            f"--locked says these itself: {', '.join(others)}", hint="leave them out, or make another lock"
        )
    app.options["target"] = request["target"] or None
    if request["upstream"]:
        app.options["upstream"] = request["upstream"]
    return replace(
        given, packages=tuple(request["packages"]), name=request["name"], base=request["base"], locked_request=request
    )


def _upstream(app: App) -> str:
    """The commit of upstream's tree beside ours; `""` where there is none."""
    from jetson_containers.core.git import revision

    if not app.settings["upstream"]:
        return ""
    tree = app.package_trees[-1]
    fetched = tree.parent.name
    return fetched if len(fetched) == 40 else revision(tree.parent) or revision(tree)


def _commit(repository: str, ref: str, settings: Settings) -> str:
    """The commit of a branch or tag where it can be asked for; `""` offline and without an answer."""
    from jetson_containers.core import mirrors

    if settings["offline"]:
        return ""
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **mirrors.git_variables(settings["mirrors"].get("git", {}))}
    try:
        done = subprocess.run(
            ["git", "ls-remote", "--exit-code", "--", repository, ref, f"{ref}^{{}}"],
            env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.split("\n")[:-1]
    return lines[-1].split("\t")[0] if lines else ""  # of a tag with a text of its own, the commit stands last
