"""One package directory: what is read from it, what it means on a platform, and how a mistake is reported."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.core.errors import RecipeError, RequirementSyntaxError
from jetson_containers.recipes.package import Artifacts, Dependency, Package, read_directory, render
from jetson_containers.recipes.reader import header_text
from jetson_containers.recipes.schema import seconds, size
from tests.paths import UNIT_DIR
from tests.unit.treemaker import DEBIAN, NANO, ORIN, PC_CPU, XAVIER, write

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform

TREES = UNIT_DIR / "trees"


def packages(root: Path, files: dict[str, str], where: Platform = ORIN, name: str = "ml/foo") -> dict[str, Package]:
    """Render the directory `name` of a tree of files, by full name."""
    recipe = read_directory(write(root, files) / name)
    assert recipe is not None
    return {package.name: package for package in render(recipe, where)}


def only(root: Path, header: str, where: Platform = ORIN, **files: str) -> Package:
    """The one package of a header, with further files beside it."""
    beside = {f"ml/foo/{name.replace('_', '.')}": text for name, text in files.items()}
    (package,) = packages(root, {"ml/foo/Dockerfile": header, **beside}, where).values()
    return package


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


@pytest.mark.parametrize(
    ("header", "field", "expected"),
    [
        ("depends: cmake", "depends", (Dependency(family="cmake"),)),
        ("alias: torch", "aliases", ("torch",)),
        ("aliases: [torch]", "aliases", ("torch",)),
        ("requires: '>=36'", "requires", (">=36",)),
        ("requires: ''", "requires", ()),
        ("requires: 24.04", "requires", ("24.04",)),
        ("test: run.sh", "test", ("run.sh",)),
        ("test: ", "test", ()),
        ("test: []", "test", ()),
        ("docs: |\n  two\n  lines", "docs", "two\nlines\n"),
        ("docs: [one, two]", "docs", "one\ntwo"),
        ("notes: [a, b]", "notes", "a; b"),
        ("license: [MIT, Apache-2.0]", "license", "MIT AND Apache-2.0"),
        ("disabled: true", "disabled", True),
        ("disabled: no", "disabled", False),
        ("buildkit_device: true", "gpu_at_build", False),
        ("args: {A: true, B: True, C: on, D: 1.10, E: ~, F: 'True', G: 0x10}", "build_args",
         {"A": "true", "B": "true", "C": "on", "D": "1.10", "E": "", "F": "True", "G": "0x10"}),
        ("name: bar:1.0", "name", "bar:1.0"),
        ("name: bar:1.0", "default", False),
        ("name: bar:1.0\nalias: bar", "default", True),
        ("name: bar:1.10", "version", "1.10"),
        ("memory_per_job: 512M", "memory_per_job", 512 * 1024**2),
        ("timeout: 90", "timeout", 90),
    ],
)  # fmt: skip
def test_header_values_are_read_as_written(tmp_path: Path, header: str, field: str, expected: Any) -> None:
    """Header values are read as written."""
    assert getattr(only(tmp_path, header), field) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#---\n# a: 1\n#---\nFROM x", "\na: 1\n"),
        (
            "# syntax=docker/dockerfile:1\n#---\n# a: 1\n# b:\n#   - c\n#---\nFROM x\n#---\n# z: 1",
            "\n\na: 1\nb:\n  - c\n",
        ),
        ("#---\n# a: 1\n#---\n# prose: no\n#---\n# b: 2\n#---\n\n# c: 3", "\na: 1\n\n\n\nb: 2\n"),
        ("#---\n#a: 1\n# b: 2\n#\nFROM x", "\na: 1\nb: 2\n"),
        ("#---\r\n# a: 1\r\n#---\r\nFROM x", "\na: 1\n"),
        ("# no header\nFROM x", None),
        ("FROM x\n#---\n# a: 1\n#---", None),
        ("", None),
    ],
)
def test_header_is_the_comment_block_on_top(text: str, expected: str | None) -> None:
    """The header is the comment block on top."""
    assert header_text(text) == expected


def test_header_with_a_byte_order_mark_and_windows_lines_is_read(tmp_path: Path) -> None:
    """A byte order mark and Windows lines do no harm."""
    write(tmp_path, {"ml/foo/test.sh": ""})
    (tmp_path / "ml/foo/Dockerfile").write_bytes(b"\xef\xbb\xbf#---\r\n# depends: cmake\r\n#---\r\nFROM x\r\n")
    assert packages(tmp_path, {})["foo"].depends == (Dependency(family="cmake"),)


@pytest.mark.parametrize(
    ("files", "dockerfile"),
    [
        ({"Dockerfile": "docs: x"}, "Dockerfile"),
        ({"dockerfile": "FROM x"}, "dockerfile"),
        ({"Dockerfile.j2": "docs: x"}, "Dockerfile.j2"),
        ({"Dockerfile": "docs: x", "Dockerfile.j2": "FROM y"}, "Dockerfile"),
        ({"Dockerfile": "dockerfile: Dockerfile.other", "Dockerfile.other": "FROM x"}, "Dockerfile.other"),
        ({"Dockerfile": "#---\n# depends: [a]\n#---\n"}, None),
        ({"config.yaml": "depends: [a]"}, None),
        ({"config.yml": "depends: [a]"}, None),
        ({"config.yaml": ""}, None),
        ({"config.json": '{"depends": ["a"]}'}, None),
        ({"config.yaml": "dockerfile: Dockerfile.x", "Dockerfile.x": "FROM x"}, "Dockerfile.x"),
        ({"Dockerfile": "docs: x", "config.yaml": "dockerfile: Dockerfile.{{ arch }}", "Dockerfile.tegra": "FROM x"},
         "Dockerfile.tegra"),
    ],
)  # fmt: skip
def test_dockerfile_that_is_built_is_found_by_its_name(
    tmp_path: Path, files: dict[str, str], dockerfile: str | None
) -> None:
    """The name decides which Dockerfile is built."""
    (package,) = packages(tmp_path, {f"ml/foo/{name}": text for name, text in files.items()}).values()
    assert package.dockerfile == dockerfile


@pytest.mark.parametrize("files", [{}, {"README.md": "x"}, {"test.py": ""}, {"compose.yaml": "a: b"}])
def test_directory_that_defines_nothing_is_not_a_package(tmp_path: Path, files: dict[str, str]) -> None:
    """A directory that defines nothing is not a package."""
    (tmp_path / "foo").mkdir()
    write(tmp_path / "foo", files)
    assert read_directory(tmp_path / "foo") is None


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


def test_source_sees_the_build_arguments(tmp_path: Path) -> None:
    """What a source repeats of the build arguments is written once."""
    config = (
        'args: {REF: "v{{ version }}"}\nsource: {git: x.org, ref: "{{ args.REF }}", commit: "{{ args.COMMIT }}"}\n'
        "versions:\n  - {version: 1, args: {COMMIT: abc}}\n"
    )
    found = packages(tmp_path, {"ml/foo/config.yaml": config})["foo:1"]
    assert found.source == {"git": "x.org", "ref": "v1", "commit": "abc"}


@pytest.mark.parametrize(
    ("where", "torch", "cmake"), [(ORIN, "8.7", "87"), (XAVIER, "7.2;8.7", "72;87"), (PC_CPU, "", "")]
)
def test_template_sees_the_gpu_architectures_as_lists(tmp_path: Path, where: Platform, torch: str, cmake: str) -> None:
    """`torch_arch_list` and `cmake_archs` spell the platform's architectures."""
    package = only(tmp_path, 'args: {A: "{{ torch_arch_list }}", B: "{{ cmake_archs }}"}', where)
    assert package.build_args == {"A": torch, "B": cmake}


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


