"""The grammar of `requires:`: which rules hold where, and what is said about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from jetson_containers.core.errors import RequirementSyntaxError
from jetson_containers.platforms.platform import Arch
from jetson_containers.recipes.rules import check, check_all, explain, holds
from tests.unit.treemaker import DEBIAN, NANO, ORIN, PC, PC_CPU, SERVER, THOR, XAVIER, platform

if TYPE_CHECKING:
    from jetson_containers.platforms.platform import Platform

PLATFORMS = {
    "nano": NANO,
    "xavier": XAVIER,
    "orin": ORIN,
    "thor": THOR,
    "server": SERVER,
    "pc": PC,
    "pc-cpu": PC_CPU,
    "debian": DEBIAN,
}

TRIXIE = platform(None, "12.8", Arch.X86_64, python="3.13", ubuntu="13", sm=(80,), distro="debian")

# rule → the platforms it holds on
TABLE = {
    "": "nano xavier orin thor server pc pc-cpu debian",
    # L4T; a platform without it is newer than every release
    ">=r36": "orin thor server pc pc-cpu debian",
    # distributions
    "debian": "debian",
    "!=debian": "nano xavier orin thor server pc pc-cpu",
    "ubuntu": "nano xavier orin thor server pc pc-cpu",
    # apt repositories of NVIDIA
    "cuda-repository": "nano xavier orin thor server pc pc-cpu debian",
    "!=ubuntu-cuda-repository": "",
    # whence CUDA is wanted, which is apt unless the setting says otherwise
    "cuda-wheels": "",
    "!=cuda-wheels": "nano xavier orin thor server pc pc-cpu debian",
    ">=36": "orin thor server pc pc-cpu debian",
    ">=32.6": "nano xavier orin thor server pc pc-cpu debian",
    ">=34.1.0": "xavier orin thor server pc pc-cpu debian",
    ">39": "server pc pc-cpu debian",
    "<r36": "nano xavier",
    "<=36.4.3": "nano xavier orin",
    "==r35.*": "xavier",
    "==36.*": "orin",
    "==36.4.3": "orin",
    "==36": "",
    "r36": "orin",
    "36.4": "orin",
    "r35.4.1": "xavier",
    "!=r36.*": "nano xavier thor server pc pc-cpu debian",
    "~=36.2": "orin",
    "==38.*": "thor",
    ">=r35,<r37": "xavier orin",
    # CUDA; false where there is none
    ">=cu124": "orin thor server pc",
    ">=cu12.4": "orin thor server pc",
    "cu126": "orin",
    "==cu126": "orin",
    "!=cu126": "nano xavier thor server pc",
    ">=cu126,<cu130": "orin pc",
    "cu12": "orin pc",
    "==cu12.*": "orin pc",
    "cu13": "thor server",
    "<cu12": "nano xavier",
    "cu102": "nano",
    ">=cu92": "nano xavier orin thor server pc",
    "cuda128": "pc",
    "cpu": "pc-cpu debian",
    "==cpu": "pc-cpu debian",
    "!=cpu": "nano xavier orin thor server pc",
    # Python
    ">=py310": "orin thor server pc pc-cpu debian",
    "py3.10": "orin",
    "py310": "orin",
    "==py3.8": "xavier",
    "<py39": "nano xavier",
    "py3": "nano xavier orin thor server pc pc-cpu debian",
    "cp312": "thor server pc pc-cpu",
    # Ubuntu; Debian 12 is taken for the Ubuntu it resembles
    ">=22.04": "orin thor server pc pc-cpu debian",
    "==22.04": "orin debian",
    "22.04": "orin debian",
    "ubuntu20.04": "xavier",
    "!=24.04": "nano xavier orin debian",
    "<20.04": "nano",
    "jammy": "orin debian",
    ">=noble": "thor server pc pc-cpu",
    "!=bionic": "xavier orin thor server pc pc-cpu debian",
    # architecture
    "tegra": "nano xavier orin",
    "tegra-aarch64": "nano xavier orin",
    "!=tegra": "thor server pc pc-cpu debian",
    "sbsa": "thor server",
    "aarch64": "nano xavier orin thor server",
    "arm64": "nano xavier orin thor server",
    "!=arm64": "pc pc-cpu debian",
    "x86_64": "pc pc-cpu debian",
    "==amd64": "pc pc-cpu debian",
    # SM: any of the platform's
    ">=sm80": "xavier orin thor server pc",
    "sm87": "xavier orin",
    "sm_87": "xavier orin",
    "sm8.7": "xavier orin",
    "<sm60": "nano",
    "sm110": "thor",
    "!=sm72": "orin thor server pc pc-cpu debian",
    # several of one rule
    "tegra,>=cu126": "orin",
}


@pytest.mark.parametrize("rule", TABLE)
def test_rule_holds_on_its_platforms(rule: str) -> None:
    """Each rule holds on the platforms of the table."""
    assert " ".join(name for name, where in PLATFORMS.items() if check(rule, where).ok) == TABLE[rule]


@pytest.mark.parametrize("rule", TABLE)
def test_rule_ignores_case_and_spaces(rule: str) -> None:
    """Case and spaces do not matter."""
    spaced = f"  {rule.upper()}  ".replace(",", " , ")
    assert [check(spaced, where).ok for where in PLATFORMS.values()] == [
        check(rule, where).ok for where in PLATFORMS.values()
    ]


@pytest.mark.parametrize("rule", TABLE)
def test_rule_check_has_a_reason(rule: str) -> None:
    """Every verdict has a reason."""
    results = {name: check(rule, where) for name, where in PLATFORMS.items()}
    assert {name: result.rule for name, result in results.items()} == dict.fromkeys(PLATFORMS, rule)
    assert [name for name, result in results.items() if not result.reason] == []


@pytest.mark.parametrize(
    ("rule", "where", "reason"),
    [
        (">=cu128", ORIN, "CUDA 12.6 does not satisfy `>=cu128`"),
        (">=cu124", ORIN, "CUDA 12.6 satisfies `>=cu124`"),
        (">=cu126,<cu130", THOR, "CUDA 13.0 does not satisfy `<cu130`"),
        (">=cu124", PC_CPU, "this platform is CPU only, without CUDA, and does not satisfy `>=cu124`"),
        ("cpu", ORIN, "this platform with CUDA 12.6 does not satisfy `cpu`"),
        ("<r36", PC, "no L4T here, which counts as newer than every L4T release, and does not satisfy `<r36`"),
        (">=r38", ORIN, "L4T 36.4.3 does not satisfy `>=r38`"),
        (">=py311", ORIN, "Python 3.10 does not satisfy `>=py311`"),
        (">=24.04", DEBIAN, "Debian 12, comparable to Ubuntu 22.04, does not satisfy `>=24.04`"),
        ("sbsa", ORIN, "the architecture tegra does not satisfy `sbsa`"),
        (">=sm90", ORIN, "SM 87 does not satisfy `>=sm90`"),
        ("!=sm87", ORIN, "it has no code for sm_87, and images of this platform are for SM 87 (`!=sm87`)"),
        ("cuda-wheels", ORIN, "the setting `cuda_source`, which is `apt`, does not satisfy `cuda-wheels`"),
        ("cuda-repository", ORIN, "NVIDIA's apt repository ubuntu2204/arm64 satisfies `cuda-repository`"),
        (
            "cuda-repository",
            TRIXIE,
            "NVIDIA's apt repository debian13/x86_64 has no CUDA before 13.1 (`cuda-repository`)",
        ),
        (">=sm90", PC_CPU, "this platform has no GPU architecture, which does not satisfy `>=sm90`"),
        ("", ORIN, "nothing is required"),
    ],
)
def test_rule_reason_is_a_sentence_about_the_platform(rule: str, where: Platform, reason: str) -> None:
    """The reason is a sentence about this platform."""
    assert check(rule, where).reason == reason


def test_rules_must_all_hold_and_failing_ones_are_explained() -> None:
    """All rules must hold, and the failing ones are explained."""
    rules = (">=r36", ">=cu128", "x86_64")
    results = check_all(rules, ORIN)
    assert [result.ok for result in results] == [True, False, False]
    assert not holds(rules, ORIN)
    assert explain(results) == "CUDA 12.6 does not satisfy `>=cu128`; the architecture tegra does not satisfy `x86_64`"


def test_rule_of_a_cuda_holds_for_its_updates() -> None:
    """An update release of CUDA is that CUDA."""
    assert check("==cu126", platform(cuda="12.6.3")).ok
    assert not check(">cu126", platform(cuda="12.6.3")).ok


@pytest.mark.parametrize(
    "rule",
    [
        "nonsense", ">=", ">=130", ">=x86_64", "<cpu", "===36", ">=36.*", ">=cu", "cu12a", ">=r36,", ",", "36,,37",
        "=36", "r36 r37", ">=py", "jammy22", "~=cu12", "==>36", "tegra64", "sm", "not tegra", ">=1.2.3.4.5",
    ],
)  # fmt: skip
def test_rule_outside_the_grammar_is_named(rule: str) -> None:
    """A text outside the grammar is named."""
    with pytest.raises(RequirementSyntaxError) as caught:
        check(rule, ORIN)
    assert "is not a valid `requires` rule" in caught.value.message
    assert "`>=r36`" in (caught.value.hint or "")


RELEASES = st.builds(
    lambda major, minor, micro: f"{major}.{minor}.{micro}",
    st.integers(21, 45),
    st.integers(0, 9),
    st.integers(0, 9),
)
OPERATORS = st.sampled_from(["==", "!=", ">=", "<=", ">", "<"])
COMPARE = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}


@given(OPERATORS, RELEASES, RELEASES)
def test_rule_of_l4t_compares_as_versions_do(op: str, wanted: str, actual: str) -> None:
    """L4T compares as versions do."""
    expected = COMPARE[op](Version(actual), Version(wanted))
    for rule in (f"{op}{wanted}", f"{op}r{wanted}", f" {op} R{wanted} "):
        assert check(rule, platform(l4t=actual)).ok is expected


@given(OPERATORS, st.integers(10, 29), st.integers(0, 9), st.integers(10, 29), st.integers(0, 9))
def test_rule_of_cuda_compares_as_versions_do_in_both_spellings(
    op: str, major: int, minor: int, has: int, point: int
) -> None:
    """CUDA compares as versions do, in both spellings."""
    where = platform(cuda=f"{has}.{point}")
    expected = COMPARE[op]((has, point), (major, minor))
    assert check(f"{op}cu{major}{minor}", where).ok is expected
    assert check(f"{op}cu{major}.{minor}", where).ok is expected


@given(OPERATORS, st.integers(0, 30), st.integers(0, 30))
def test_rule_of_python_compares_as_versions_do(op: str, wanted: int, actual: int) -> None:
    """Python compares as versions do."""
    assert check(f"{op}py3{wanted}", platform(python=f"3.{actual}")).ok is COMPARE[op](actual, wanted)


@given(OPERATORS, RELEASES)
def test_rule_of_l4t_holds_without_l4t_for_lower_bounds_and_exclusions(op: str, release: str) -> None:
    """Without L4T only lower bounds and exclusions hold."""
    assert check(f"{op}{release}", PC).ok is (op in {">=", ">", "!="})


@given(st.sampled_from(sorted(set(TABLE) - {""})), st.sampled_from(sorted(set(TABLE) - {""})))
def test_rule_comma_means_and(left: str, right: str) -> None:
    """A comma means and."""
    for where in PLATFORMS.values():
        assert check(f"{left},{right}", where).ok is (check(left, where).ok and check(right, where).ok)


@given(st.sampled_from(["tegra", "sbsa", "x86_64", "aarch64", "arm64", "amd64", "cpu", "22.04", "jammy"]))
def test_rule_not_is_the_opposite(value: str) -> None:
    """`not` is the opposite."""
    for where in PLATFORMS.values():
        assert check(f"!={value}", where).ok is not check(value, where).ok


@given(st.text(max_size=12))
def test_rule_of_any_text_is_judged_or_refused_by_name(text: str) -> None:
    """Any text is judged or refused by name."""
    try:
        assert check(text, ORIN).reason
    except RequirementSyntaxError as error:
        assert error.hint  # noqa: PT017 - any other exception must fail the test


@given(st.sampled_from(list(Arch)))
def test_rule_names_of_architectures_are_each_of_one(arch: Arch) -> None:
    """Every architecture has exactly one name of its own."""
    where = platform(arch=arch)
    assert [name for name in ("tegra", "sbsa", "x86_64") if check(name, where).ok] == [arch.value]
