"""What a request means: short versions, and pins by environment variables as upstream documents them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import (
    NothingMatchedError,
    UnknownPackageError,
    UnsatisfiableError,
    UsageError,
    command,
)
from jetson_containers.core.versions import in_series, same_version
from jetson_containers.plan.plan import PlanOptions
from jetson_containers.plan.request import Request, assemble
from jetson_containers.platforms.target import version_variables
from jetson_containers.recipes.catalog import load
from tests.unit.treemaker import ORIN, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.recipes.catalog import Catalog

FROM = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """engine 2.5.0 to 2.11.0 (2.11.0 preferred), on it vision, on that app; other has no part in these."""
    versions = "versions: [{version: 2.11.0}, {version: 2.6.1}, {version: 2.6.0}, {version: 2.5.0}]\n"
    newer = "versions: [{version: '2', depends: ['engine>=2.6']}, {version: '1', depends: [engine]}]\n"
    recipe = "#---\n# name: {}\n# group: test\n#---\nARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n"
    dependent = "#---\n# name: app\n# group: test\n# depends: [vision]\n#---\n" + FROM
    files = {
        "test/my-engine/Dockerfile": recipe.format("my-engine"),
        "test/my-engine/config.yaml": versions,
        "test/engine/Dockerfile": recipe.format("engine"),
        "test/engine/config.yaml": versions,
        "test/vision/Dockerfile": recipe.format("vision"),
        "test/vision/config.yaml": newer,
        "test/app/Dockerfile": dependent,
        "test/other/Dockerfile": recipe.format("other"),
        "test/other/config.yaml": versions,
    }
    return load([write(tmp_path, files)], ORIN)


def planned(catalog: Catalog, *packages: str, multiple: bool = False, **variables: str) -> list[BuildPlan]:
    request = Request(packages=packages, multiple=multiple, variables=variables)
    return list(assemble(request, ORIN, lambda _: catalog, PlanOptions()).plans)


def chain(catalog: Catalog, *packages: str, **variables: str) -> list[str]:
    (plan,) = planned(catalog, *packages, **variables)
    return [stage.package for stage in plan.stages if stage.package]


@pytest.mark.parametrize(
    ("asked", "variables", "expected"),
    [
        (["engine"], {}, ["engine:2.11.0"]),
        (["engine"], {"ENGINE_VERSION": "2.5"}, ["engine:2.5.0"]),
        (["engine"], {"ENGINE_VERSION": "2.6"}, ["engine:2.6.1"]),
        (["engine"], {"ENGINE_VERSION": ""}, ["engine:2.11.0"]),
        (["my-engine"], {"MY_ENGINE_VERSION": "2.5.0"}, ["my-engine:2.5.0"]),
        (["vision"], {"ENGINE_VERSION": "2.6.0"}, ["engine:2.6.0", "vision:2"]),
        (["vision"], {"ENGINE_VERSION": "2.5"}, ["engine:2.5.0", "vision:1"]),
        (["app", "other"], {"VISION_VERSION": "1"}, ["engine:2.11.0", "vision:1", "app", "other:2.11.0"]),
        (["engine"], {"OTHER_VERSION": "99", "NODE_VERSION": "20"}, ["engine:2.11.0"]),
        (["engine:2.6.0"], {"ENGINE_VERSION": "2.5"}, ["engine:2.6.0"]),
    ],
)
def test_version_variable_pins_a_family_of_the_image(
    catalog: Catalog, asked: list[str], variables: Mapping[str, str], expected: list[str]
) -> None:
    """A family that the image does not hold is left alone, and a version in the request comes first."""
    assert chain(catalog, *asked, **variables) == expected


def test_version_variable_is_said_in_the_plan(catalog: Catalog) -> None:
    """Version variable is said in the plan."""
    (plan,) = planned(catalog, "vision", ENGINE_VERSION="2.6")
    assert "$ENGINE_VERSION pins engine:2.6.1" in plan.notices
    (plan,) = planned(catalog, "engine:2.5", ENGINE_VERSION="2.6")
    assert "$ENGINE_VERSION is not used: the request names a version" in plan.notices


def test_version_variable_applies_with_multiple(catalog: Catalog) -> None:
    """Version variable applies with multiple."""
    plans = planned(catalog, "engine", multiple=True, ENGINE_VERSION="2.5")
    assert [plan.stages[-1].package for plan in plans] == ["engine:2.5.0"]


@pytest.mark.parametrize("asked", ["engine", "vision"])
def test_version_variable_that_no_package_has_is_refused(catalog: Catalog, asked: str) -> None:
    """Version variable that no package has is refused."""
    with pytest.raises(UsageError, match=r"\$ENGINE_VERSION: .*engine:99") as caught:
        planned(catalog, asked, ENGINE_VERSION="99")
    assert "engine:2.11.0" in str(caught.value.hint)
    assert "unset ENGINE_VERSION" in str(caught.value.hint)
    assert caught.value.exit_code == 2


def test_version_variable_in_a_conflict_is_named(catalog: Catalog) -> None:
    """Version variable in a conflict is named."""
    with pytest.raises(UnsatisfiableError) as caught:
        planned(catalog, "vision:2", ENGINE_VERSION="2.5")
    assert any("$ENGINE_VERSION" in line for line in caught.value.details)


def test_version_variables_of_the_platform_pin_nothing() -> None:
    """Version variables of the platform pin nothing."""
    environ = {
        "CUDA_VERSION": "12.6",
        "L4T_VERSION": "36.4",
        "PYTHON_VERSION": "3.10",
        "NUMPY_VERSION": "1",
        "HOME": "/",
    }
    assert version_variables(environ) == {"NUMPY_VERSION": "1"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("engine:2.5", "engine:2.5.0"),
        ("engine:2.6", "engine:2.6.1"),
        ("engine:2.6.0", "engine:2.6.0"),
        ("engine:2.6.1", "engine:2.6.1"),
        ("engine:2.5.0.0", "engine:2.5.0"),
        ("engine:2", "engine:2.11.0"),
    ],
)
def test_short_version_means_its_series(catalog: Catalog, name: str, expected: str) -> None:
    """Short version means its series."""
    assert chain(catalog, name) == [expected]


def test_short_version_means_the_newest_though_another_is_preferred(tmp_path: Path) -> None:
    """Of several versions that begin so, the newest is taken, and it is said; where it does not fit, the next."""
    recipe = "#---\n# name: engine\n# group: test\n#---\n" + FROM
    versions = ", ".join(f"{{version: {one}}}" for one in ("1.4.0", "2.6.0", "2.6.2", "2.6.10"))
    files = {
        "test/engine/Dockerfile": recipe,
        "test/engine/config.yaml": f"versions: [{versions}]\n",
        "test/old/Dockerfile": "#---\n# name: old\n# group: test\n# depends: ['engine<2.6.10']\n#---\n" + FROM,
    }
    catalog = load([write(tmp_path, files)], ORIN)
    (plan,) = planned(catalog, "engine:2.6")
    assert [stage.package for stage in plan.stages] == ["engine:2.6.10"]
    assert "`engine:2.6` is `engine:2.6.10`: it is newer than `engine:2.6.2`, `engine:2.6.0`" in plan.notices
    assert chain(catalog, "old", "engine:2.6") == ["engine:2.6.2", "old"]
    assert chain(catalog, "engine:2.6.0") == ["engine:2.6.0"]


@pytest.mark.parametrize("name", ["engine:2.1", "engine:3", "engine:cuda", "engine:2.50"])
def test_short_version_without_a_match_is_refused(catalog: Catalog, name: str) -> None:
    """Short version without a match is refused."""
    with pytest.raises((UnknownPackageError, NothingMatchedError)):
        chain(catalog, name)


def test_short_version_in_depends_means_its_series(tmp_path: Path) -> None:
    """Short version in depends means its series."""
    recipe = "#---\n# name: engine\n# group: test\n#---\n" + FROM
    files = {
        "test/engine/Dockerfile": recipe,
        "test/engine/config.yaml": "versions: [{version: 2.11.0}, {version: 2.5.0}]\n",
        "test/mine/Dockerfile": "#---\n# name: mine\n# group: test\n# depends: [engine:2.5]\n#---\n" + FROM,
    }
    assert chain(load([write(tmp_path, files)], ORIN), "mine") == ["engine:2.5.0", "mine"]


def test_series_is_by_number_not_by_text() -> None:
    """Series is by number not by text."""
    assert in_series("2.5", "2.5.0.post1")
    assert not in_series("2.5", "2.50")
    assert not in_series("2.x", "2.5")
    assert same_version("2.5", "2.5.0")
    assert not same_version("2.5", "2.5.1")


def test_suggested_command_can_be_pasted() -> None:
    """Suggested command can be pasted."""
    assert command("./build.sh", "numpy>=2") == "`./build.sh 'numpy>=2'`"
    assert command("./build.sh", "numpy") == "`./build.sh numpy`"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["engine==2.6.*"], ["engine:2.6.1"]),
        (["engine >= 2.5, != 2.11.*"], ["engine:2.6.1"]),
        (["vision", "engine==2.6.*"], ["engine:2.6.1", "vision:2"]),
    ],
)
def test_range_with_a_star_is_no_pattern(catalog: Catalog, asked: list[str], expected: list[str]) -> None:
    """PEP 440 has stars in ranges."""
    assert chain(catalog, *asked) == expected


def test_range_with_multiple_is_an_image_for_each_version(catalog: Catalog) -> None:
    """With --multiple every version in a range gets its image."""
    plans = planned(catalog, "engine>=2.6", multiple=True)
    assert sorted(plan.request for plan in plans) == [("engine:2.11.0",), ("engine:2.6.0",), ("engine:2.6.1",)]
    with pytest.raises(NothingMatchedError) as caught:
        planned(catalog, "engine>=3", multiple=True)
    assert "available here: engine:2.11.0" in str(caught.value.hint)


def test_range_leaves_packages_out(catalog: Catalog) -> None:
    """--skip-packages takes ranges: of versions that are meant, and of no others."""

    def skipping(pattern: str) -> list[str | None]:
        request = Request(packages=("vision",), skip=(pattern,))
        (plan,) = assemble(request, ORIN, lambda _: catalog, PlanOptions()).plans
        return [stage.package for stage in plan.stages]

    assert skipping("engine>=2.11") == ["vision:2"]
    assert skipping("engine<2.11") == ["engine:2.11.0", "vision:2"]


def test_name_of_several_images_is_refused(catalog: Catalog) -> None:
    """One --name without a `/` at its end would be the name of every image of --multiple: only the last would stay."""
    request = Request(packages=("engine:2.5.0", "other"), multiple=True)
    with pytest.raises(UsageError, match=r"would be the image of `engine:2\.5\.0` and `other:2\.11\.0`"):
        assemble(request, ORIN, lambda _: catalog, PlanOptions(name="mine"))
    named = assemble(request, ORIN, lambda _: catalog, PlanOptions(name="mine/")).plans
    assert all(plan.final.startswith("mine/") for plan in named)
    alone = Request(packages=("other",), multiple=True)
    assert len(assemble(alone, ORIN, lambda _: catalog, PlanOptions(name="mine")).plans) == 1


def test_test_that_is_not_there_is_said_before_a_build(tmp_path: Path) -> None:
    """A test's file that is missing, or a pipe, would fail the build at its end; a plan says so."""
    header = "#---\n# name: {0}\n# group: test\n# test: [{1}]\n#---\n"
    files = {
        "test/gone/Dockerfile": header.format("gone", "look.sh --quick") + FROM,
        "test/pipe/Dockerfile": header.format("pipe", "look.sh") + FROM,
        "test/fine/Dockerfile": header.format("fine", "look.sh, 'look.py -v'") + FROM,
        "test/fine/look.sh": "true\n",
        "test/fine/look.py": "\n",
    }
    tree = write(tmp_path, files)
    os.mkfifo(tree / "test/pipe/look.sh")
    (plan,) = planned(load([tree], ORIN), "gone", "pipe", "fine")
    assert plan.notices == (
        "the test `look.sh --quick` of `gone` is not a file of its recipe, so it will fail; or --skip-tests gone",
        "the test `look.sh` of `pipe` is not a file of its recipe, so it will fail; or --skip-tests pipe",
    )
