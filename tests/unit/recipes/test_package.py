"""One package directory: what is read from it, what it means on a platform, and how a mistake is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import RecipeError
from jetson_containers.recipes.package import Dependency, Package, read_directory, render
from jetson_containers.recipes.rules import holds
from tests.paths import UNIT_DIR
from tests.unit.recipes.helpers import only, packages
from tests.unit.treemaker import NANO, ORIN, PC_CPU, XAVIER

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform

TREES = UNIT_DIR / "trees"


def test_header_defines_a_whole_package(tmp_path: Path) -> None:
    """A header says everything a package needs."""
    package = only(
        tmp_path,
        "name: bar\n"
        "group: llm\n"
        "alias: [baz, qux]\n"
        "depends: [cmake, 'python:3.10', 'pytorch >= 2.4, <3']\n"
        "requires: ['>=r36', '>=cu124']\n"
        "build_args: {REF: v1, JOBS: 4, EMPTY: }\n"
        "build_flags: --no-cache\n"
        "test: [test.sh --fast, test.py]\n"
        "docs: GGUF models.\n"
        "notes: fast\n"
        "license: MIT\n"
        "source: {git: https://example.org/bar, ref: v1, commit: 1234567e8}\n"
        "memory_per_job: 1.5G\n"
        "build_time: 90m\n"
        "build_size: 2G\n"
        "timeout: 2h\n"
        "network: none\n"
        "coexist: true\n"
        "gpu_at_build: yes\n"
        "share: [git/fetch.sh, 'python:jetson_containers/hub/transfer']\n"
        "prefix: pre\n"
        "postfix: post\n",
    )
    assert package == Package(
        name="bar",
        family="bar",
        version=None,
        variant=None,
        path=tmp_path / "ml/foo",
        dockerfile="Dockerfile",
        default=True,
        aliases=("baz", "qux"),
        family_aliases=("baz", "qux"),
        depends=(
            Dependency(family="cmake"),
            Dependency(family="python", version="3.10"),
            Dependency(family="pytorch", version=None, specifier=">=2.4,<3"),
        ),
        requires=(">=r36", ">=cu124"),
        build_args={"REF": "v1", "JOBS": "4", "EMPTY": ""},
        build_flags="--no-cache",
        test=("test.sh --fast", "test.py"),
        group="llm",
        docs="GGUF models.",
        notes="fast",
        license="MIT",
        source={"git": "https://example.org/bar", "ref": "v1", "commit": "1234567e8"},
        memory_per_job=1610612736,
        build_time=5400,
        build_size=2 << 30,
        timeout=7200,
        network="none",
        coexist=True,
        gpu_at_build=True,
        prefix="pre",
        postfix="post",
        share=("git/fetch.sh", "python:jetson_containers/hub/transfer"),
        tree=tmp_path / "ml/foo",
        origin=f"{tmp_path}/ml/foo/Dockerfile:2",
    )


def test_dockerfile_without_a_header_is_a_package_with_defaults(tmp_path: Path) -> None:
    """A Dockerfile without a header is a package with defaults."""
    package = packages(tmp_path, {"ml/foo/Dockerfile": "FROM ubuntu\n", "ml/foo/test.py": ""})["foo"]
    assert (package.family, package.group, package.dockerfile) == ("foo", "ml", "Dockerfile")
    assert package.requires == (">=32.6",)
    assert package.test == ("test.py",)
    assert package.origin == f"{tmp_path}/ml/foo/Dockerfile:1"


VERSIONS = """
versions:
  - version: 2.10
    default: '>=r36'
    requires: ['>=r35']
    args: {REF: v2.10}
    depends: [cmake, 'numpy>=2']
    aliases: latest-pytorch
    license: Apache-2.0
  - version: 2.8
    default: ['<r36']
    args: {REF: v2.8, CUDA: "{{ cuda }}"}
  - version: nightly
    requires: x86_64
variants:
  builder: {args: {FORCE_BUILD: on}}
