"""`jetson-containers build`: upstream's flags with upstream's meaning, and ours."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, collect, command, list_option, sign_option, split_list, verify_option
from jetson_containers.cli.build_arguments import (
    MULTIPLE,
    ORDER,
    BuildArguments,
    build_args_of,
    build_flags_of,
    chosen_base,
)
from jetson_containers.cli.farm_options import access_options, farm_access
from jetson_containers.cli.keys import check_key, signer, take_password
from jetson_containers.core.console import width_of
from jetson_containers.core.errors import NotReadyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.builder.known_base import BaseImage
    from jetson_containers.builder.run import BuildOptions, BuildReport
    from jetson_containers.builder.stage_registry import StageRegistry
    from jetson_containers.plan.estimate import Estimate
    from jetson_containers.plan.plan import BuildPlan, PlanOptions
    from jetson_containers.plan.request import Assembly


_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.argument("packages", nargs=-1),
    click.option("--name", default="", help="Name of the image; NAME/ is a namespace, else see docs."),
    click.option("--base", default="", help="Base image instead of the platform's own."),
    MULTIPLE,
    ORDER,
    list_option("--build-args", help="K:V,K2:V2 for every stage."),
    list_option("--build-flags", separator=" ", help="Raw flags for every docker build."),
    list_option("--skip-packages", help="Patterns of packages to leave out."),
    click.option(
        "--skip-errors",
        "--keep-going",
        "keep_going",
        is_flag=True,
        help="Continue after a failure; still exits 1.",
    ),
    list_option("--skip-tests", help="Package patterns, `intermediate` or `all`."),
    list_option("--test-only", help="Test only these packages."),
    click.option(
        "--tests",
        type=click.Choice(["all", "once", "warn", "none"]),
        default="once",
        show_default=True,
        help="all: even if recorded; once: per content key; warn: failures do not stop the build; none.",
    ),
    click.option(
        "--dry-run", "--simulate", "dry_run", is_flag=True, help="Print the plan, write nothing, build nothing."
    ),
    click.option("--push", default="", metavar="REPO", help="Push the images to this registry namespace."),
    verify_option,
    sign_option,
    click.option("--stage-registry", metavar="REPO", help="Pull stages that this registry namespace has by key."),
    click.option("--push-stages", is_flag=True, help="Push the stages that were built to --stage-registry."),
    click.option(
        "--farm", metavar="ADDRESS", help="Build on the workers of this scheduler (tls://HOST:PORT); see docs."
    ),
    list_option("--farm-labels", help="Labels that a worker of --farm must have."),
    *access_options(),
    click.option(
        "--stage",
        default="",
        metavar="PACKAGE#N",
        help="Build no more than this stage of the plan (number as in a dry run), without a final image.",
    ),
    click.option(
        "--rebuild",
        is_flag=True,
        help="Rebuild every stage; unchanged commands come from the engine's layer cache.",
    ),
    click.option("--no-cache", is_flag=True, help="Rebuild every stage without the engine's layer cache."),
    click.option(
        "--jobs",
        type=click.IntRange(min=0),
        default=0,
        help="Stages built at the same time; 0: as memory and cores allow.",
    ),
    click.option(
        "--engine", type=click.Choice(["auto", "bake", "buildx", "buildkit", "legacy"]), help="Builder to use."
    ),
    click.option("--buildkit/--no-buildkit", "buildkit", default=None, help="Use BuildKit, or do not."),
    click.option(
        "--buildkit-device", default="", help="Ignored (kept for compatibility): recipes need no GPU while building."
    ),
    click.option(
        "--progress",
        "--buildkit-progress",
        "progress",
        default="auto",
        type=click.Choice(["auto", "plain", "tty", "json", "rawjson"]),
        help="How progress is shown.",
    ),
    click.option(
        "--cache-from", "--buildkit-cache-from", "cache_from", multiple=True, help="As in docker build; see --cache-to."
    ),
    click.option(
        "--cache-to",
        "--buildkit-cache-to",
        "cache_to",
        multiple=True,
        help="As in docker build; each stage has a tag or folder of its own there.",
    ),
    click.option("--use-proxy", is_flag=True, help="Give the proxy variables to the build (not the image)."),
    click.option("--ca-bundle", type=click.Path(), help="Certificates to trust during the build only."),
    click.option("--wheelhouse", type=click.Path(), help="Directory of wheels pip may use during the build."),
    click.option(
        "--mirrors", metavar="PRESET|FOLDER|JSON", help="Fetch from other servers, or a folder of `mirror fill`."
    ),
    click.option("--log-dir", "--logs", "log_dir", type=click.Path(path_type=Path), help="Where logs go."),
    click.option(
        "--ccache/--no-ccache",
        "ccache",
        default=None,
        help="Ignored (kept for compatibility): nothing here is compiled through ccache.",
    ),
    click.option("--log-colors", "--log-status", "log_options", default="", hidden=True),
    click.option("--ccache-dir", "--ccache-maxsize", "ccache_options", default="", hidden=True),
    click.option(
        "--no-github-api",
        is_flag=True,
        help="Ignored (kept for compatibility): our scan and builds never call that API.",
    ),
    click.option(
        "--locked", type=click.Path(path_type=Path), help="Build what this file of `lock` says, and nothing else."
    ),
    click.option("--list-packages", is_flag=True, help="As `jetson-containers list`."),
    click.option("--show-packages", is_flag=True, help="As `jetson-containers show`, for every package."),
)


def default_arguments(packages: tuple[str, ...], app: App) -> BuildArguments:
    """The arguments of a line with nothing but packages."""
    given = build.make_context("build", [*packages], obj=app).params
    return BuildArguments(**{each.name: given[each.name] for each in fields(BuildArguments) if each.name in given})


def _options(function: Any) -> Any:
    """Add the options in the order in which they stand above."""
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


@command(epilog="Example: ./build.sh --name=my/llm llama_cpp numpy --dry-run")
@_options
@collect(lambda: BuildArguments, "given")
def build(app: App, *, given: BuildArguments, no_github_api: bool) -> int:  # noqa: ARG001 - accepted, without effect
    """Build one image with all the packages (or with --multiple one image for each)."""
    take_password(app)
    if given.list_packages or given.show_packages:
        return _list(app, given.packages, full=given.show_packages)
    if given.mirrors and os.path.isdir(given.mirrors):  # noqa: PTH112 - Path.is_dir raises on a long name
        from jetson_containers.mirror.serve import serving

        with serving(Path(given.mirrors).absolute()) as found:
            return _build(app, replace(given, mirrors=json.dumps(found)))
    return _build(app, given)


def _build(app: App, given: BuildArguments) -> int:
    from jetson_containers.builder import known_base

    app.options["settings"] = {
        **app.options.get("settings", {}),
        "engine": given.engine or ("legacy" if given.buildkit is False else None),
        "ca_bundle": given.ca_bundle,
        "wheelhouse": given.wheelhouse,
        "stage_registry": given.stage_registry,
        "mirrors": given.mirrors,
    }
    locked = None
    if given.locked:
        from jetson_containers.cli.locked import arguments
        from jetson_containers.plan import lock

        locked = lock.read(given.locked)
        given = arguments(app, given, locked)
    _check(app, given)
    if given.dry_run:
        assemblies = []
        for one in app.each_target():
            base = known_base.predict(one.platform, one.settings, chosen_base(one, given))
            assemblies.append(assemble_on(one, given, _as_locked(base, locked)))
            _check_lock(one, given, locked, assemblies[-1], base)
        return _show(app.each_target()[0], joined(assemblies), given, several=len(assemblies) > 1)
    report, assembly, _ = build_as(app, given, locked)
    if app.console.as_json:
        app.console.result_json(report)
    return 0 if report.ok and not assembly.errors else 1


def build_one(app: App, packages: tuple[str, ...]) -> str:
    """Build one image with the defaults of the command line, for `autotag -y`; its name.

    Raises whatever the build raises.
    """
    report, _, _ = build_as(app, default_arguments(packages, app))
    return report.images[-1]


def plans_of(app: App, packages: tuple[str, ...], *, multiple: bool, order: str) -> Assembly:
    """The plans that `build` would make of packages; neither engine nor network is asked. Raises what planning does."""
    from jetson_containers.builder import known_base

    given = replace(default_arguments(packages, app), multiple=multiple, order=order)
    return assemble_on(app, given, known_base.predict(app.platform, app.settings, chosen_base(app, given)))


def run_tests(app: App, packages: tuple[str, ...]) -> int:
    """Run the tests of packages again, for `test`; what is not built yet is built. Returns the exit code."""
    given = replace(default_arguments(packages, app), tests="all", test_only=",".join(packages))
    report, _, _ = build_as(app, given)
    if app.console.as_json:
        app.console.result_json(report)
    return 0 if report.ok else 1


def _as_locked(base: BaseImage, locked: Mapping[str, Any] | None) -> BaseImage:
    """The base image that is expected, with the digest of the lock where nothing says another."""
    return replace(base, digest=locked["base"]["digest"]) if locked and base.digest is None else base


def _check_lock(
    app: App, given: BuildArguments, locked: Mapping[str, Any] | None, assembly: Assembly, base: BaseImage
) -> None:
    """Raise UsageError where a plan is not what was locked."""
    if locked is None or given.locked is None:
        return
    from jetson_containers.cli.locked import document
    from jetson_containers.plan import lock

    now = document(app, given, assembly, _as_locked(base, locked))
    lock.check(locked, now, given.locked)


def build_as(
    app: App, given: BuildArguments, locked: Mapping[str, Any] | None = None
) -> tuple[BuildReport, Assembly, BaseImage]:
    """Find the base image, plan for it, build; several targets become one graph of stages.

    The base image is that of the first target. Raises whatever the build raises.
    """
    from jetson_containers.builder import run
    from jetson_containers.builder.stage_registry import StageRegistry

    # Before hours of building. On a farm, what this machine pushes is a base image alone.
    signs = signer(app) if given.push or given.push_stages or given.farm else None
    apps = app.each_target()
    planned = [_planned(one, given, locked) for one in apps]
    assembly = joined([each for each, _ in planned])
    app = apps[0]
    for failure in assembly.errors:
        app.console.warning(f"`{failure.request}` cannot be built: {failure.reason}")
    for notice in dict.fromkeys(notice for plan in assembly.plans for notice in plan.notices):
        app.console.info(f"note: {notice}")  # a dry run shows them with the plan
    _warn_of_idle_patterns(app, given, assembly)
    build_options = _build_options(app, given, _gpu_options(app))
    registry = StageRegistry.of(app.settings, signs)
    if given.farm:
        assembly = _on_farm(app, given, assembly, build_options, registry)
    report = run.run(assembly.plans, app.engine, build_options, app.console, registry, signs)
    return report, assembly, planned[0][1]


def _planned(app: App, given: BuildArguments, locked: Mapping[str, Any] | None) -> tuple[Assembly, BaseImage]:
    """Find the base image of a target and plan for it."""
    from jetson_containers.builder import base_image

    _plan_options(app, given)  # before anything is pulled or made for nothing
    if locked is not None:
        base_image.fetch_pinned(locked["base"], app.platform, app.engine, app.console, app.settings)
    base = base_image.ensure(
        app.platform,
        app.engine,
        app.console,
        app.settings,
        base=chosen_base(app, given),
        allow_install=bool(app.settings["allow_install"]),
    )
    assembly = assemble_on(app, given, base)
    _check_lock(app, given, locked, assembly, base)
    return assembly, base


def joined(assemblies: Sequence[Assembly]) -> Assembly:
    """One assembly for several targets. Images that are equal for two of them are made once.

    Raises UsageError where two targets would give different images the same name.
    """
    from jetson_containers.builder.graph import plan_key

    if len(assemblies) == 1:
        return assemblies[0]
    plans: dict[str, BuildPlan] = {}
    for plan in (plan for assembly in assemblies for plan in assembly.plans):
        before = plans.setdefault(plan.final, plan)
        if plan_key(before) != plan_key(plan):
            releases = " and ".join(str(each.platform.l4t or each.platform.arch.value) for each in (before, plan))
            raise UsageError(
                f"`{plan.final}` would be another image for each of two targets ({releases})",
                hint="build them one after the other, with another `--name` each",
            )
    errors = tuple(error for assembly in assemblies for error in assembly.errors)
    return replace(assemblies[0], plans=tuple(plans.values()), errors=errors)


def _on_farm(
    app: App, given: BuildArguments, assembly: Assembly, options: BuildOptions, registry: StageRegistry | None
) -> Assembly:
    """Build the stages on a farm; what is left to do here is to pull the finished images and to name them."""
    from jetson_containers.farm import access, client, labels
    from jetson_containers.plan.request import PlanFailure

    if registry is None:
        raise UsageError("--farm needs a network connection", hint="without `--offline`")
    allowed = farm_access(given.tls_ca, given.tls_cert, given.tls_key, unencrypted=given.allow_unencrypted)
    farm = client.FarmOptions(
        address=access.check(str(given.farm), allowed, "--farm"),
        access=allowed,
        labels=labels.check(split_list(given.farm_labels), "--farm-labels"),
    )
    made = client.FarmBuild(assembly.plans, app.engine, options, registry, app.console).run(farm)
    lost = {plan.final: next((s.key for s in plan.stages if s.key in made.failures), "") for plan in assembly.plans}
    failures = tuple(
        PlanFailure(" ".join(plan.request), made.failures[lost[plan.final]].message)
        for plan in assembly.plans
        if lost[plan.final]
    )
    plans = tuple(plan for plan in assembly.plans if not lost[plan.final])
    return replace(assembly, plans=plans, errors=(*assembly.errors, *failures))


def machine_options(app: App) -> BuildOptions:
    """How this machine builds what others ask for: its own settings and GPU, and no option of a line."""
    return _build_options(app, default_arguments((), app), _gpu_options(app))


def _warn_of_idle_patterns(app: App, given: BuildArguments, assembly: Assembly) -> None:
    """Say which --skip-tests and --test-only patterns name nothing of this build: a typo would go unnoticed."""
    from jetson_containers.builder.package_tests import names_of
    from jetson_containers.recipes.catalog import matching

    names: set[str] = set()
    for plan in assembly.plans:
        for stage in plan.stages:
            names |= names_of(stage)
    for option, patterns in (("--skip-tests", given.skip_tests), ("--test-only", given.test_only)):
        for pattern in split_list(patterns):
            if pattern.lower() not in {"all", "*", "intermediate"} and not matching(names, pattern):
                app.console.warning(f"{option} {pattern}: it matches nothing in this build")


def _warn_of_upstream_variables(app: App) -> None:
    """Say which variables of upstream's interface are set and have no effect here."""
    from jetson_containers.core import settings, unread_variables

    own_tree = app.package_trees == (settings.OPTIONS["packages"].default,)
    given = [name for name, value in app.settings.env.items() if value]
    if unread := unread_variables.of_upstream(given, own_tree=own_tree):
        names = ", ".join(f"${name}" for name in unread)
        app.console.warning(
            f"ignored here, only upstream's build reads them: {names}", unread_variables.of_upstream_hint(unread)
        )


