"""Recipes written for upstream's base stages find what those hold where they stand on ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.recipes import catalog
from jetson_containers.recipes.upstream import base_stages
from jetson_containers.resolver.solve import solve
from tests.unit.treemaker import NANO, ORIN, PC_CPU, write

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform

OURS = {
    "ours/build-essential/Dockerfile": "name: build-essential\nlicense: MIT",
    "ours/python/Dockerfile": "name: python\nlicense: MIT",
    "ours/uv/Dockerfile": "name: uv\ndepends: [python]\nlicense: MIT",
    "ours/cuda-runtime/Dockerfile": "name: cuda-runtime\nlicense: MIT\nrequires: '>=cu102'",
    "ours/cuda/Dockerfile": "name: cuda\ndepends: [cuda-runtime]\nlicense: MIT\nrequires: '>=cu102'",
    "ours/torch/Dockerfile": "name: torch\ndepends: [python, cuda-runtime]\nlicense: MIT",
    "ours/upstream-base/Dockerfile": (
        "name: upstream-base\nalias: [pip_cache]\n"
        "depends: [build-essential, python, uv]\nrequires: '>=py38'\nlicense: MIT"
    ),
    "ours/upstream-cuda/Dockerfile": (
        "name: upstream-cuda\ndepends: [cuda, upstream-base]\nrequires: ['>=cu102', '>=py38']\nlicense: MIT"
    ),
}


def order(tmp_path: Path, files: dict[str, str], name: str, platform: Platform = ORIN) -> list[str]:
    """The packages of an image, with `files` in a directory that the user added."""
    write(tmp_path, {**OURS, **{f"theirs/{path}": text for path, text in files.items()}})
    loaded = catalog.load([tmp_path / "ours", tmp_path / "theirs"], platform)
    assert not loaded.broken
    return [package.family for package in solve(loaded, [name]).packages]


def header(depends: str, *commands: str) -> str:
    """A recipe with only a header."""
    runs = "".join(f"RUN {command}\n" for command in commands)
    return f"#---\n# depends: {depends}\n#---\nARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n{runs}"


CONFIG = {"tool/Dockerfile": header("[python]", "python3 -V"), "tool/config.py": "package['name'] = 'tool:1'\n"}


def test_base_stages_recipe_with_config_py_stands_on_them(tmp_path: Path) -> None:
    """A recipe of upstream's format gets them in front of it."""
    assert order(tmp_path, CONFIG, "tool") == ["build-essential", "python", "uv", "upstream-base", "tool"]


def test_base_stages_stand_in_front_of_the_first_recipe_that_needs_them(tmp_path: Path) -> None:
    """Of several recipes of upstream's format the lowest stands on them, and they are there once."""
    files = {**CONFIG, "more/Dockerfile": header("[tool]"), "more/config.py": "package['name'] = 'more'\n"}
    assert order(tmp_path, files, "more") == ["build-essential", "python", "uv", "upstream-base", "tool", "more"]


def test_base_stages_are_not_given_to_our_own_recipes(tmp_path: Path) -> None:
    """Our own images stay as they are, also beside a tree of upstream's."""
    assert order(tmp_path, CONFIG, "torch") == ["python", "cuda-runtime", "torch"]


def test_base_stages_bring_the_toolkit_where_cuda_is_below(tmp_path: Path) -> None:
    """A recipe on a package of ours that has only CUDA's runtime finds nvcc, as on upstream's."""
    files = {"ext/Dockerfile": header("[torch]"), "ext/config.py": "package['name'] = 'ext:2'\n"}
    found = order(tmp_path, files, "ext")
    assert found[-2:] == ["torch", "ext"]
    assert {"cuda", "upstream-base", "upstream-cuda"} <= set(found[:-2])


def test_base_stages_need_one_of_ours_below(tmp_path: Path) -> None:
    """A recipe that stands on nothing of ours is owed nothing; upstream's own stages bring what they bring."""
    files = {
        "alone/Dockerfile": header("[]", "uv --version"),
        "alone/config.py": "package['name'] = 'alone'\n",
        "above/Dockerfile": header("[alone]"),
        "above/config.py": "package['name'] = 'above'\n",
    }
    assert order(tmp_path, files, "above") == ["alone", "above"]


def test_base_stages_replace_pip_cache(tmp_path: Path) -> None:
    """The name of upstream's stage for the index means them where no tree has one."""
    files = {"tool/Dockerfile": header("[pip_cache, python]"), "tool/config.py": "package['name'] = 'tool:1'\n"}
    assert order(tmp_path, files, "tool") == ["build-essential", "python", "uv", "upstream-base", "tool"]


def test_base_stages_leave_pip_cache_of_a_tree_alone(tmp_path: Path) -> None:
    """A package of that name in the user's tree is the one that is meant."""
    files = {
        "cache/Dockerfile": header("[]"),
        "cache/config.py": "package['name'] = 'pip_cache:cu1'\npackage['alias'] = ['pip_cache']\n",
        "tool/Dockerfile": header("[pip_cache, python]"),
        "tool/config.py": "package['name'] = 'tool:1'\n",
    }
    assert order(tmp_path, files, "tool")[-2:] == ["pip_cache", "tool"]