# --- templates


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


# --- artifacts


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Dockerfile.build", Artifacts("Dockerfile.build")),
        ("{dockerfile: Dockerfile.build}", Artifacts("Dockerfile.build")),
        (
            "{dockerfile: Dockerfile.build, depends: cmake}",
            Artifacts("Dockerfile.build", (Dependency(family="cmake"),)),
        ),
        (
            "{dockerfile: Dockerfile.build, depends: ['cmake>=3', \"{{ 'cuda' if cuda }}\", '{{ none or \"\" }}']}",
            Artifacts(
                "Dockerfile.build",
                (Dependency(family="cmake", version=None, specifier=">=3"), Dependency(family="cuda")),
            ),
        ),
    ],
)
def test_artifacts_of_a_header_are_read(tmp_path: Path, value: str, expected: Artifacts) -> None:
    """The compile part of a package is read."""
    files = {"ml/foo/Dockerfile": f"artifacts: {value}", "ml/foo/Dockerfile.build": "FROM x"}
    assert packages(tmp_path, files)["foo"].artifacts == expected


# --- mistakes


@pytest.mark.parametrize(
    ("header", "line", "message", "hint"),
    [
        ("docs: x\ndepend: cmake", 3, "unknown key `depend`", "did you mean `depends`?"),
        ("zzzz: 1", 2, "unknown key `zzzz`", "known keys: alias"),
        ("name: [a]", 2, "`name` must be a name", ""),
        ("name: 'a b'", 2, "`name` must be a name", ""),
        ("docs: [[a]]", 2, "`docs` must be text or a list of texts", ""),
        ("group: [a]", 2, "`group` must be text", ""),
        ("docs: x\ndepends:\n  - a\n  - b: c", 5, "`depends` must be a package or a list", ""),
        ("depends: [[a]]", 2, "`depends` must be a package or a list", ""),
        ("depends: ['a b']", 2, "`a b` is not a package name", ""),
        ("depends: ['a>=x']", 2, "`>=x` is not a valid version specifier (PEP 440)", ""),
        ("requires: nonsense", 2, "`nonsense` is no `requires` rule", ""),
        ("args: [a]", 2, "`args` must be a mapping", ""),
        ("args:\n  B: 1\n  A: [1]", 4, "`A` must be text", ""),
        ("disabled: perhaps", 2, "`disabled` must be true or false", ""),
        ("memory_per_job: lots", 2, "`memory_per_job` must be a size", ""),
        ("timeout: soon", 2, "`timeout` must be a time", ""),
        ("source: x", 2, "`source` must be a mapping", ""),
        ("dockerfile: Dockerfile.none", 2, "`Dockerfile.none` is not there", ""),
        ("config: none.yaml", 2, "`config` names `none.yaml`", ""),
        ("config: config.py", 2, "`config.py` definitions are not read", ""),
        ("artifacts: Dockerfile.none", 2, "`Dockerfile.none` is not there", ""),
        ("artifacts: {depends: a}", 2, "`artifacts` needs a `dockerfile`", ""),
        ("artifacts: {file: a}", 2, "unknown key `file`", ""),
        ("artifacts: [a]", 2, "`artifacts` must be a Dockerfile, or", ""),
        ("alias: a\naliases: b", 3, "`alias` and `aliases` are the same key", ""),
        ("docs: x\ndocs: y", 3, "key `docs` is given twice", ""),
        ("docs: 'x", 3, "broken YAML", ""),
        ("docs: x\n\tname: y", 3, "broken YAML", ""),
        ("[a]: x", 2, "a key must be a plain word", ""),
        ("<<: {a: b}", 2, "merge keys", ""),
        ("docs: &a [*a]", 2, "an alias that contains itself", ""),
        ("- a", 2, "must be a mapping", ""),
        ("variants: [a]", 2, "`variants` must be a mapping of variant names", ""),
        ("variants:\n  b:\n    version: 1", 4, "unknown key `version`", ""),
        ("variants: {'a b': {}}", 2, "must be a name", ""),
        ("name: foo:1\nversions: [{version: 1}]", 2, "`foo:1` names a version, and `versions` lists others", ""),
    ],
)  # fmt: skip
def test_header_mistake_names_file_and_line(tmp_path: Path, header: str, line: int, message: str, hint: str) -> None:
    """A mistake in a header names file and line."""
    with pytest.raises(RecipeError) as caught:
        only(tmp_path, header)
    assert str(caught.value).startswith(f"{tmp_path}/ml/foo/Dockerfile:{line}: ")
    assert message in caught.value.message
    assert (caught.value.hint or "").startswith(hint)
    assert (caught.value.path, caught.value.line) == (tmp_path / "ml/foo/Dockerfile", line)