def _check(app: App, given: BuildArguments) -> None:
    if given.keep_going and not given.multiple:
        app.console.detail("--keep-going with one chain: stages after the failed one are skipped")
    _warn_of_upstream_variables(app)
    if given.ccache or given.ccache_options:
        app.console.warning("--ccache has no effect: nothing here is compiled through ccache, artifacts are kept whole")
    if given.log_options:
        app.console.warning(
            "--log-colors and --log-status have no effect: colors and progress are for terminals; NO_COLOR=1 for none"
        )
    if given.buildkit_device:
        app.console.warning("--buildkit-device has no effect: no recipe needs a GPU while building, tests run with it")
    if given.engine and given.buildkit is False and given.engine != "legacy":
        raise UsageError("--no-buildkit and --engine contradict each other", hint="give one of them")
    if given.stage and (given.multiple or len(app.targets) > 1):
        several = "--multiple makes" if given.multiple else "more than one --target makes"
        raise UsageError(f"--stage names a stage of one plan, and {several} several", hint="leave one out")
    from jetson_containers.engine.context import check_inputs
    from jetson_containers.registry.types import ImageRepository

    if given.push:
        ImageRepository.parse(given.push)
    check_inputs(app.settings["ca_bundle"], app.settings["wheelhouse"])
    signs = bool(given.push or given.push_stages or given.farm)
    if app.settings["sign_key"] and not signs and app.settings.origin("sign_key").startswith("--"):
        app.console.warning("--sign: nothing is pushed, so nothing is signed", "--push, --push-stages or --farm")
    if signs:
        check_key(app)
    if given.push_stages and not (given.stage_registry or app.settings["stage_registry"]):
        raise UsageError("--push-stages needs a registry", hint="--stage-registry REGISTRY/NAMESPACE")
    if given.farm:
        _check_farm(app, given)


