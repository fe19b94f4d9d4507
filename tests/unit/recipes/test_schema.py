"""The keys of a recipe: which values they take, and how a mistake is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import RecipeError
from jetson_containers.recipes.package import Artifacts, Dependency
from jetson_containers.recipes.schema import seconds, size
from tests.unit.recipes.helpers import only, packages

if TYPE_CHECKING:
    from pathlib import Path


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
        ("caution: [a, b]", "caution", "a; b"),
        ("group: [vision, robots]", "group", "vision, robots"),
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


@pytest.mark.parametrize(
    ("header", "line", "message", "hint"),
    [
        ("docs: x\ndepend: cmake", 3, "unknown key `depend`", "did you mean `depends`?"),
        ("zzzz: 1", 2, "unknown key `zzzz`", "known keys: alias"),
        ("name: [a]", 2, "`name` must be a name", ""),
        ("name: 'a b'", 2, "`name` must be a name", ""),
        ("docs: [[a]]", 2, "`docs` must be text or a list of texts", ""),
        ("group: [[a]]", 2, "`group` must be text or a list of texts", ""),
        ("docs: x\ndepends:\n  - a\n  - b: c", 5, "`depends` must be a package or a list", ""),
        ("depends: [[a]]", 2, "`depends` must be a package or a list", ""),
        ("depends: ['a b']", 2, "`a b` is not a package name", ""),
        ("depends: ['a>=x']", 2, "`>=x` is not a valid version specifier (PEP 440)", ""),
        ("requires: nonsense", 2, "`nonsense` is not a valid `requires` rule", ""),
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
        ("docs: x\n\tname: y", 3, "broken YAML", "there is a tab: YAML is indented with blanks"),
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
        (
            "versions:\n  - version: 1\n    requires:\n      - '>=r36'\n      - bad",
            5,
            "`bad` is not a valid `requires` rule",
        ),
        ("versions:\n  - default: true", 2, "must be a mapping with a `version`"),
        ("versions:\n  - 1.0", 2, "must be a mapping with a `version`"),
        ("versions: {a: b}", 1, "`versions` must be a list"),
        ("platforms:\n  - depends: a", 2, "must be a mapping with a `requires`"),
        ("platforms:\n  - requires: cpu\n    version: 1", 3, "unknown key `version`"),
        (
            "platforms:\n  - requires: cpu\n  - requires: [cpu]",
            3,
            "two rows are for the same platforms, first on line 2",
        ),
        ("versions:\n  - version: 1\nplatforms:\n  - requires: cpu", 3, "rows of a package without versions"),
        (
            "versions:\n  - version: 1\n  - version: 1",
            3,
            "version `1` is given twice for the same platforms, first on line 2",
        ),
        ("versions:\n  - version: 1\n    default: maybe", 3, "`maybe` is not a valid `requires` rule"),
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
