"""Templates in recipes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import RecipeError
from tests.unit.recipes.helpers import only, packages
from tests.unit.treemaker import DEBIAN, NANO, ORIN, PC, PC_CPU, SERVER, THOR, XAVIER, write

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform


@pytest.mark.parametrize(
    ("where", "torch", "cmake"), [(ORIN, "8.7", "87"), (XAVIER, "7.2;8.7", "72;87"), (PC_CPU, "", "")]
)
def test_template_sees_the_gpu_architectures_as_lists(tmp_path: Path, where: Platform, torch: str, cmake: str) -> None:
    """`torch_arch_list` and `cmake_archs` spell the platform's architectures."""
    package = only(tmp_path, 'args: {A: "{{ torch_arch_list }}", B: "{{ cmake_archs }}"}', where)
    assert package.build_args == {"A": torch, "B": cmake}


def test_template_filters_write_gpu_architectures(tmp_path: Path) -> None:
    """A recipe that needs only some of the architectures, or nvcc's spelling, does not loop over them."""
    header = "args: {A: \"{{ sm | select('ge', 80) | dotted | join(' ') }}\", B: \"{{ sm | gencode | join(';') }}\"}"
    assert only(tmp_path, header, XAVIER).build_args == {
        "A": "8.7",
        "B": "arch=compute_72,code=sm_72;arch=compute_87,code=sm_87",
    }


@pytest.mark.parametrize(
    ("where", "march"),
    [
        (NANO, "armv8-a"),
        (XAVIER, "armv8.2-a+fp16"),
        (replace(XAVIER, sm=(87,)), "armv8.2-a+dotprod+fp16"),
        (replace(XAVIER, sm=(), cuda=None), "armv8.2-a+fp16"),
        (THOR, "armv8.2-a+dotprod+fp16"),
        (SERVER, "armv8.2-a+dotprod+fp16"),
        (PC, ""),
    ],
)
def test_template_sees_what_every_cpu_of_the_platform_understands(tmp_path: Path, where: Platform, march: str) -> None:
    """What is compiled for `march` runs on the oldest chip, with or without a GPU."""
    assert only(tmp_path, 'args: {A: "{{ march }}"}', where).build_args == {"A": march}


def test_template_sees_the_platform(tmp_path: Path) -> None:
    """Templates see the platform."""
    header = (
        "args:\n"
        "  ALL: '{{ l4t }} {{ jetpack }} {{ cuda }} {{ python }} {{ ubuntu }} {{ arch }} {{ sm | join(\";\") }}'\n"
        "  BOARD: '{{ platform.machine }} {{ version is none }}'\n"
    )
    assert only(tmp_path, header).build_args == {"ALL": "36.4.3 6.2 12.6 3.10 22.04 tegra 87", "BOARD": "aarch64 True"}
    assert only(tmp_path, header, DEBIAN).build_args["ALL"] == "None None None 3.11 22.04 x86_64 "


def test_template_renders_alike_for_equal_platforms(tmp_path: Path) -> None:
    """Equal platforms render alike."""
    here = replace(ORIN, origins={"l4t": "host"}, notices=("said",), host={"name": "nano"})
    header = "args: {A: '{{ platform.origins }}{{ platform.notices }}{{ platform.host }}'}"
    assert here == ORIN
    assert only(tmp_path, header, here).build_args == only(tmp_path, header).build_args


def test_template_that_renders_to_nothing_removes_the_item_of_a_list(tmp_path: Path) -> None:
    """Empty items of lists vanish after rendering."""
    header = 'depends: [python, "{% if cuda %}cuda{% endif %}"]\nalias: [\'{{ "" }}\', a]'
    assert [str(d) for d in only(tmp_path, header).depends] == ["python", "cuda"]
    package = only(tmp_path, header, PC_CPU)
    assert [str(d) for d in package.depends] == ["python"]
    assert package.aliases == ("a",)


def test_template_of_a_version_sees_the_version(tmp_path: Path) -> None:
    """A version sees itself."""
    config = (
        "versions: [{version: 1.2}]\n"
        "args: {REF: 'v{{ version }}'}\n"
        "source: {ref: 'v{{ version }}', list: ['{{ arch }}']}\n"
    )
    package = packages(tmp_path, {"ml/foo/config.yaml": config})["foo:1.2"]
    assert package.build_args == {"REF": "v1.2"}
    assert package.source == {"ref": "v1.2", "list": ["tegra"]}


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ nonsense }}", "'nonsense' is undefined (known: l4t, jetpack, cuda,"),
        ("{{ cuda", "unexpected end of template"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ sm + 'x' }}", "can only concatenate"),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ sm.append(1) }}", "access to attribute 'append' of 'list' object is unsafe"),
        ("{% include 'x' %}", "`include` is not part of a recipe's templates"),
    ],
)
def test_template_that_cannot_be_rendered_names_its_line(tmp_path: Path, template: str, reason: str) -> None:
    """A template that cannot be rendered names its line."""
    with pytest.raises(RecipeError) as caught:
        only(tmp_path, f'docs: x\nargs:\n  GOOD: 1\n  BAD: "{template}"\n')
    assert caught.value.line == 5
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("docs: x\ndepends: ['{{ sm }}']", 3),
        ("requires: ['{{ arch }}x']", 2),
        ("dockerfile: 'Dockerfile.{{ arch }}'", 2),
    ],
)
def test_template_results_are_checked_too(tmp_path: Path, header: str, line: int) -> None:
    """What a template makes is checked too."""
    with pytest.raises(RecipeError) as caught:
        only(tmp_path, header)
    assert caught.value.line == line


def test_template_leaves_shell_text_alone(tmp_path: Path) -> None:
    """Shell text is not a template."""
    assert only(tmp_path, "args: {A: '${#name} ${x%y} {#z'}").build_args == {"A": "${#name} ${x%y} {#z"}


def test_jinja_is_imported_only_for_templates(tmp_path: Path) -> None:
    """Jinja is imported only for templates."""
    write(tmp_path, {"ml/foo/Dockerfile": "args: {A: 1}", "ml/bar/Dockerfile": "args: {A: '{{ arch }}'}"})
    code = (
        "import sys, pathlib\nfrom tests.unit.treemaker import ORIN\nfrom jetson_containers.recipes.package import *\n"
        "def loaded(name):\n"
        "    render(read_directory(pathlib.Path(sys.argv[1]) / name), ORIN)\n"
        "    return 'jinja2' in sys.modules\n"
        "print(loaded('ml/foo'), loaded('ml/bar'))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