"""


HEADER = "name: pytorch\nalias: torch\ndepends: numpy\nargs: {BASE: x, REF: none}\nlicense: BSD-3-Clause\n"


def test_versions_override_the_header_and_merge_their_args(tmp_path: Path) -> None:
    """Versions override the header and merge their args."""
    found = packages(tmp_path, {"ml/foo/Dockerfile": HEADER, "ml/foo/config.yaml": VERSIONS})
    assert list(found) == [
        "pytorch:2.10",
        "pytorch:2.10-builder",
        "pytorch:2.8",
        "pytorch:2.8-builder",
        "pytorch:nightly",
        "pytorch:nightly-builder",
    ]
    new, old = found["pytorch:2.10"], found["pytorch:2.8"]
    assert new.depends == (Dependency(family="cmake"), Dependency(family="numpy", version=None, specifier=">=2"))
    assert old.depends == (Dependency(family="numpy"),)
    assert new.build_args == {"BASE": "x", "REF": "v2.10"}
    assert old.build_args == {"BASE": "x", "REF": "v2.8", "CUDA": "12.6"}
    assert (new.license, old.license) == ("Apache-2.0", "BSD-3-Clause")
    assert (new.requires, old.requires) == ((">=r35",), (">=32.6",))
    builder = found["pytorch:2.10-builder"]
    assert (builder.version, builder.variant) == ("2.10", "builder")
    assert builder.build_args == {"BASE": "x", "REF": "v2.10", "FORCE_BUILD": "on"}
    assert new.origin == f"{tmp_path}/ml/foo/config.yaml:3"


@pytest.mark.parametrize(
    ("where", "default", "other"), [(ORIN, "2.10", "2.8"), (XAVIER, "2.8", "2.10"), (NANO, "2.8", "2.10")]
)
def test_versions_give_the_default_the_short_names(tmp_path: Path, where: Platform, default: str, other: str) -> None:
    """The default version has the short names."""
    found = packages(tmp_path, {"ml/foo/Dockerfile": HEADER, "ml/foo/config.yaml": VERSIONS}, where)
    own = {"2.10": ("latest-pytorch",)}
    assert found[f"pytorch:{default}"].default
    assert found[f"pytorch:{default}"].aliases == ("pytorch", "torch", f"torch:{default}", *own.get(default, ()))
    assert found[f"pytorch:{default}-builder"].aliases == (
        "pytorch:builder",
        "torch:builder",
        f"torch:{default}-builder",
    )
    assert not found[f"pytorch:{other}"].default
    assert found[f"pytorch:{other}"].aliases == (f"torch:{other}", *own.get(other, ()))
    assert found[f"pytorch:{other}-builder"].aliases == (f"torch:{other}-builder",)
    assert not any(package.default for package in found.values() if package.variant)
    assert all(package.family_aliases == ("torch",) for package in found.values())


def test_versions_make_the_only_available_one_the_default(tmp_path: Path) -> None:
    """The only version available is the default."""
    config = "versions:\n  - {version: 1, requires: cu102}\n  - {version: 2, requires: cu126}\n"
    files = {"ml/foo/Dockerfile": "docs: x", "ml/foo/config.yaml": config}
    assert [p.name for p in packages(tmp_path, files).values() if p.default] == ["foo:2"]
    assert [p.name for p in packages(tmp_path, files, NANO).values() if p.default] == ["foo:1"]
    assert [p.name for p in packages(tmp_path, files, XAVIER).values() if p.default] == []


@pytest.mark.parametrize(
    ("config", "default"),
    [
        ("  - {version: 1}\n  - {version: 2}\n", "1"),  # the first, not the newest
        ("  - {version: 1, disabled: true}\n  - {version: 2}\n", "2"),
        ("  - {version: 1, requires: r35}\n  - {version: 2}\n  - {version: 3}\n", "2"),
        ("  - {version: 1, default: false}\n  - {version: 2}\n", "2"),
        ("  - {version: 1, default: r35}\n  - {version: 2}\n  - {version: 3}\n", "2"),
        ("  - {version: 1}\n  - {version: 2, default: r36}\n", "2"),  # one that says so comes before the first
        ("  - {version: 1, default: \"{{ platform.distro == 'debian' }}\"}\n  - {version: 2}\n", "2"),
        ("  - {version: 1, default: \"{{ platform.distro == 'ubuntu' }}\"}\n  - {version: 2}\n", "1"),
        ("  - {version: 1, default: false}\n  - {version: 2, default: false}\n", ""),
        ("  - {version: 1, default: r35}\n", "1"),  # the only one
    ],
)
def test_versions_make_the_first_that_fits_the_default(tmp_path: Path, config: str, default: str) -> None:
    """The first row whose `requires` hold is the default, unless it or another says otherwise."""
    found = packages(tmp_path, {"ml/foo/config.yaml": f"versions:\n{config}"})
    assert "".join(package.version or "" for package in found.values() if package.default) == default


def test_default_of_the_family_is_that_of_every_version(tmp_path: Path) -> None:
    """A default in the header is rendered with each version."""
    config = "default: \"py{{ version }}\"\nversions:\n  - {version: '3.8'}\n  - {version: '3.10'}\n"
    assert [p.name for p in packages(tmp_path, {"ml/foo/config.yaml": config}).values() if p.default] == ["foo:3.10"]


ROWS = """\
args: {FROM: index}
versions:
  - {version: 1, requires: [r36, cu126], args: {FROM: wheel}}
  - {version: 1, requires: [tegra]}
  - {version: 2, requires: [cpu]}
