"""The `requires:` grammar → predicate on `Platform`, with the reason when false.

One rule is L4T (`>=r36`, `==r35.*`, `>=36`), CUDA (`>=cu124`, `cu126`, `cpu`), Python (`>=py310`), Ubuntu (`>=22.04`,
`jammy`), distribution (`ubuntu`, `!=debian`), architecture (`tegra sbsa x86_64 aarch64`, `!=…`), SM (`>=sm80`), or an
apt repository of NVIDIA whose key is known: `cuda-repository` (that with CUDA) or `ubuntu-cuda-repository`.
`cuda-wheels` holds where the setting `cuda_source` asks for CUDA from wheels. All rules of a package must hold.

A rule may join clauses with commas (`>=cu126,<cu130`); case does not matter. Operators are those of PEP 440; a bare
version means that version and its point releases, so `r36` is `==36.*` and `cu126` is `==12.6.*`. A platform without
L4T (PC, Arm server) counts as newer than every L4T release, which is what recipes written for Jetson expect.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from jetson_containers.core.errors import RequirementSyntaxError
from jetson_containers.core.text import shown
from jetson_containers.core.versions import LONGEST
from jetson_containers.platforms import cuda_repository
from jetson_containers.platforms.platform import Arch, comparable_ubuntu
from jetson_containers.recipes.types import RuleResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jetson_containers.platforms.cuda_repository import CudaRepository
    from jetson_containers.platforms.platform import Platform

GRAMMAR_HINT = (
    "a rule is L4T (`>=r36`), CUDA (`>=cu124`, `cpu`), Python (`>=py310`), Ubuntu (`>=22.04`, `jammy`), `debian`, "
    "architecture (`tegra`, `sbsa`, `x86_64`, `aarch64`), SM (`>=sm80`), `cuda-repository`, `ubuntu-cuda-repository` "
    "or `cuda-wheels`"
)

CODENAMES = {
    "xenial": "16.04",
    "bionic": "18.04",
    "focal": "20.04",
    "jammy": "22.04",
    "noble": "24.04",
    "resolute": "26.04",
}

# What an architecture word accepts. `aarch64` is the instruction set, so it holds on Tegra and on Arm servers.
_ARCHES = {
    "tegra": frozenset({Arch.TEGRA}),
    "tegra-aarch64": frozenset({Arch.TEGRA}),
    "sbsa": frozenset({Arch.SBSA}),
    "aarch64": frozenset({Arch.TEGRA, Arch.SBSA}),
    "arm64": frozenset({Arch.TEGRA, Arch.SBSA}),
    "x86_64": frozenset({Arch.X86_64}),
    "amd64": frozenset({Arch.X86_64}),
}

# An apt repository of NVIDIA, to be there with a key that is known.
_REPOSITORIES: dict[str, Callable[[Platform], CudaRepository]] = {
    "cuda-repository": cuda_repository.own,
    "ubuntu-cuda-repository": cuda_repository.of_ubuntu,
}


class Subject(enum.Enum):
    """What a clause compares; the value is its usual name."""

    L4T = "L4T"
    CUDA = "CUDA"
    CPU = "CPU"
    PYTHON = "Python"
    UBUNTU = "Ubuntu"
    ARCH = "architecture"
    SM = "SM"
    REPOSITORY = "apt repository"
    CUDA_SOURCE = "source of CUDA"
    DISTRO = "distribution"


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One comparison. `op` is empty for a bare value; `specifier` is None for what has no versions."""

    text: str
    subject: Subject
    op: str
    value: str
    specifier: SpecifierSet | None = None


def check_all(rules: Sequence[str], platform: Platform) -> tuple[RuleResult, ...]:
    """Evaluate every rule. Raises RequirementSyntaxError for one outside the grammar."""
    return tuple(check(rule, platform) for rule in rules)


def check(rule: str, platform: Platform) -> RuleResult:
    """Evaluate one rule; an empty one always holds. Raises RequirementSyntaxError."""
    clauses = parse(rule)
    if not clauses:
        return RuleResult(rule=rule, ok=True, reason="nothing is required")
    verdicts = [_JUDGES[clause.subject](clause, platform) for clause in clauses]
    failed = [reason for ok, reason in verdicts if not ok]
    return RuleResult(rule=rule, ok=not failed, reason="; ".join(failed or [reason for _, reason in verdicts]))


def holds(rules: Sequence[str], platform: Platform) -> bool:
    """Whether all rules hold. Raises RequirementSyntaxError."""
    return all(result.ok for result in check_all(rules, platform))


def is_of_a_kind(rule: str, platform: Platform) -> bool:
    """Whether a rule is about the kind of machine: its architecture, its distribution, or that it has CUDA at all."""
    kinds = {Subject.CPU, Subject.ARCH, Subject.DISTRO, *(() if platform.cuda else (Subject.CUDA,))}
    return any(clause.subject in kinds for clause in parse(rule))


