"""What every command shares: the global options and the objects made from them, each on first use."""

from __future__ import annotations

import functools
import math
import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from jetson_containers.cli.abbreviations import AbbreviatingCommand
from jetson_containers.core import errors, settings
from jetson_containers.core.console import Console, Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import ContainerEngine, Engine, LocalImage
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.catalog import Catalog

F = TypeVar("F", bound="Callable[..., Any]")


_LEVELS = {  # upstream's words for it
    "debug": Level.VERBOSE,
    "info": Level.NORMAL,
    "warning": Level.QUIET,
    "error": Level.QUIET,
    "critical": Level.QUIET,
}


class App:
    """The options of one invocation and what follows from them. Nothing is probed before it is asked for."""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        self.options: dict[str, Any] = dict(options or {})
        self.key_password: str | None = None  # see `cli.keys`

    def update(self, options: dict[str, Any]) -> None:
        """Let options given after the command override those given before it."""
        given = {key: value for key, value in options.items() if value not in (None, False, ())}
        if targets := given.pop("target", ()):
            self.options["targets"] = (targets,) if isinstance(targets, str) else targets  # `run` takes one
            self.options["target"] = self.options["targets"][-1]  # where one is meant, the last one is
        if dirs := given.pop("package_dirs", None):
            self.options["package_dirs"] = (*self.options.get("package_dirs", ()), *dirs)
        self.options.update(given)

    def choose(self, setting: str, value: Any) -> None:
        """Give a setting another value for this invocation, before it is first read."""
        self.options["settings"] = {**self.options.get("settings", {}), setting: value}

    @property
    def level(self) -> Level:
        """How much is said."""
        if self.options.get("quiet"):
            return Level.QUIET
        return Level.VERBOSE if self.options.get("verbose") else _LEVELS[self.options.get("log_level") or "info"]

    @property
    def expects_json(self) -> bool:
        """Whether JSON was asked for, and stdout has no result yet."""
        return bool(self.options.get("as_json")) and not self.console.has_result

    @functools.cached_property
    def console(self) -> Console:
        """Results on stdout, messages on stderr."""
        return Console(level=self.level, as_json=bool(self.options.get("as_json")))

    @functools.cached_property
    def settings(self) -> Settings:
        """All layers merged."""
        flags = {"offline": self.options.get("offline") or None, "packages": self.options.get("tree") or None}
        flags["upstream"] = self.options.get("upstream") or None
        flags["package_dirs"] = tuple(filter(None, self.options.get("package_dirs", ()))) or None
        flags.update(self.options.get("settings", {}))
        loaded = settings.load(flags)
        self._warn_of_unknown_settings(loaded)
        return loaded

    def _warn_of_unknown_settings(self, loaded: Settings) -> None:
        from jetson_containers.core import unread_variables

        if unknown := unread_variables.unknown_settings(loaded.env):
            self.console.warning(
                f"unknown settings: {', '.join(f'${name}' for name in unknown)}",
                unread_variables.unknown_settings_hint(unknown),
            )

    @functools.cached_property
    def platform(self) -> Platform:
        """The host, or the cross target; notices are said once."""
        from jetson_containers.platforms import detect, overrides

        platform = detect.detect(Path("/"), self.settings.env, self.options.get("target") or "")
        source = self.settings["cuda_source"]
        platform = overrides.with_cuda_source(platform, source, self.settings.origin("cuda_source"))
        for notice in platform.notices:
            self.console.info(f"note: {notice}")
        return platform

    @property
    def targets(self) -> tuple[str, ...]:
        """All of `--target`, for commands that work for several platforms; `""` is this machine."""
        return tuple(dict.fromkeys(self.options.get("targets", ()))) or ("",)

    def for_target(self, target: str) -> App:
        """The same invocation for one of its targets."""
        other = App({**self.options, "target": target, "targets": (target,)})
        other.console = self.console
        return other

    @property
    def is_cross(self) -> bool:
        """Whether `--target` names something else than this machine."""
        return bool(self.options.get("target"))

    def each_target(self) -> tuple[App, ...]:
        """The same invocation for each target, with one engine: this object itself where there is one at most."""
        if len(self.targets) == 1:
            return (self,)
        found = tuple(self.for_target(target) for target in self.targets)
        for one in found:
            one.settings, one.engine = self.settings, self.engine
        return found

    @functools.cached_property
    def engine(self) -> Engine:
        """The container engine, probed on first use of its capabilities."""
        from jetson_containers.engine import docker

        return docker.DockerEngine(self.settings, self.console, approve=self._approval)

    def local_image(self, name: str) -> LocalImage:
        """The image of a name in the local store. Raises NothingMatchedError where there is none."""
        found = self.engine.image(name)
        if found is None:
            hint = f"{errors.command('jetson-containers', 'images', '--all')} lists those that are"
            if "/" in name:
                hint = errors.command("docker", "pull", name)
            raise errors.NothingMatchedError(f"no image `{name}` is here", hint=hint)
        return found

    @functools.cached_property
    def container_engine(self) -> ContainerEngine:
        """What `run` and `llm` start containers with: Podman where the setting says so, else the engine."""
        return self.podman if self.settings["podman"] else self.engine

    @functools.cached_property
    def podman(self) -> ContainerEngine:
        """Podman, looked for on first use of its capabilities."""
        from jetson_containers.engine.podman_engine import PodmanEngine

        return PodmanEngine(Path("/"), os.environ, os.getuid(), lambda: self.engine, approve=self._approval)

    @property
    def _approval(self) -> Callable[[str], str] | None:
        """What an engine may pull for a reference: see `signing.verified`."""
        return (lambda name: self.verified(name, lambda: None)) if self.settings["verify_key"] else None

    def verified(self, reference: str, local: Callable[[], LocalImage | None]) -> str:
        """The image that may be used: see `signing.verified`, which is only read where a key is asked for."""
        if not self.settings["verify_key"]:
            return reference
        from jetson_containers.signing import verified

        return verified.required(reference, self.settings, local())

    @functools.cached_property
    def built_for(self) -> Platform:
        """The platform of images: the target on the distribution of the base image that it has here."""
        from jetson_containers.builder import known_base

        return known_base.predict(self.platform, self.settings).platform

    @functools.cached_property
    def catalog(self) -> Catalog:
        """The packages for the platform."""
        return self.catalog_for(self.built_for)

    @functools.cached_property
    def package_trees(self) -> tuple[Path, ...]:
        """The built-in tree, the directories that the user added, and upstream's tree where it was asked for."""
        if not self.settings["upstream"]:
            return self.settings.package_trees
        from jetson_containers.cli import upstream

        further = upstream.tree(self.settings, self.console)
        return (*self.settings.package_trees, *([further] if further else []))

    def catalog_for(self, platform: Platform) -> Catalog:
        """The packages for another platform, for instance that of the base image that was found."""
        from jetson_containers.recipes import catalog

        loaded = catalog.load(self.package_trees, platform, cache=self.settings["cache"])
        for broken in loaded.broken:
            self.console.warning(f"recipe left out: {broken.message}", broken.hint)
        for notice in loaded.notices:
            self.console.detail(notice)
        return loaded


