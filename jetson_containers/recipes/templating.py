"""Jinja2 in recipes: sandboxed, an undefined name is an error, and imported only where a template is.

The names a template sees are those of `context`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jetson_containers.platforms import cuda_repository
from jetson_containers.platforms.platform import comparable_ubuntu, oldest_cpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Template

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.sandbox import TemplateEnvironment


VARIABLES = (
    "l4t", "jetpack", "cuda", "python", "ubuntu", "arch", "march", "sm", "torch_arch_list", "cmake_archs",
    "cuda_repository", "ubuntu_cuda_repository", "platform", "version",
)  # fmt: skip


class TemplateFailure(Exception):  # noqa: N818 - caught by readers of recipes, which know the file and line
    """A template that cannot be rendered; the text says why. `line` is 1-based within the template, if known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def is_template(text: str) -> bool:
    """Whether the text is a template. `{#` alone does not make one, because shells write `${#name}`."""
    return "{{" in text or "{%" in text


def decides(text: str) -> bool:
    """Whether a template chooses between values (`if`, a comparison, `or`, a table), where others only write one."""
    from jinja2 import TemplateSyntaxError, nodes

    try:
        tree = _environment().parse(text)
    except TemplateSyntaxError:
        return False
    choices = (nodes.If, nodes.CondExpr, nodes.Compare, nodes.And, nodes.Or, nodes.Not, nodes.Test, nodes.Dict)
    return any(isinstance(node, choices) for node in tree.find_all(nodes.Node))


def context(platform: Platform, version: str | None = None) -> dict[str, Any]:
    """What a recipe's templates see. Strings but for `sm` (list of int) and `platform`; None is "has none".

    The GPU architectures as torch and CMake list them are `torch_arch_list` (`8.7;11.0`) and `cmake_archs` (`87;110`).
    `march` is what every CPU of the platform understands, as GCC names it; empty on x86_64. The apt repositories have
    `name`, `key_file` and `key`.
    """
    cuda = platform.cuda
    ubuntu = platform.distro_version if platform.distro == "ubuntu" else comparable_ubuntu(platform)
    return {
        "l4t": str(platform.l4t) if platform.l4t is not None else None,
        "jetpack": platform.jetpack,
        "cuda": f"{cuda.major}.{cuda.minor}" if cuda is not None else None,
        "python": f"{platform.python.major}.{platform.python.minor}",
        "ubuntu": ubuntu,
        "arch": platform.arch.value,
        "march": oldest_cpu(platform),
        "sm": list(platform.sm),
        "torch_arch_list": ";".join(f"{sm // 10}.{sm % 10}" for sm in platform.sm),
        "cmake_archs": ";".join(map(str, platform.sm)),
        "cuda_repository": cuda_repository.own(platform),
        "ubuntu_cuda_repository": cuda_repository.of_ubuntu(platform),
        "platform": _comparable(platform),
        "version": version,
    }


@lru_cache(maxsize=64)
def _comparable(platform: Platform) -> Platform:
    """The platform without what takes no part in its equality, so that equal platforms render alike."""
    return replace(platform, origins={}, notices=(), host={})


@lru_cache(maxsize=1)
def _environment() -> TemplateEnvironment:
    """The one Jinja2 environment of recipes; keeps the final newline, so that a file stays a file."""
    from jetson_containers.recipes.sandbox import TemplateEnvironment

    return TemplateEnvironment()


def render(text: str, variables: Mapping[str, Any]) -> str:
    """Render a template; text without one comes back as it is. Raises TemplateFailure."""
    if not is_template(text):
        return text
    from jinja2 import TemplateSyntaxError, UndefinedError

    from jetson_containers.recipes import budget, sandbox

    try:
        with budget.bounded():
            return _compiled(text).render(variables)
    except TemplateSyntaxError as error:
        raise TemplateFailure(f"template `{_short(text)}`: {error.message}", error.lineno) from None
    except UndefinedError as error:
        known = ", ".join(VARIABLES)
        raise TemplateFailure(f"template `{_short(text)}`: {error.message} (known: {known})") from None
    except sandbox.FAILURES as error:
        raise TemplateFailure(f"template `{_short(text)}`: {_short(str(error), 200)}") from None


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Template:
    return _environment().compiled(text)


def _short(text: str, length: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 3]}..."