def explain(results: Iterable[RuleResult]) -> str:
    """The failing rules in one line ("CUDA 12.6 does not satisfy `>=cu128`"); empty when all hold."""
    return "; ".join(result.reason for result in results if not result.ok)


@lru_cache(maxsize=4096)
def parse(rule: str) -> tuple[Clause, ...]:
    """Split a rule into clauses. Raises RequirementSyntaxError naming the clause."""
    if len(rule) > 2 * LONGEST or not rule.isascii():
        raise _syntax_error(rule, rule)
    parts = [part.strip() for part in rule.lower().split(",")]
    if parts == [""]:
        return ()
    return tuple(_parse_clause(part, rule) for part in parts)


_OPERATOR = re.compile(r"(===|==|!=|~=|>=|<=|>|<|)\s*(.*)")


def _parse_clause(text: str, rule: str) -> Clause:
    match = _OPERATOR.fullmatch(text)
    op, value = match.groups() if match else ("", "")
    subject, version = _classify(value)
    if subject is None or op == "===":
        raise _syntax_error(text, rule)
    if subject in {Subject.CPU, Subject.ARCH, Subject.DISTRO, Subject.REPOSITORY, Subject.CUDA_SOURCE}:
        if op not in {"", "==", "!="}:
            raise _syntax_error(text, rule, f"`{op}` cannot compare `{value}`")
        return Clause(text=text, subject=subject, op=op, value=value)
    return Clause(text=text, subject=subject, op=op, value=version, specifier=_specifier(op, version, text, rule))


def _specifier(op: str, version: str, text: str, rule: str) -> SpecifierSet:
    """Make the PEP 440 specifier; a bare version stands for itself and its point releases."""
    if not op:
        op, version = "==", version if version.endswith(".*") else f"{version}.*"
    try:
        return SpecifierSet(f"{op}{version}")
    except (InvalidSpecifier, ValueError):
        raise _syntax_error(text, rule, f"`{op}` cannot take `{version}`") from None


def _syntax_error(clause: str, rule: str, why: str = "") -> RequirementSyntaxError:
    where = "" if clause == rule else f" in `{shown(rule)}`"
    return RequirementSyntaxError(
        f"`{shown(clause)}`{where} is not a valid `requires` rule" + (f": {why}" if why else ""), hint=GRAMMAR_HINT
    )


_VERSION = r"[0-9]+(?:\.[0-9]+){0,3}(?:\.\*)?"
_FORMS: tuple[tuple[Subject, re.Pattern[str]], ...] = (
    (Subject.CUDA, re.compile(rf"cu(?:da)?({_VERSION})")),
    (Subject.PYTHON, re.compile(rf"(?:py|python|cp)({_VERSION})")),
    (Subject.SM, re.compile(r"sm_?([0-9]+(?:\.[0-9])?)")),
    (Subject.UBUNTU, re.compile(r"(?:ubuntu)?((?:1[4-9]|2[0-9])\.(?:04|10))")),
    # Two digits at most: `130` is a CUDA version whose `cu` was forgotten, never an L4T release.
    (Subject.L4T, re.compile(r"r?([0-9]{1,2}(?:\.[0-9]+){0,3}(?:\.\*)?)")),
)


def _classify(value: str) -> tuple[Subject | None, str]:
    """What a value names, and its version in dotted form ("cu126" → CUDA, "12.6")."""
    if value == "cpu":
        return Subject.CPU, ""
    if value in _ARCHES:
        return Subject.ARCH, value
    if value in _REPOSITORIES:
        return Subject.REPOSITORY, value
    if value == "cuda-wheels":
        return Subject.CUDA_SOURCE, value
    if value in {"debian", "ubuntu"}:
        return Subject.DISTRO, value
    if value in CODENAMES:
        return Subject.UBUNTU, CODENAMES[value]
    for subject, form in _FORMS:
        if match := form.fullmatch(value):
            return subject, _DOTTED.get(subject, str)(match[1])
    return None, ""


def _dotted_cuda(text: str) -> str:
    """`126` is 12.6, `92` is 9.2, `13` is 13: the two digits of a major begin with 1 or 2."""
    digits, dot, rest = text.partition(".")
    split = 2 if digits[0] in "12" else 1
    major, minor = digits[:split], digits[split:]
    return (f"{major}.{minor}" if minor else major) + dot + rest


def _dotted_python(text: str) -> str:
    """`310` is 3.10, `3.10` and `3` are themselves."""
    digits, dot, rest = text.partition(".")
    return (f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits) + dot + rest


def _dotted_sm(text: str) -> str:
    """`8.7` and `87` are both 87: compute capability times ten."""
    return text.replace(".", "")


_DOTTED: dict[Subject, Callable[[str], str]] = {
    Subject.CUDA: _dotted_cuda,
    Subject.PYTHON: _dotted_python,
    Subject.SM: _dotted_sm,
}


