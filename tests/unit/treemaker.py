"""Small package trees and platforms for the tests of the pure core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.version import Version

from jetson_containers.platforms.platform import Arch, Platform
from jetson_containers.recipes.package import Dependency, Package

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def platform(
    l4t: str | None = "36.4.3",
    cuda: str | None = "12.6",
    arch: Arch = Arch.TEGRA,
    python: str = "3.10",
    ubuntu: str = "22.04",
    sm: tuple[int, ...] = (87,),
    distro: str = "ubuntu",
) -> Platform:
    """A platform, by default an Orin with JetPack 6.2."""
    return Platform(
        arch=arch,
        l4t=Version(l4t) if l4t else None,
        jetpack="6.2" if l4t == "36.4.3" else None,
        cuda=Version(cuda) if cuda else None,
        driver_cuda=None,
        python=Version(python),
        distro=distro,
        distro_version=ubuntu,
        sm=sm,
    )


ORIN = platform()
XAVIER = platform("35.4.1", "11.4", python="3.8", ubuntu="20.04", sm=(72, 87))
NANO = platform("32.7.4", "10.2", python="3.6", ubuntu="18.04", sm=(53, 62, 72))
THOR = platform("38.2.0", "13.0", Arch.SBSA, python="3.12", ubuntu="24.04", sm=(110,))
SERVER = platform(None, "13.0", Arch.SBSA, python="3.12", ubuntu="24.04", sm=(90, 100))
PC = platform(None, "12.8", Arch.X86_64, python="3.12", ubuntu="24.04", sm=(80, 90, 120))
PC_CPU = platform(None, None, Arch.X86_64, python="3.12", ubuntu="24.04", sm=())
DEBIAN = platform(None, None, Arch.X86_64, python="3.11", ubuntu="12", sm=(), distro="debian")
EVERYWHERE = (ORIN, XAVIER, NANO, THOR, SERVER, PC, PC_CPU, DEBIAN)


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below `root`; a `Dockerfile` whose text does not say FROM gets a header made of the text."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        plain = file.name.startswith("Dockerfile") and "FROM" not in text and "#---" not in text
        file.write_text(dockerfile(text) if plain else text)
    return root


def dockerfile(header: str) -> str:
    """A Dockerfile with a header."""
    lines = "".join(f"# {line}\n" for line in header.splitlines())
    return f"#---\n{lines}#---\nARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n"


def package(name: str, *depends: str, **fields: Any) -> Package:
    """A package as the catalog would hold it: `pytorch:2.8-builder` has family, version and variant."""
    from pathlib import Path

    family, _, tag = name.partition(":")
    version, _, variant = tag.partition("-")
    data: dict[str, Any] = {
        "version": version or None,
        "variant": variant or None,
        "path": Path("/packages") / family,
        "dockerfile": "Dockerfile",
        "default": not tag,
        "origin": f"/packages/{family}/config.yaml:1",
        "depends": tuple(Dependency.parse(text) for text in depends),
        **fields,
    }
    return Package(name=name, family=family, **data)
