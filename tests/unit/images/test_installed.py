"""What is installed in an image, read from files that anybody may have written."""

from __future__ import annotations

import pytest

from jetson_containers.core.errors import NotReadyError
from jetson_containers.images import installed
from jetson_containers.images.installed import Installed, contents_of, wanted

STATUS = b"""Package: libc6
Status: install ok installed
Architecture: arm64
Version: 2.35-0ubuntu3.8
Description: a library
 with more lines

Package: gone
Status: deinstall ok config-files
Version: 1

Package: held
Status: hold ok installed
Architecture: all
Version: 1:2.0+dfsg-1~b1
"""


@pytest.mark.parametrize(
    ("path", "is_wanted"),
    [
        ("var/lib/dpkg/status", True),
        ("var/lib/dpkg/status.d/base", True),
        ("var/lib/dpkg/status-old", False),
        ("opt/venv/lib/python3.10/site-packages/numpy-2.2.6.dist-info/METADATA", True),
        ("opt/venv/lib/python3.10/site-packages/numpy-2.2.6.dist-info/RECORD", False),
        ("usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO", True),
        ("usr/lib/node_modules/npm/package.json", True),
        ("usr/lib/node_modules/npm/node_modules/@npmcli/fs/package.json", True),
        ("usr/lib/node_modules/npm/lib/package.json", False),
        ("usr/lib/os-release", True),
    ],
)
def test_installed_files_are_those_of_the_three_package_managers(path: str, is_wanted: bool) -> None:
    """Only files that say what is installed are read."""
    assert wanted(path) == is_wanted


def test_installed_packages_of_all_kinds_are_found() -> None:
    """Debian's installed ones without the removed, Python's by their one name, Node's with their scope."""
    contents = contents_of(
        [
            ("usr/lib/os-release", b'ID=ubuntu\nVERSION_ID="22.04"\n'),
            ("var/lib/dpkg/status", STATUS),
            (
                "a/Huge_Thing-1.dist-info/METADATA",
                b"Metadata-Version: 2.1\nName: Huge_Thing.X\nVersion: 1.0+cu126\n\nName: body\n",
            ),
            ("node_modules/@a/b/package.json", b'{"name": "@a/b", "version": "3.0.0"}'),
        ]
    )
    assert (contents.distro, contents.release) == ("ubuntu", "22.04")
    assert [(one.kind, one.name, one.version, one.arch) for one in contents.packages] == [
        ("deb", "held", "1:2.0+dfsg-1~b1", "all"),
        ("deb", "libc6", "2.35-0ubuntu3.8", "arm64"),
        ("npm", "@a/b", "3.0.0", ""),
        ("pypi", "huge-thing-x", "1.0+cu126", ""),
    ]


def test_installed_package_in_two_places_is_listed_once() -> None:
    """The same version in two environments is one package; another version is another."""
    files = [
        (f"{place}/x.dist-info/METADATA", b"Name: x\nVersion: %d\n" % version)
        for place, version in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert contents_of(files).packages == (
        Installed(kind="pypi", name="x", version="1", place="a/x.dist-info/METADATA"),
        Installed(kind="pypi", name="x", version="2", place="c/x.dist-info/METADATA"),
    )


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("node_modules/x/package.json", b"["),
        ("node_modules/x/package.json", b'{"name": 1, "version": "1"}'),
        ("node_modules/x/package.json", b'{"name": "a b", "version": "1"}'),
        ("node_modules/x/package.json", b"[" * 100_000),
        ("node_modules/x/package.json", b'"text"'),
        ("x.dist-info/METADATA", b"\xff\xfe\0"),
        ("x.dist-info/METADATA", b"Name: " + b"x" * 100_000 + b"\nVersion: 1\n"),
        ("x.dist-info/METADATA", b"Name: \x1b[31mred\nVersion: 1\n"),
        ("var/lib/dpkg/status", b"Package: a\n\n\n\nVersion: 1"),
        ("var/lib/dpkg/status", b""),
        ("etc/os-release", b"ID=\x1b[31m\nVERSION_ID"),
    ],
)
def test_installed_nonsense_is_left_out(path: str, content: bytes) -> None:
    """Files of an image are foreign data: what has no name and version in the form of its kind is left out."""
    contents = contents_of([(path, content)])
    assert (contents.packages, contents.distro) == ((), "")


def test_lists_of_more_packages_than_images_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one file or in many: an image of 10 million entries would take memory and time without end."""
    monkeypatch.setattr(installed, "MOST", 3)
    listed = b"Package: a\nVersion: 1"
    assert len(installed.contents_of([("var/lib/dpkg/status", b"\n\n".join([listed] * 3))]).packages) == 1
    with pytest.raises(NotReadyError, match="more than 3 packages"):
        installed.contents_of([("var/lib/dpkg/status", b"\n\n".join([listed] * 4))])
    with pytest.raises(NotReadyError, match="more than 3 packages"):
        installed.contents_of([(f"var/lib/dpkg/status.d/{number}", listed) for number in range(4)])