def _check_farm(app: App, given: BuildArguments) -> None:
    if not (given.stage_registry or app.settings["stage_registry"]):
        raise UsageError(
            "--farm needs a registry that all its machines reach", hint="--stage-registry REGISTRY/NAMESPACE"
        )
    if given.rebuild or given.no_cache:
        option = "--rebuild" if given.rebuild else "--no-cache"
        raise UsageError(
            f"{option} does not go with --farm, which builds nothing that the registry has",
            hint="another `--stage-registry` begins with nothing; or without `--farm`",
        )


def _plan_options(app: App, given: BuildArguments) -> PlanOptions:
    from jetson_containers.plan.plan import PlanOptions

    return PlanOptions(
        base=chosen_base(app, given),
        name=given.name,
        build_args=build_args_of(given),
        build_flags=build_flags_of(given),
        no_cache=given.no_cache,
        order=given.order,
    )


def assemble_on(app: App, given: BuildArguments, base: BaseImage) -> Assembly:
    """Plan what was asked for on a base image. Raises what `plan.request.assemble` raises."""
    from jetson_containers.builder import known_base
    from jetson_containers.cli.locked import variables
    from jetson_containers.plan.plan import up_to
    from jetson_containers.plan.request import Request, assemble

    options = _plan_options(app, given)
    skip = tuple(given.locked_request["skip"] if given.locked_request else split_list(given.skip_packages))
    request = Request(packages=given.packages, multiple=given.multiple, skip=skip, variables=variables(given))
    made = assemble(
        request, base.platform, app.catalog_for, replace(options, base=base.reference), base_digest=base.digest or ""
    )
    odd = known_base.misfit(options.base, base.platform) if options.base else None
    plans = made.plans
    if odd:
        plans = tuple(replace(plan, notices=(*plan.notices, f"{odd[0]}: {odd[1]}")) for plan in plans)
    return replace(made, plans=tuple(up_to(plan, given.stage) for plan in plans) if given.stage else plans)