def test_base_stages_are_left_out_where_the_platform_has_none(tmp_path: Path) -> None:
    """On JetPack 4 such a recipe is planned as before."""
    assert order(tmp_path, CONFIG, "tool", NANO) == ["python", "tool"]


@pytest.mark.parametrize(
    ("commands", "more"),
    [
        (["uv pip install einops"], {}),
        (["apt-get update", "git clone https://example.org/x.git"], {}),
        (["pip install git+https://example.org/x.git"], {}),
        (["pip wheel --wheel-dir $PIP_WHEEL_DIR einops"], {}),
        (["wget \\\n  $WGET_FLAGS https://example.org/x"], {}),
        (["bash /tmp/fetch.sh"], {"fetch.sh": "#!/bin/sh\ncurl -O https://example.org/x\n"}),
    ],
)
def test_base_stages_header_that_calls_them(tmp_path: Path, commands: list[str], more: dict[str, str]) -> None:
    """A recipe with only a header gets them where it or its script calls what nothing below it brings."""
    files = {"tool/Dockerfile": header("[python]", *commands), **{f"tool/{name}": text for name, text in more.items()}}
    assert "upstream-base" in order(tmp_path, files, "tool", PC_CPU)


@pytest.mark.parametrize(
    ("depends", "commands"),
    [
        ("[python]", ["pip install einops"]),
        ("[python]", ["echo https://example.org/git/x.git > /uvloop"]),
        ("[python]", ["apt-get update && apt-get install -y wget && wget https://example.org/x"]),
        ("[build-essential]", ["git clone https://example.org/x.git && gcc x.c"]),
        ("[uv]", ["uv pip install einops"]),
        ("[python]", ["true  \n# uv and git are named in a comment"]),
    ],
)
def test_base_stages_header_that_calls_none_of_them(tmp_path: Path, depends: str, commands: list[str]) -> None:
    """A recipe with only a header that has what it calls stays slim."""
    files = {"tool/Dockerfile": header(depends, *commands)}
    assert "upstream-base" not in order(tmp_path, files, "tool", PC_CPU)


def test_base_stages_recipe_of_our_format_never_gets_them(tmp_path: Path) -> None:
    """A key of our own format says that the recipe was written for our stages; lint says what it lacks."""
    text = header("[python]", "uv --version").replace("# depends", "# license: MIT\n# depends")
    assert order(tmp_path, {"tool/Dockerfile": text}, "tool", PC_CPU) == ["python", "tool"]


def test_base_stages_users_own_python_is_not_put_on_them(tmp_path: Path) -> None:
    """A package that they stand on themselves cannot stand on them."""
    files = {"python/Dockerfile": header("[build-essential]", "uv --version"), "tool/Dockerfile": header("[python]")}
    assert order(tmp_path, files, "tool", PC_CPU) == ["build-essential", "python", "tool"]


def test_base_stages_edited_script_is_read_again(tmp_path: Path) -> None:
    """The index of a catalog does not outlive the scripts that decided it."""
    files = {"tool/Dockerfile": header("[python]", "bash /tmp/build.sh"), "tool/build.sh": "true\n"}
    write(tmp_path, {**OURS, **{f"theirs/{path}": text for path, text in files.items()}})
    trees = [tmp_path / "ours", tmp_path / "theirs"]
    before = catalog.load(trees, PC_CPU, cache=tmp_path / "cache").find("tool")
    (tmp_path / "theirs/tool/build.sh").write_text("tarpack install tool\n")
    after = catalog.load(trees, PC_CPU, cache=tmp_path / "cache").find("tool")
    assert [item.family for item in before.depends] == ["python"]
    assert [item.family for item in after.depends] == ["upstream-base", "python"]


def test_base_stages_variables_lead_to_an_index_and_upload_nothing(tmp_path: Path) -> None:
    """The index is the platform's; what would send something leads nowhere; our own recipes get none of it."""
    write(tmp_path, {**OURS, **{f"theirs/{path}": text for path, text in CONFIG.items()}})
    trees = [tmp_path / "ours", tmp_path / "theirs"]
    on_pc, on_orin = (catalog.load(trees, platform).find("tool").variables for platform in (PC_CPU, ORIN))
    assert on_pc["PIP_INDEX_URL"] == on_pc["UV_DEFAULT_INDEX"] == "https://pypi.org/simple"
    assert "/jp6/cu126/" in on_orin["UV_DEFAULT_INDEX"]
    assert on_pc["TAR_UPLOAD_URL"] == on_pc["TAR_INDEX_URL"] == ""
    assert on_pc["TWINE_REPOSITORY_URL"].startswith("http://localhost:")
    assert catalog.load(trees, PC_CPU).find("torch").variables == {}


def test_base_stages_words_are_whole_words() -> None:
    """A word inside another one is not a call."""
    words = {"git": "", "uv": ""}
    assert base_stages.missing(["RUN gitk && libuv && x.git && uvloop && my-uv"], words, set()) == []
    assert base_stages.missing(["RUN git; (uv)"], words, set()) == ["git", "uv"]