"""


@pytest.mark.parametrize(("where", "wanted"), [(ORIN, "wheel"), (XAVIER, "index")])
def test_rows_of_one_version_are_for_different_platforms(tmp_path: Path, where: Platform, wanted: str) -> None:
    """Of several rows of a version the first that fits counts, on its own line."""
    found = packages(tmp_path, {"ml/foo/config.yaml": ROWS}, where)
    assert list(found) == ["foo:1", "foo:2"]
    assert found["foo:1"].build_args == {"FROM": wanted}
    assert found["foo:1"].default
    assert found["foo:1"].origin.endswith(":3" if wanted == "wheel" else ":4")


def test_row_that_misses_least_speaks_for_a_version_that_is_absent(tmp_path: Path) -> None:
    """Where no row fits, the one with the fewest rules that fail says why."""
    found = packages(tmp_path, {"ml/foo/config.yaml": ROWS}, PC_CPU)
    assert found["foo:1"].requires == ("tegra",)
    assert found["foo:2"].default


def test_row_for_another_kind_of_machine_does_not_speak_for_a_version(tmp_path: Path) -> None:
    """On a board with an old CUDA the reason is that, and not that the board has a CUDA."""
    config = "versions:\n  - {version: 1, requires: ['>=r36', '>=cu126', '>=py310']}\n  - {version: 1, requires: cpu}\n"
    found = packages(tmp_path, {"ml/foo/config.yaml": config}, XAVIER)
    assert found["foo:1"].requires == (">=r36", ">=cu126", ">=py310")


PLATFORMS = """\
depends: [base]
platforms:
  - requires: [tegra, cu126]
    depends: [base, gpu]
  - requires: [cpu]