def _show(app: App, assembly: Assembly, given: BuildArguments, *, several: bool) -> int:
    from jetson_containers.plan.plan import describe, describe_together, multiple_json

    plans, estimate = _decided(app, assembly.plans, given)
    _warn_of_idle_patterns(app, given, assembly)
    if app.console.as_json:
        if not given.multiple and not several:
            app.console.result_json(plans[0].to_json())
        else:
            errors = [{"request": e.request, "reason": e.reason} for e in assembly.errors]
            app.console.result_json(multiple_json(assembly.platform, plans, errors, estimate))
        return 0
    for plan in plans:
        for line in describe(plan, width_of(app.console.out)):
            app.console.result(line)
    if len(plans) > 1:
        for line in (*describe_together(plans), *(estimate.lines() if estimate else ())):
            app.console.result(f"all together: {line}")
    for failure in assembly.errors:
        app.console.warning(f"`{failure.request}` cannot be built: {failure.reason}")
    return 1 if assembly.errors else 0


def _decided(app: App, plans: tuple[BuildPlan, ...], given: BuildArguments) -> tuple[list[BuildPlan], Estimate | None]:
    """Write into plans what a build would do now, and what that takes; without an engine, as if nothing were built.

    The estimate that is returned is of all plans together.
    """
    from jetson_containers.builder import decide, estimates, graph
    from jetson_containers.builder.stage_registry import StageRegistry
    from jetson_containers.builder.store import Store

    merged = graph.merge(plans)
    gpu: tuple[str, ...] = ()
    here = decide.Facts()
    try:
        gpu = _gpu_options(app)
        options = _build_options(app, given, gpu)
        registry = StageRegistry.of(app.settings)
        here = decide.look(merged, plans, Store(app.engine), options, registry, app.console.warning)
    except NotReadyError as error:
        unknown = f"cannot tell what is already built, so everything counts as to be built: {error.message}"
        plans = tuple(replace(plan, notices=(*plan.notices, unknown)) for plan in plans)
    options = _build_options(app, given, gpu)
    decision = decide.decide(merged, plans, here, options)
    shown = [decide.shown(plan, decision, here) for plan in plans]
    estimated = [replace(one, estimate=estimates.of(graph.merge([one]), decision, options)) for one in shown]
    return estimated, estimates.of(merged, decision, options)