@pytest.mark.parametrize(
    ("config", "line", "message"),
    [
        ("versions:\n  - version: 1\n    url: x", 3, "unknown key `url`"),
        ("versions:\n  - version: 1\n    requires:\n      - '>=r36'\n      - bad", 5, "`bad` is no `requires` rule"),
        ("versions:\n  - default: true", 2, "must be a mapping with a `version`"),
        ("versions:\n  - 1.0", 2, "must be a mapping with a `version`"),
        ("versions: {a: b}", 1, "`versions` must be a list"),
        (
            "versions:\n  - version: 1\n  - version: 1",
            3,
            "version `1` is given twice for the same platforms, first on line 2",
        ),
        ("versions:\n  - version: 1\n    default: maybe", 3, "`maybe` is no `requires` rule"),
        ("versions:\n  - version: 1\n    versions: []", 3, "unknown key `versions`"),
        ("a:\n  docs: x\nb:\n  doc: y", 4, "unknown key `doc`"),
        ("a: x", 1, "unknown key `a`"),
        ("a b:\n  docs: x", 1, "must be a name"),
        ("versions:\n  - version: 1\n    dockerfile: none", 3, "`none` is not there"),
        ("versions: [\n", 2, "broken YAML"),
        ("docs: x\n---\ndocs: y", 2, "broken YAML"),
    ],
)
def test_config_mistake_names_file_and_line(tmp_path: Path, config: str, line: int, message: str) -> None:
    """A mistake in a config names file and line."""
    with pytest.raises(RecipeError) as caught:
        packages(tmp_path, {"ml/foo/config.yaml": config})
    assert str(caught.value).startswith(f"{tmp_path}/ml/foo/config.yaml:{line}: ")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"Dockerfile": b"RUN true\n"}, "no `FROM`"),
        ({"Dockerfile": b"#---\n# docs: x\n#---\nRUN true\n"}, "no `FROM`"),
        ({"Dockerfile": b""}, "no `FROM`"),
        ({"Dockerfile": b"\xff\xfe"}, "cannot be read"),
        ({"config.py": b"package = 1"}, "`config.py` definitions are not read"),
        ({"Dockerfile": b"FROM x", "config.py": b""}, "`config.py` definitions are not read"),
    ],
)
def test_directory_that_cannot_be_a_package_says_why(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    """A directory that cannot be a package says why."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        read_directory(tmp_path)


# --- small grammars


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cmake", Dependency(family="cmake")),
        ("pytorch:2.8", Dependency(family="pytorch", version="2.8")),
        ("ros:humble-desktop", Dependency(family="ros", version="humble-desktop")),
        ("pytorch>=2.4", Dependency(family="pytorch", version=None, specifier=">=2.4")),
        ("pytorch >= 2.4 , < 3", Dependency(family="pytorch", version=None, specifier=">=2.4,<3")),
        ("a==1.*", Dependency(family="a", version=None, specifier="==1.*")),
        ("a~=1.2", Dependency(family="a", version=None, specifier="~=1.2")),
        ("l4t-pytorch", Dependency(family="l4t-pytorch")),
        (" a ", Dependency(family="a")),
    ],
)
def test_dependency_is_a_name_a_version_or_a_range(text: str, expected: Dependency) -> None:
    """Dependencies are names, versions or ranges."""
    assert Dependency.parse(text) == expected
    assert Dependency.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "a b", "a:", ":1", "a>=", "a>=b", "a:1>=2", "-a", "a/b", "a*", "=1", "a=1"])
def test_dependency_of_another_form_is_refused(text: str) -> None:
    """Any other form is refused."""
    with pytest.raises(RequirementSyntaxError):
        Dependency.parse(text)


@pytest.mark.parametrize(
    ("text", "version", "accepted"),
    [
        ("a>=2.4", "2.10", True),
        ("a>=2.4", "2.3", False),
        ("a>=2.4", "2.5.0a0+git", True),
        ("a>=2.4", "b9016", False),
        ("a>=2.4", None, False),
        ("a", None, True),
        ("a", "b9016", True),
    ],
)
def test_dependency_range_accepts_what_pep_440_says(text: str, version: str | None, accepted: bool) -> None:
    """A range accepts what PEP 440 says."""
    assert Dependency.parse(text).accepts(version) is accepted


NAMES = st.from_regex(r"[a-z][a-z0-9_.+-]{0,8}", fullmatch=True)


@given(NAMES, st.none() | NAMES)
def test_dependency_of_any_name_and_version_is_written_as_read(family: str, version: str | None) -> None:
    """Every name and version is written as it was read."""
    dependency = Dependency(family=family, version=version)
    assert Dependency.parse(str(dependency)) == dependency


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.5G", 1610612736), ("512M", 536870912), ("100", 100), ("2 GiB", 2147483648), ("1gb", 1073741824),
     ("1k", 1024), ("G", None), ("-1G", None), ("", None), ("1P", None)],
)  # fmt: skip
def test_size_is_read_in_bytes(text: str, expected: int | None) -> None:
    """Sizes are read."""
    assert size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200), ("1.5h", None), ("", None), ("1d", None)],
)
def test_seconds_are_read_from_times(text: str, expected: int | None) -> None:
    """Times are read."""
    assert seconds(text) == expected
