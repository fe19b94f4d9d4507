"""`export` and `graph`: plans as files for CI services, buildx and drawings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, command
from jetson_containers.cli.build_arguments import MULTIPLE, ORDER
from jetson_containers.core.errors import NotReadyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.export.jobs import CiOptions, TargetPlans


@command()
@click.argument("packages", nargs=-1)
@click.option(
    "--format", "kind", type=click.Choice(["bake", "github", "gitlab"]), required=True, help="For which tool."
)
@MULTIPLE
@ORDER
@click.option("--output", type=click.Path(path_type=Path), help="Where it is written; a folder for bake.")
@click.option("--stage-registry", metavar="REPO", help="Namespace over which CI jobs hand on stages.")
@click.option("--push", default="", metavar="REPO", help="Namespace to which CI jobs push the images.")
@click.option(
    "--runner", "runners", multiple=True, metavar="ARCH=LABEL", help="Machine of CI jobs, for amd64 or arm64."
)
def export(
    app: App,
    *,
    packages: tuple[str, ...],
    kind: str,
    multiple: bool,
    order: str,
    output: Path | None,
    stage_registry: str | None,
    push: str,
    runners: tuple[str, ...],
) -> None:
    """Write plans down for another tool: a pipeline of GitHub or GitLab, or a folder for `docker buildx bake`.

    Several --target are several platforms. In a pipeline each job builds a few stages and pushes them to the stage
    registry; a job whose stage is there already ends at once. Bake builds all of it with one command, without tests.

    Example: jetson-containers export --format github --stage-registry ghcr.io/me/robots llama_cpp --target r36.4.3
    """
    made = _targets(app, packages, multiple=multiple, order=order)
    if kind == "bake":
        if output is None:
            raise UsageError("--format bake writes a folder", hint="--output FOLDER")
        app.console.result(_bake(made, output))
        return
    registry = stage_registry or app.settings["stage_registry"]
    if not registry:
        raise UsageError(
            "jobs hand on stages over a registry, and none is named", hint="--stage-registry REGISTRY/NAMESPACE"
        )
    text = _pipeline(kind, made, registry, push, _options(app, order), _runners(runners))
    _write(app, text, output)


@command("graph")
@click.argument("packages", nargs=-1)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["dot", "mermaid", "svg"]),
    default="mermaid",
    show_default=True,
    help="For Graphviz, for Markdown, or as a drawing.",
)
@MULTIPLE
@ORDER
@click.option("--output", type=click.Path(path_type=Path), help="File to write instead of stdout.")
def draw(app: App, *, packages: tuple[str, ...], kind: str, multiple: bool, order: str, output: Path | None) -> None:
    """Draw the stages of plans: what stands on what, artifacts in another color, images with a double border.

    Example: jetson-containers graph --format svg llama_cpp --output plan.svg
    """
    from jetson_containers.export.drawing import DRAWINGS

    plans = [plan for target in _targets(app, packages, multiple=multiple, order=order) for plan in target.plans]
    _write(app, DRAWINGS[kind](plans), output)


def _targets(app: App, packages: tuple[str, ...], *, multiple: bool, order: str) -> list[TargetPlans]:
    """Plan for each target as `build` does, without asking an engine what is there."""
    from jetson_containers.cli import build
    from jetson_containers.export.jobs import TargetPlans

    made = []
    for target in app.targets:
        there = app.for_target(target)
        assembly = build.plans_of(there, packages, multiple=multiple, order=order)
        for failure in assembly.errors:
            app.console.warning(f"`{failure.request}` cannot be built{_on(target)}: {failure.reason}")
        made.append(TargetPlans(target=target, plans=assembly.plans))
    if not any(each.plans for each in made):
        raise UsageError("nothing to build: no package is left")
    return made


def _on(target: str) -> str:
    return f" for {target}" if target else ""


def _pipeline(
    kind: str, made: list[TargetPlans], registry: str, push: str, options: tuple[str, ...], runners: Mapping[str, str]
) -> str:
    from jetson_containers.export import github, gitlab, jobs

    def given(known: Mapping[str, str]) -> CiOptions:
        return jobs.CiOptions(stage_registry=registry, push=push, options=options, runners={**known, **runners})

    found = jobs.jobs(made)
    if kind == "github":
        return github.workflow(found, given(jobs.RUNNERS))
    return gitlab.pipeline(found, given(gitlab.RUNNERS))


def _bake(made: list[TargetPlans], output: Path) -> str:
    import shlex

    from jetson_containers.core.git import revision
    from jetson_containers.export import bake

    file = bake.write(made, output, revision(Path(__file__).parents[2]))
    return f"cd {shlex.quote(str(output))} && docker buildx bake --file {file.name}"


def _options(app: App, order: str) -> tuple[str, ...]:
    """The options that decide which packages there are; paths in the checkout are written relative to it.

    A job has none of this user's settings, so what they name is an option there.
    """
    here = Path.cwd()
    given = [("package-dirs", str(path)) for path in app.settings["package_dirs"]]
    given += [("packages", text) for text in filter(None, [app.options.get("tree")])]
    found = []
    for option, text in given:
        path = Path(text)
        inside = not path.is_absolute() or path.is_relative_to(here)
        if not inside:
            app.console.warning(f"{path} lies outside this checkout: a job finds it only where its machine has it")
        found.append(f"--{option}={path.relative_to(here) if path.is_absolute() and inside else path}")
    upstream = app.options.get("upstream")
    found += [f"--upstream={upstream}"] if upstream else []
    return (*found, *([f"--order={order}"] if order != "declared" else []))


def _runners(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in given:
        architecture, sign, label = text.partition("=")
        if not sign or not label or architecture not in {"amd64", "arm64"}:
            raise UsageError(f"--runner {text}: it is amd64=LABEL or arm64=LABEL")
        found[architecture] = label
    return found


def _write(app: App, text: str, output: Path | None) -> None:
    if output is None:
        app.console.result(text.rstrip("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotReadyError(f"{output} cannot be written: {error.strerror}", hint="name another file") from error
    app.console.ok(str(output))