def _compare(clause: Clause, actual: Version, what: str) -> tuple[bool, str]:
    assert clause.specifier is not None  # noqa: S101 - narrows the type; only CPU and ARCH clauses have none
    ok = clause.specifier.contains(actual, prereleases=True)
    return ok, _sentence(what, clause, ok)


def _sentence(what: str, clause: Clause, ok: bool) -> str:
    return f"{what} {'satisfies' if ok else 'does not satisfy'} `{clause.text}`"


def _judge_l4t(clause: Clause, platform: Platform) -> tuple[bool, str]:
    if platform.l4t is not None:
        return _compare(clause, platform.l4t, f"L4T {platform.l4t}")
    ok = clause.op in {">=", ">", "!="}
    return ok, _sentence("no L4T here, which counts as newer than every L4T release, and", clause, ok)


def _judge_cuda(clause: Clause, platform: Platform) -> tuple[bool, str]:
    if platform.cuda is None:
        return False, _sentence("this platform is CPU only, without CUDA, and", clause, ok=False)
    # Rules name CUDA as images do, by major and minor; an update release (12.6.3) is the same CUDA to them.
    return _compare(clause, Version(f"{platform.cuda.major}.{platform.cuda.minor}"), f"CUDA {platform.cuda}")


def _judge_cpu(clause: Clause, platform: Platform) -> tuple[bool, str]:
    ok = (platform.cuda is None) is (clause.op != "!=")
    what = "this platform without CUDA" if platform.cuda is None else f"this platform with CUDA {platform.cuda}"
    return ok, _sentence(what, clause, ok)


def _judge_python(clause: Clause, platform: Platform) -> tuple[bool, str]:
    return _compare(clause, platform.python, f"Python {platform.python}")


def _judge_ubuntu(clause: Clause, platform: Platform) -> tuple[bool, str]:
    if platform.distro == "ubuntu":
        return _compare(clause, Version(platform.distro_version), f"Ubuntu {platform.distro_version}")
    comparable = comparable_ubuntu(platform)
    what = f"{platform.distro.capitalize()} {platform.distro_version}, comparable to Ubuntu {comparable},"
    return _compare(clause, Version(comparable), what)


def _judge_distro(clause: Clause, platform: Platform) -> tuple[bool, str]:
    ok = (platform.distro == clause.value) is (clause.op != "!=")
    return ok, _sentence(f"the distribution {platform.distro.capitalize()} {platform.distro_version}", clause, ok)


def _judge_arch(clause: Clause, platform: Platform) -> tuple[bool, str]:
    ok = (platform.arch in _ARCHES[clause.value]) is (clause.op != "!=")
    return ok, _sentence(f"the architecture {platform.arch.value}", clause, ok)


def _judge_sm(clause: Clause, platform: Platform) -> tuple[bool, str]:
    """Hold if any SM does; `!=` is the opposite of `==`, so it holds only if no SM is that one."""
    specifier = clause.specifier
    assert specifier is not None  # noqa: S101 - narrows the type; only CPU and ARCH clauses have none
    matching = [specifier.contains(Version(str(sm)), prereleases=True) for sm in platform.sm]
    ok = all(matching) if clause.op == "!=" else any(matching)
    if clause.op == "!=" and not ok:
        have = ", ".join(map(str, platform.sm))
        return (
            ok,
            f"it has no code for sm_{clause.value}, and images of this platform are for SM {have} (`{clause.text}`)",
        )
    built_for = (
        "SM " + ", ".join(map(str, platform.sm)) if platform.sm else "this platform has no GPU architecture, which"
    )
    return ok, f"{built_for} {'satisfies' if ok else 'does not satisfy'} `{clause.text}`"


def _judge_repository(clause: Clause, platform: Platform) -> tuple[bool, str]:
    found = _REPOSITORIES[clause.value](platform)
    ok = (not found.problem) is (clause.op != "!=")
    if not ok and found.problem:
        return ok, f"{found.problem} (`{clause.text}`)"
    return ok, _sentence(f"NVIDIA's apt repository {found.name}", clause, ok)


def _judge_cuda_source(clause: Clause, platform: Platform) -> tuple[bool, str]:
    ok = (platform.cuda_source == "wheels") is (clause.op != "!=")
    return ok, _sentence(f"the setting `cuda_source`, which is `{platform.cuda_source}`,", clause, ok)


_JUDGES: dict[Subject, Callable[[Clause, Platform], tuple[bool, str]]] = {
    Subject.L4T: _judge_l4t,
    Subject.CUDA: _judge_cuda,
    Subject.CPU: _judge_cpu,
    Subject.PYTHON: _judge_python,
    Subject.UBUNTU: _judge_ubuntu,
    Subject.ARCH: _judge_arch,
    Subject.SM: _judge_sm,
    Subject.REPOSITORY: _judge_repository,
    Subject.CUDA_SOURCE: _judge_cuda_source,
    Subject.DISTRO: _judge_distro,
}
