"""A build as a lock says it: its arguments, and the document that is compared with the lock."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jetson_containers.cli.app import split_list
from jetson_containers.cli.build_arguments import build_args_of, build_flags_of, chosen_base
from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.builder.known_base import BaseImage
    from jetson_containers.cli.app import App
    from jetson_containers.cli.build_arguments import BuildArguments
    from jetson_containers.core.settings import Settings
    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.plan.request import Assembly


def document(app: App, given: BuildArguments, assembly: Assembly, base: BaseImage) -> dict[str, Any]:
    """What an image is made of, as `plan.lock` writes it."""
    from jetson_containers.plan import lock

    (plan,) = assembly.plans
    values = {
        "target": str(app.options.get("target") or ""),
        "base": chosen_base(app, given),
        "name": given.name,
        "skip": split_list(given.skip_packages),
        "build_args": build_args_of(given),
        "build_flags": list(build_flags_of(given)),
        "variables": _of_families(variables(given), plan),
        "upstream": _upstream(app),
    }
    return lock.document(
        plan,
        lock.request_of(values, given.packages),
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
    if given.multiple or len(app.targets) > 1:
        raise UsageError("--locked is for one image", hint="leave out --multiple and --target")
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
    app.options |= {"target": request["target"] or None, "targets": (request["target"],)}
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