def _build_options(app: App, given: BuildArguments, gpu: tuple[str, ...]) -> BuildOptions:
    from jetson_containers.builder.run import BuildOptions

    settings = app.settings
    return BuildOptions(
        log_dir=given.log_dir or settings.path("logs"),
        jobs=given.jobs or settings["jobs"],
        keep_going=given.keep_going,
        rebuild=given.rebuild,
        no_cache=given.no_cache,
        tests="all" if given.test_only and given.tests == "once" else given.tests,
        skip_tests=tuple(split_list(given.skip_tests)),
        test_only=tuple(split_list(given.test_only)),
        push=given.push,
        push_stages=given.push_stages,
        build_args=build_args_of(given),
        build_flags=build_flags_of(given),
        proxies=proxies(app.settings.env) if given.use_proxy else {},
        ca_bundle=settings["ca_bundle"],
        wheelhouse=settings["wheelhouse"],
        index_url=settings["index_url"],
        mirrors=settings["mirrors"],
        cache_from=given.cache_from or tuple(split_list(os.environ.get("BUILDKIT_CACHE_FROM"))),
        cache_to=given.cache_to or tuple(split_list(os.environ.get("BUILDKIT_CACHE_TO"))),
        progress="json" if given.progress == "rawjson" else given.progress,
        data=settings.path("data"),
        run_options=gpu,
        least=settings["least_privilege"],
        state_dir=settings.path("cache") / "build",
        command=shlex.join(["./build.sh", *sys.argv[2:]]) if sys.argv[1:2] == ["build"] else "",
        env=settings.env,
    )


