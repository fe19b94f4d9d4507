"""Catalogs of packages for the tests of the resolver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from jetson_containers.recipes.catalog import Absent, Catalog
from jetson_containers.recipes.package import Artifacts
from jetson_containers.recipes.requirement import Dependency
from tests.unit.treemaker import ORIN, package

if TYPE_CHECKING:
    from jetson_containers.recipes.package import Package
    from jetson_containers.resolver.solve import Resolution


def catalog(*packages: Package, absent: tuple[Package, ...] = ()) -> Catalog:
    """A catalog in memory; absent packages are so because of one rule."""
    return Catalog(
        platform=ORIN,
        available={p.name: p for p in sorted(packages, key=lambda p: p.name)},
        absent={p.name: Absent(package=p, reason="CUDA 12.6 does not satisfy `>=cu128`") for p in absent},
    )


def versions(family: str, *names: str, default: str = "", **fields: Any) -> list[Package]:
    """Versions of a family; the default one has the family's name as alias, as `render` gives it."""
    return [
        package(
            f"{family}:{name}",
            *fields.get(f"d{name.replace('.', '_')}", ()),
            default=name == default,
            aliases=(family,) if name == default else (),
            coexist=bool(fields.get("coexist")),
        )
        for name in names
    ]


def names(resolution: Resolution) -> list[str]:
    return [p.name for p in resolution.packages]


CHAIN = catalog(
    package("build-essential"),
    package("python", "build-essential"),
    package("cmake", "python"),
    package("numpy", "python"),
    package("torch", "python", "numpy", "cmake"),
    package("app", "torch", "numpy"),
    package("tool", "cmake"),
    package("unrelated"),
)


PYTORCH = versions("pytorch", "2.6", "2.8", "2.9", default="2.8")
LLVM = versions("llvm", "18", "20", "22", default="22", coexist=True)


def compiled(name: str, *depends: str, needs: tuple[str, ...] = (), **fields: Any) -> Package:
    artifacts = Artifacts("Dockerfile.build", tuple(Dependency.parse(text) for text in needs))
    return package(name, *depends, artifacts=artifacts, **fields)


def closures(resolution: Resolution) -> dict[str, list[str]]:
    return {name: [p.name for p in packages] for name, packages in resolution.build_closures.items()}


@st.composite
def catalogs(draw: st.DrawFn) -> list[Package]:
    """Families f0…f9 with up to three versions; a version depends on families before its own: no cycles."""
    result: list[Package] = []
    for index in range(draw(st.integers(1, 9))):
        tags = draw(st.sampled_from([[""], ["1"], ["1", "2"], ["1", "2", "3"]]))
        default = draw(st.sampled_from(tags))
        for tag in tags:
            depends = [
                f"f{other}" + draw(st.sampled_from(["", "", ":1", ":2", ">=2", "<3", "!=2"]))
                for other in draw(st.lists(st.integers(0, index - 1), unique=True, max_size=4))
            ] if index else []  # fmt: skip
            name = f"f{index}:{tag}" if tag else f"f{index}"
            aliases = (f"f{index}",) if tag and tag == default else ()
            made = compiled if draw(st.booleans()) else package
            result.append(made(name, *depends, default=tag == default, aliases=aliases))
    return result