def global_options(function: F) -> F:
    """Add the global options to a command, so that they are accepted before and after its name."""
    options = (
        click.option(
            "--target",
            multiple=True,
            metavar="TARGET",
            help="Platform to work for, e.g. r36.4.3, jp6.2,cu128, cpu; `build` takes several.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."),
        click.option("--offline", is_flag=True, help="Do not use the network."),
        click.option("--packages", "tree", metavar="DIR", help="Use DIR instead of the built-in package tree."),
        click.option(
            "--package-dirs",
            multiple=True,
            metavar="A,B",
            help="Also read packages from these directories (repeatable).",
        ),
        click.option(
            "--upstream",
            metavar="DIR|REF",
            help="Also read upstream's packages: from a checkout, or a branch, tag or commit that is fetched.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print only results, warnings and errors."),
        click.option("-v", "--verbose", "--debug", "verbose", is_flag=True, help="Show decisions in detail."),
        click.option(
            "--log-level",
            type=click.Choice(list(_LEVELS), case_sensitive=False),
            help="Verbosity: debug is --verbose; warning, error and critical are --quiet.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


GLOBAL_NAMES = ("target", "as_json", "offline", "tree", "package_dirs", "upstream", "quiet", "verbose", "log_level")


class FiniteRange(click.FloatRange):
    """A number within bounds. Comparisons do not keep "nan" out, and an open bound does not keep "inf" out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; fails for other texts, and outside the bounds."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def command(*args: Any, **kwargs: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """`click.command` with the global options; the function gets the `App` first."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @click.pass_obj
        @functools.wraps(function)
        def wrapper(app: App, /, **options: Any) -> Any:
            app.update({name: options.pop(name) for name in GLOBAL_NAMES})
            return function(app, **options)

        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        made: click.Command = click.command(*args, cls=AbbreviatingCommand, **kwargs)(global_options(wrapper))
        return made

    return decorate


def _setting_option(name: str, setting: str, **how: Any) -> Callable[[F], F]:
    """An option that is a setting for one command."""

    def choose(context: click.Context, _parameter: click.Parameter, given: Any) -> None:
        app = context.find_object(App)
        if given and app is not None:
            app.choose(setting, given)

    return click.option(name, expose_value=False, callback=choose, **how)


def podman_option(function: F) -> F:
    """Add `--podman`, which chooses the engine of containers for one command."""
    text = "Start containers with Podman instead of Docker."
    return _setting_option("--podman", "podman", is_flag=True, help=text)(function)


def verify_option(function: F) -> F:
    """Add `--verify`, the key that must have signed what one command takes from registries."""
    text = "Take only images that the registry shows a signature of, by this public key."
    return _setting_option("--verify", "verify_key", metavar="KEY", help=text)(function)


def sign_option(function: F) -> F:
    """Add `--sign`, the key that signs what one command pushes."""
    text = "Sign what is pushed with this private key, as cosign does."
    return _setting_option("--sign", "sign_key", metavar="KEY", help=text)(function)


def list_option(*names: str, separator: str = ",", **kwargs: Any) -> Callable[[F], F]:
    """An option that holds a list as text; given several times, the lists add up."""

    def joined(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> str:
        return separator.join(value for value in values if value)

    return click.option(*names, multiple=True, callback=joined, **kwargs)


def collect(load: Callable[[], type[Any]], parameter: str) -> Callable[[F], F]:
    """Give a command the options that are fields of a dataclass as one object, under the name `parameter`.

    `load` imports the class when the command runs: its module is not needed to list the options.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapper(app: App, /, **given: Any) -> Any:
            kind = load()
            names = given.keys() & {each.name for each in fields(kind)}
            collected = kind(**{name: given.pop(name) for name in names})
            return function(app, **{parameter: collected}, **given)

        return cast("F", wrapper)

    return decorate


def split_list(text: str | None) -> list[str]:
    """Split upstream's multi-value options: commas or semicolons; a colon belongs to `name:version`."""
    return [item.strip() for item in (text or "").replace(";", ",").split(",") if item.strip()]