def _gpu_options(app: App) -> tuple[str, ...]:
    """How containers of the tests get the GPU on this machine; nothing when the target is another one."""
    if app.is_cross or not app.platform.has_gpu:
        return ()
    from jetson_containers.launch import docker_options
    from jetson_containers.launch.gpu import gpu_part
    from jetson_containers.launch.parts import LaunchHost

    host = LaunchHost(platform=app.platform, capabilities=app.engine.run_capabilities, env=app.settings.env)
    _, part = gpu_part(host, docker_options.parse(["image"]), no_gpu=False)
    for notice in part.notices:
        app.console.detail(notice.text)
    return tuple(part.argv)


def proxies(env: Any) -> dict[str, str]:
    """The proxy variables of the environment, in both spellings."""
    names = [name for lower in _PROXIES for name in (lower, lower.upper())]
    return {name: env[name] for name in names if env.get(name)}


def _list(app: App, patterns: tuple[str, ...], *, full: bool) -> int:
    catalog = app.catalog
    packages = catalog.match([*map(catalog.spelled, patterns)]) if patterns else list(catalog.available.values())
    if app.console.as_json:
        app.console.result_json([package if full else package.name for package in packages])
        return 0
    for package in packages:
        app.console.result(package.name)
        if full:
            import dataclasses

            for item in dataclasses.fields(package):
                value = getattr(package, item.name)
                if value not in (None, "", (), {}):
                    app.console.result(f"    {item.name}: {value}")
    return 0