"""


@pytest.mark.parametrize(
    ("where", "depends", "fits", "line"),
    [(ORIN, "base gpu", True, 3), (PC_CPU, "base", True, 5), (NANO, "base gpu", False, 3)],
)
def test_rows_of_a_package_without_versions_are_for_platforms(
    tmp_path: Path, where: Platform, depends: str, fits: bool, line: int
) -> None:
    """A package that has no version has rows as well; the first that fits counts, and its name stays what it is."""
    config = PLATFORMS + "alias: other\n"
    found = packages(tmp_path, {"ml/foo/config.yaml": config}, where)
    assert list(found) == ["foo"]
    package = found["foo"]
    assert " ".join(map(str, package.depends)) == depends
    assert (package.version, package.default, package.aliases) == (None, True, ("other",))
    assert holds(package.requires, where) is fits
    assert package.origin.endswith(f"config.yaml:{line}")


def test_rows_of_a_package_without_versions_keep_the_version_in_its_name(tmp_path: Path) -> None:
    """`foo:1.0` with rows is one package."""
    config = "name: foo:1.0\nplatforms:\n  - {requires: tegra, args: {A: '{{ version }}'}}\n"
    found = packages(tmp_path, {"ml/foo/config.yaml": config})
    assert [(name, package.build_args) for name, package in found.items()] == [("foo:1.0", {"A": "1.0"})]


@pytest.mark.parametrize(("where", "notes"), [(ORIN, "tegra 8.7"), (PC_CPU, "x86_64 ")])
def test_notes_are_rendered_as_other_texts_are(tmp_path: Path, where: Platform, notes: str) -> None:
    """No page shows a template."""
    assert only(tmp_path, 'notes: "{{ arch }} {{ torch_arch_list }}"', where).notes == notes


def test_row_takes_an_argument_of_the_header_away(tmp_path: Path) -> None:
    """An argument without a value in a row is not passed; one without a value in the header is empty."""
    rows = "versions:\n- {version: 1, args: {TWO: null, THREE: 3}}\n- {version: 2}\n"
    header = "name: bar\nargs: {ONE: 1, TWO: 2, NONE: }\n"
    found = packages(tmp_path, {"ml/foo/Dockerfile": header, "ml/foo/config.yaml": rows})
    first, second = found["bar:1"], found["bar:2"]
    assert first.build_args == {"ONE": "1", "NONE": "", "THREE": "3"}
    assert second.build_args == {"ONE": "1", "TWO": "2", "NONE": ""}


def test_source_sees_the_build_arguments(tmp_path: Path) -> None:
    """What a source repeats of the build arguments is written once."""
    config = (
        'args: {REF: "v{{ version }}"}\nsource: {git: x.org, ref: "{{ args.REF }}", commit: "{{ args.COMMIT }}"}\n'
        "versions:\n  - {version: 1, args: {COMMIT: abc}}\n"
    )
    found = packages(tmp_path, {"ml/foo/config.yaml": config})["foo:1"]
    assert found.source == {"git": "x.org", "ref": "v1", "commit": "abc"}


def test_versions_with_two_defaults_on_one_platform_are_an_error_naming_both_lines(tmp_path: Path) -> None:
    """Two defaults on one platform are an error naming both lines."""
    config = "versions:\n  - version: 1\n    default: true\n  - version: 2\n    default: '>=r36'\n"
    files = {"ml/foo/config.yaml": config}
    assert packages(tmp_path, files, XAVIER)["foo:1"].default
    with pytest.raises(RecipeError) as caught:
        packages(tmp_path, files, ORIN)
    assert caught.value.message == (
        f"{tmp_path}/ml/foo/config.yaml:5: two default versions on this platform: `1` (line 3) and `2`"
    )


def test_variants_need_no_versions(tmp_path: Path) -> None:
    """Variants need no versions."""
    found = packages(tmp_path, {"ml/foo/Dockerfile": "alias: f\nvariants: {samples: {docs: more}}"})
    assert {name: package.aliases for name, package in found.items()} == {"foo": ("f",), "foo:samples": ("f:samples",)}
    assert found["foo:samples"].docs == "more"


def test_config_with_several_packages_shares_one_header(tmp_path: Path) -> None:
    """A nested config holds several packages over one header."""
    config = "ros:humble:\n  depends: [cmake]\nros:jazzy:\n  alias: ros\n  build_args: {X: 1}\n"
    found = packages(tmp_path, {"ml/foo/Dockerfile": "group: robots\nargs: {Y: 2}", "ml/foo/config.yaml": config})
    assert list(found) == ["ros:humble", "ros:jazzy"]
    assert found["ros:jazzy"].default
    assert not found["ros:humble"].default
    assert found["ros:humble"].group == "robots"
    assert found["ros:jazzy"].build_args == {"Y": "2", "X": "1"}


def test_header_of_upstream_is_read_as_it_is() -> None:
    """Upstream's headers load as they are."""
    recipe = read_directory(TREES / "upstream" / "llm" / "sample_llm")
    assert recipe is not None
    (package,) = render(recipe, ORIN)
    assert (package.name, package.group, package.aliases) == ("sample_llm", "llm", ("sample-llm",))
    assert [str(dependency) for dependency in package.depends] == ["sample_base"]
    assert package.requires == (">=34.1.0",)
    assert package.test == ("test.py",)
    assert "several paragraphs" in package.docs
