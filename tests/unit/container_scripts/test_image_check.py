"""The check inside images, on files made here: ELF, GPU code, the loader's search, the driver without devices."""

from __future__ import annotations

import ctypes
import json
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.container_scripts import image_check
from jetson_containers.container_scripts.image_check import contents, elf, fatbin, loader, stub

MACHINE = platform.machine()
A, F, PLAIN = 1 << 20, 1 << 21, 0

pytestmark = pytest.mark.skipif(MACHINE not in stub.MACHINES, reason="cannot run here: neither x86_64 nor aarch64")


def linked(path: Path, *, needed: tuple[str, ...] = (), rpath: str = "", runpath: str = "", soname: str = "") -> Path:
    """A library with these entries in its dynamic section and nothing else."""
    texts = [*((elf.NEEDED, name) for name in needed), (elf.RPATH, rpath), (elf.RUNPATH, runpath), (elf.SONAME, soname)]
    strings, entries = b"\0", b""
    for tag, text in texts:
        if text:
            entries += struct.pack("<QQ", tag, len(strings))
            strings += text.encode() + b"\0"
    entries += bytes(16)
    names = b"\0.dynamic\0.dynstr\0"
    at = 64 + 3 * 64
    places = [at, at + len(entries), at + len(entries) + len(strings)]
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, elf.DYNAMIC, 0, 0, places[0], len(entries), 2, 0, 8, 16)
    sections += struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, places[1], len(strings), 0, 0, 1, 0)
    head = elf.MAGIC + b"\x01".ljust(10, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 3, stub.MACHINES[MACHINE][0], 1, 0, 0, 64, 0, 64, 0, 0, 64, 3, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + sections + entries + strings + names)
    return path


def entry(kind: int, architecture: int, flags: int = PLAIN, data: bytes = b"\0" * 24) -> bytes:
    """One entry of a container of GPU code."""
    head = struct.pack("<HHIQ", kind, 0x101, 64, len(data)).ljust(28, b"\0") + struct.pack("<I", architecture)
    return head.ljust(40, b"\0") + struct.pack("<QQQ", flags | 0x11, 0, 0) + data


def container(*entries: bytes) -> bytes:
    """A container of GPU code."""
    body = b"".join(entries)
    return struct.pack("<IHHQ", fatbin.MAGIC, 1, 16, len(body)) + body


def with_gpu_code(path: Path, code: bytes) -> Path:
    """A library with nothing but a section of GPU code and the names of its sections."""
    names = b"\0.nv_fatbin\0"
    at = 64 + 3 * 64
    head = elf.MAGIC + b"\x01".ljust(10, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 3, stub.MACHINES[MACHINE][0], 1, 0, 0, 64, 0, 64, 0, 0, 64, 3, 2)
    sections = bytes(64) + struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, at, len(code), 0, 0, 8, 0)
    sections += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at + len(code), len(names), 0, 0, 1, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + sections + code + names)
    return path


def test_elf_reads_what_the_running_python_is_linked_against() -> None:
    """The interpreter of this test is a program that needs the C library, or is the static kind that needs nothing."""
    read = elf.read(str(Path(sys.executable).resolve()))
    assert read is not None
    assert read.machine == MACHINE
    assert read.program
    listed = subprocess.run(["ldd", read.path], capture_output=True, text=True, check=False).stdout
    assert all(name in listed for name in read.needed)


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(60), b"\x7fELF\x02\x01" + bytes(10)]
)
def test_elf_read_takes_other_files_for_none(tmp_path: Path, content: bytes) -> None:
    """A script, an empty, a 32-bit and a cut file are no linked files of this kind."""
    (tmp_path / "file").write_bytes(content)
    assert elf.read(str(tmp_path / "file")) is None


@given(position=st.integers(0, 400), value=st.integers(0, 255))
def test_elf_read_survives_any_damaged_byte(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    """A library with one byte changed is read or refused, and never raises anything else."""
    path = tmp_path_factory.getbasetemp() / "damaged.so"
    content = bytearray(linked(path, needed=("liba.so",), runpath="$ORIGIN").read_bytes())
    content[position % len(content)] = value
    path.write_bytes(content)
    found = elf.read(str(path))
    assert found is None or found.path == str(path)


def test_fatbin_architectures_tells_code_from_ptx_and_their_kinds(tmp_path: Path) -> None:
    """Machine code and PTX of several containers, with zeros between them, by the names that nvcc uses."""
    first = container(entry(fatbin.CODE, 87), entry(fatbin.CODE, 90, A), entry(fatbin.CODE, 100, F))
    content = b"before--" + first + bytes(16) + container(entry(fatbin.CODE, 110), entry(fatbin.PTX, 110))
    (tmp_path / "file").write_bytes(content)
    found = fatbin.architectures(str(tmp_path / "file"), [(8, len(content) - 8)])
    assert found == ({"87", "90a", "100f", "110"}, {"110"})


@given(st.binary(max_size=300))
def test_fatbin_architectures_survives_any_content(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever stands in the section, reading it ends."""
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(container(entry(fatbin.CODE, 87)) + content)
    code, ptx = fatbin.architectures(str(path), [(0, path.stat().st_size)])
    assert "87" in code
    assert all(name.rstrip("af").isdigit() for name in code | ptx)


def names(found: list[elf.Elf]) -> list[str]:
    return [Path(file.path).name for file in found]


def test_loader_finds_libraries_beside_a_file_only_by_its_search_path(tmp_path: Path) -> None:
    """A copied library whose search path is that of a deleted build tree does not find its neighbour."""
    linked(tmp_path / "libpart.so")
    right = elf.Elf(str(linked(tmp_path / "libright.so", needed=("libpart.so",), runpath="$ORIGIN")))
    wrong = elf.Elf(str(linked(tmp_path / "libwrong.so", needed=("libpart.so",), runpath="/build/tree")))
    found, missing = loader.Loader(MACHINE, conf="/none").load(right)
    assert (names(found), missing) == (["libpart.so"], [])
    assert loader.Loader(MACHINE, conf="/none").load(wrong)[1] == [(wrong.path, "libpart.so")]


def test_loader_hands_rpath_down_and_runpath_not(tmp_path: Path) -> None:
    """A library of a library is found by the RPATH of the first, not by its RUNPATH (ld.so(8))."""
    linked(tmp_path / "lib" / "libmiddle.so", needed=("libend.so",))
    linked(tmp_path / "lib" / "libend.so")
    old = elf.Elf(str(linked(tmp_path / "old.so", needed=("libmiddle.so",), rpath="$ORIGIN/lib")))
    new = elf.Elf(str(linked(tmp_path / "new.so", needed=("libmiddle.so",), runpath="${ORIGIN}/lib")))
    search = loader.Loader(MACHINE, conf="/none")
    assert names(search.load(old)[0]) == ["libmiddle.so", "libend.so"]
    assert [name for _, name in search.load(new)[1]] == ["libend.so"]


def test_loader_uses_configured_directories_and_the_environment(tmp_path: Path) -> None:
    """ld.so.conf with what it includes, and LD_LIBRARY_PATH; a library that is loaded already is not looked for."""
    linked(tmp_path / "a" / "liba.so")
    linked(tmp_path / "b" / "libb.so")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.conf").write_text(f"# where a is\n{tmp_path}/a\n")
    (tmp_path / "ld.so.conf").write_text("include conf.d/*.conf\ninclude ld.so.conf\n")
    user = elf.Elf(str(linked(tmp_path / "user.so", needed=("liba.so", "libb.so", "libthere.so"))))
    search = loader.Loader(MACHINE, path=f"{tmp_path}/b", conf=str(tmp_path / "ld.so.conf"))
    found, missing = search.load(user, loaded=["libthere.so"])
    assert (names(found), missing) == (["liba.so", "libb.so"], [])


@pytest.mark.parametrize(
    ("name", "of_driver"),
    [
        ("libcuda.so.1", True),
        ("libnvidia-ml.so.1", True),
        ("libnvidia-ptxjitcompiler.so.580.65", True),
        ("libnvrm_gpu.so", True),
        ("libnvbufsurface.so.1.0.0", True),
        ("libcudla.so.1", True),
        ("libcudart.so.13", False),
        ("libnvrtc.so.12", False),
        ("libnvinfer.so.10", False),
        ("libnvJitLink.so.12", False),
        ("libnvToolsExt.so.1", False),
        ("libfpA_intB_gemm.so", False),
    ],
)
def test_loader_knows_the_libraries_of_the_driver(name: str, *, of_driver: bool) -> None:
    """What the host's driver brings may be missing in an image; what the toolkit brings may not."""
    assert bool(loader.DRIVER.fullmatch(name)) is of_driver


def test_stub_library_is_loaded_and_says_that_there_is_no_device(tmp_path: Path) -> None:
    """A driver made without a compiler: every function answers CUDA_ERROR_NO_DEVICE, and no other function is there."""
    path = tmp_path / "libcuda.so.1"
    path.write_bytes(stub.library("libcuda.so.1", ["cuInit", "cuDeviceGet", "cuInit"], MACHINE))
    driver = ctypes.CDLL(str(path))
    assert (driver.cuInit(0), driver.cuDeviceGet()) == (100, 100)
    assert not hasattr(driver, "cuMemAlloc")


@pytest.mark.skipif(not shutil.which("gcc"), reason="no C compiler here")
@pytest.mark.parametrize(("function", "links"), [("cuInit", True), ("cuMemAlloc", False)])
def test_stub_library_is_what_a_linker_links_against(tmp_path: Path, function: str, *, links: bool) -> None:
    """A program is linked against the stub by the functions that are in it, and loads the driver by its name."""
    (tmp_path / "libcuda.so").write_bytes(stub.library("libcuda.so.1", ["cuDeviceGet", "cuInit"], MACHINE))
    source, program = tmp_path / "main.c", tmp_path / "main"
    source.write_text(f"int {function}(int); int main() {{ return {function}(0) != 100; }}\n")
    done = subprocess.run(["gcc", source, "-o", program, f"-L{tmp_path}", "-lcuda"], capture_output=True, check=False)
    assert (done.returncode == 0) is links
    if links:
        (tmp_path / "libcuda.so.1").symlink_to("libcuda.so")
        assert subprocess.run([program], env={"LD_LIBRARY_PATH": str(tmp_path)}, check=False).returncode == 0


def run(*arguments: str, cwd: Path) -> dict[str, object]:
    package = Path(image_check.__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", package.name, *arguments],
        cwd=package.parent,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(cwd), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_image_check_names_what_is_missing_and_imports_what_wants_the_driver(tmp_path: Path) -> None:
    """Files of three Python packages: one whole, one whose import loads what it needs, one that is broken."""
    tree = tmp_path / "lib" / "python3" / "site-packages"
    for name in ("whole", "late", "broken"):
        (tree / name).mkdir(parents=True)
        (tree / name / "__init__.py").write_text("")
    linked(tree / "whole" / "libx.so", needed=("libcuda.so.1",))
    linked(tree / "broken" / "libx.so", needed=("libgone_cuda.so",))
    said = "libgone_cuda.so: cannot open shared object file: No such file or directory"
    (tree / "broken" / "__init__.py").write_text(f"raise ImportError({said!r})")
    part = tree / "late" / "libpart.so"
    part.write_bytes(stub.library("libpart.so", ["part"], MACHINE))
    (tree / "late" / "__init__.py").write_text(f"import ctypes; ctypes.CDLL({str(part)!r}, ctypes.RTLD_GLOBAL)")
    answer = run(str(tmp_path), cwd=tree)
    assert answer["files"] == 3
    assert answer["missing"] == {str(tree / "broken" / "libx.so"): ["libgone_cuda.so"]}
    imports = answer["imports"]
    assert isinstance(imports, dict)
    assert imports["whole"] == {"status": "ok", "said": ""}
    assert imports["broken"]["status"] == "broken"


def test_image_check_leaves_extensions_of_another_python_out(tmp_path: Path) -> None:
    """The tag in a file's name says for which Python it is; the directory's version decides."""
    tree = tmp_path / "lib" / "python3.11" / "site-packages" / "pkg"
    linked(tree / "_c.cpython-310-x86_64-linux-gnu.so", needed=("libgone.so",))
    linked(tree / "_d.cpython-311-x86_64-linux-gnu.so", needed=("libgone.so",))
    answer = run(str(tmp_path), cwd=tmp_path)
    assert answer["missing"] == {str(tree / "_d.cpython-311-x86_64-linux-gnu.so"): ["libgone.so"]}


def test_image_check_sees_gpu_code_among_the_distributions_libraries(tmp_path: Path) -> None:
    """NCCL, as recipes install it; what a package of the distribution brought, and NVIDIA's own, are left out."""
    place, dpkg = tmp_path / "lib", tmp_path / "info"
    code = container(entry(fatbin.CODE, 87))
    for name in ("libnccl.so.2.9.9", "libcudnn_ops.so.9.9.9", "libpackaged.so.1"):
        with_gpu_code(place / name, code)
    (place / "libnccl.so.2").symlink_to("libnccl.so.2.9.9")
    linked(place / "libplain.so.1")
    dpkg.mkdir()
    (dpkg / "packaged:arch.list").write_text("/.\n/usr/lib/libpackaged.so.1\n")
    found = contents.put_beside(str(place), MACHINE, str(dpkg))
    assert names(found) == ["libnccl.so.2.9.9"]
    assert contents.gpu_code(found) == {found[0].path: {"code": ["87"], "ptx": []}}


def test_image_check_takes_no_library_for_foreign_where_no_packages_are_listed(tmp_path: Path) -> None:
    """Without dpkg's lists it is unknown whose a library is."""
    with_gpu_code(tmp_path / "libnccl.so.2", container(entry(fatbin.CODE, 87)))
    assert contents.put_beside(str(tmp_path), MACHINE, str(tmp_path / "info")) == []
