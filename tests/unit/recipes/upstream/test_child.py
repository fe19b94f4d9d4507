"""What a `config.py` meets when it is run: what it may import and read, and that no recipe is another's business.

All recipes of a table stand in one tree, so that the one child process is started once.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jetson_containers
from jetson_containers.recipes import isolation
from jetson_containers.recipes.catalog import Catalog, load
from jetson_containers.recipes.upstream import config_py
from tests.unit.treemaker import ORIN, PC_CPU, THOR, write

if TYPE_CHECKING:
    from jetson_containers.platforms.platform import Platform

VALUES = [
    "L4T_VERSION",
    "JETPACK_VERSION",
    "CUDA_VERSION",
    "CUDA_SHORT_VERSION",
    "PYTHON_VERSION",
    "PYTHON_FREE_THREADING",
    "CUDA_ARCHITECTURES",
    "CUDA_ARCH",
    "SYSTEM_ARCH",
    "DOCKER_ARCH",
    "SYSTEM_ARM",
    "SYSTEM_X86",
    "IS_TEGRA",
    "IS_SBSA",
    "LSB_RELEASE",
    "LSB_RELEASES",
    "LSB_CODENAME",
]
HELPERS = [
    "update_dependencies",
    "package_depends",
    "package_requires",
    "find_package",
    "find_packages",
    "github_latest_commit",
    "github_latest_tag",
    "handle_json_request",
    "handle_text_request",
    "get_json_value_from_url",
    "nv_tegra_release",
    "cuda_short_version",
    "get_cuda_arch",
    "log_debug",
    "log_info",
    "log_status",
    "log_success",
    "log_verbose",
    "log_warning",
    "log_error",
]

# What a recipe is, and what it puts into `docs`, or what is wrong with it.
FINE = {
    "standard-library": (
        ("import argparse, asyncio, collections, concurrent.futures, copy, ctypes, dataclasses, datetime, fnmatch\n"
        "import functools, getpass, glob, hashlib, importlib, inspect, json, logging, math, multiprocessing\n"
        "import os, pathlib, platform, pprint, random, re, shlex, shutil, socket, ssl, string, subprocess, sys\n"
        "import tempfile, textwrap, threading, time, traceback, typing, urllib.request, uuid\n"
        "say('fine')"),
        "fine",
    ),
    "libraries": ("import packaging.version, requests, yaml\nsay(packaging.version.Version('1.10').minor)", "10"),
    "every-value": (f"from jetson_containers import {', '.join(VALUES)}\nsay(LSB_CODENAME)", "jammy"),
    "every-helper": (f"from jetson_containers import {', '.join(HELPERS)}\nsay(callable(log_error))", "True"),
    "modules": (
        ("from jetson_containers.l4t_version import L4T_VERSION\nfrom jetson_containers.packages import find_package\n"
        "from jetson_containers.utils import log_info\nfrom jetson_containers.pypi_utils import get_latest_version\n"
        "from jetson_containers.network import github_api\nfrom jetson_containers import pypi_utils\n"
        "import jetson_containers.container as container\nsay(pypi_utils.get_latest_version is get_latest_version)"),
        "True",
    ),
    "star": ("from jetson_containers import *\nsay((L4T_VERSION.major, package_requires(package, '>=34') is package))",
             "(36, True)"),
    "standard-modules-handed-on": (
        "from jetson_containers import logging, os, re\nlogging.getLogger('x').info('x')\nsay(os.path.sep)",
        "/",
    ),
    "tegra-release": (
        "from jetson_containers import nv_tegra_release\nsay(nv_tegra_release(dst='a/b').partition(', EABI')[0])",
        "# R36 (release), REVISION: 4.3, GCID: 0, BOARD: generic",
    ),
    "upstreams-getters": (
        ("from jetson_containers import *\nfrom jetson_containers.l4t_version import get_l4t_version\n"
        "say((str(get_l4t_version()), str(get_cuda_version()), get_lsb_release(), str(get_python_version())))"),
        "('36.4.3', '12.6', '22.04', '3.10')",
    ),
    "helper-that-finds-nothing": (
        ("from jetson_containers import handle_text_request\n"
        "from jetson_containers.pypi_utils import get_latest_version\n"
        "say((handle_text_request('https://example.com') or 'old', get_latest_version('numpy')))"),
        "('old', None)",
    ),
    "helper-that-raises": (
        ("from jetson_containers import github_latest_tag\ntry:\n    say(github_latest_tag('a/b'))\n"
        "except RuntimeError:\n    say('v1')"),
        "v1",
    ),
    # waiting, whose time nobody has
    "waits-asleep": ("import time\nfor _ in range(5): time.sleep(600)\nsay('awake')", "awake"),
    "waits-by-its-own-import": ("from time import sleep, time\nt = time()\nsleep(600)\nsay(time() - t >= 600)", "True"),
    "waits-for-an-event": ("import threading\nsay(threading.Event().wait(600))", "False"),
    "waits-for-a-lock": ("import threading\nc = threading.Condition()\nwith c: say(c.wait_for(lambda: False, 600))",
                         "False"),
    "waits-for-a-queue": ("import queue\ntry: queue.Queue().get(timeout=600)\nexcept queue.Empty: say('empty')",
                          "empty"),
    "waits-by-select": ("import select\nsay(select.select([], [], [], 600))", "([], [], [])"),
    "waits-until-a-deadline": (
        ("import time\nend, n = time.monotonic() + 3600, 0\nwhile time.monotonic() < end:\n    time.sleep(10)\n"
        "    n += 1\nsay(n)"),
        "360",
    ),
    "waits-in-a-loop-of-events": (
        ("import asyncio\nasync def slow(): await asyncio.sleep(900)\nasync def both():\n    try:\n"
        "        await asyncio.wait_for(slow(), 300)\n    except asyncio.TimeoutError:\n        return 'late'\n"
        "say(asyncio.run(both()))"),
        "late",
    ),
    "waits-in-threads": (
        ("import concurrent.futures as cf, time\ndef work(n):\n    for _ in range(3): time.sleep(60)\n    return n\n"
        "with cf.ThreadPoolExecutor(4) as pool: say(list(pool.map(work, range(8), timeout=900)))"),
        "[0, 1, 2, 3, 4, 5, 6, 7]",
    ),
    "sleeps-no-negative-time": ("import time\ntry: time.sleep(-1)\nexcept ValueError as e: say(e)",
                                "sleep length must be non-negative"),
    "machine": ("import os, platform\nsay(f'{os.uname().machine} {platform.machine()} {platform.uname().machine}')",
                "aarch64 aarch64 aarch64"),
    "its-own-directory": ("say(open('VERSION').read() + (__import__('os').listdir('.') and '!'))", "7!"),
    "relative-imports": (
        ("from .version import V\nfrom ..star.more import M\nfrom packages.g.star import more\n"
        "import packages.g.star.more as again\nsay(f'{V} {M} {more.M} {again.M}')"),
        "v m m m",
    ),
    "dir.with.dots": ("from .version import V\nfrom ..star.more import M\nsay(V + M)", "dm"),
    "imports-a-recipe": ("from packages.g.star.config import package as other\nsay(other['name'])", "star"),
    "path-hack-a": ("import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nimport local\nsay(local.WHO)", "a"),
    "path-hack-b": ("import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\nimport local\nsay(local.WHO)", "b"),
    "spoils-1": (
        ("import os, sys, jetson_containers\nfrom packages.g.star import more\nmore.M = 'spoilt'\nos.chdir('/')\n"
        "os.environ['SPOILT'] = '1'\njetson_containers.CUDA_ARCHITECTURES.append(999)\n"
        "jetson_containers.LSB_RELEASES.clear()\njetson_containers.L4T_VERSION = None\nos.environ = {}\n"
        "say('')\nsys.path.clear()\ndel sys.meta_path[0]"),
        "",
    ),
    "spoils-2": (
        ("import os\nfrom jetson_containers import *\nfrom packages.g.star.more import M\n"
        "say(f\"{M} {os.environ.get('SPOILT')} {CUDA_ARCHITECTURES} {len(LSB_RELEASES)} {L4T_VERSION} \"\n"
        "    f'{os.path.basename(os.getcwd())}')"),
        "m None [87] 6 36.4.3 spoils-2",
    ),
    "a-thread-that-stays": ("import threading\nthreading.Timer(900, print).start()\nsay('')", ""),
    "network-handled": (
        ("import requests\ntry:\n    requests.get('https://example.com', timeout=60)\n"
        "except requests.ConnectionError:\n    say('offline')"),
        "offline",
    ),
    "withstands-a-bare-except": (
        ("from jetson_containers import find_package\ntry:\n    found = find_package('zz-last')['docs']\n"
        "except:\n    found = '?'\nsay(found)"),
        "seen",
    ),
    "zz-last": ("say('seen')", "seen"),
}  # fmt: skip
BROKEN = {
    "a-broken-exception": ("class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E", 4, "E"),
    "contains-itself": ("package['docs'] = package", None, "RecursionError"),
    "list-of-itself": ("package = []\npackage.append(package)", None, "RecursionError"),
    "generator": ("package = (dict(package, name=n) for n in 'ab')", None, "there is a generator in it"),
    "reads-the-terminal": ("input()", 1, "EOFError"),
    "by-ctypes": ("import ctypes\nctypes.CDLL(None).system(b'true')", 2, "may not run or write anything"),
    "by-a-log-file": ("import logging\nlogging.basicConfig(filename='x.log')", 2, "may not run or write anything"),
    "by-a-database": ("import sqlite3\nsqlite3.connect('x.db')", 2, "may not run or write anything"),
    "by-touching": ("import pathlib\npathlib.Path(__file__).touch()", 2, "may not run or write anything"),
    "by-a-temporary-file": ("import tempfile\ntempfile.mkdtemp()", 2, "(recipes cannot have a temporary file in `/"),
    "by-popen": ("import os\nos.popen('uname -m').read()", 2, "may not run or write anything"),
    "by-releases": ("from jetson_containers import nv_tegra_release\nnv_tegra_release(dst='../x')", 2,
                    "writing `../x`"),
    "by-a-socket-file": ("import socket\nsocket.socket(socket.AF_UNIX).connect('/run/x')", 2, "no network while"),
    "no-such-module": ("import not_installed_anywhere", 1, "No module named 'not_installed_anywhere'"),
    "no-such-neighbour": ("\nfrom packages.ml.pytorch.version import X", 2, "No module named 'packages.ml'"),
    "no-such-version": ("from .version import X", 1, "No module named"),
}  # fmt: skip
BESIDE = {
    "g/its-own-directory/VERSION": "7",
    "g/relative-imports/version.py": "V = 'v'",
    "g/dir.with.dots/version.py": "V = 'd'",
    "g/star/more.py": "M = 'm'",
    "g/path-hack-a/local.py": "WHO = 'a'",
    "g/path-hack-b/local.py": "WHO = 'b'",
}


def recipe(code: str) -> str:
    """The code after a first line that gives it `say`; lines stay what they are."""
    return f"say = lambda text: package.update(docs=str(text)); {code}" if not code.startswith("\n") else code


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    files = dict(BESIDE)
    for name, (code, *_) in (*FINE.items(), *BROKEN.items()):
        is_block = code.startswith(("class", "def", "try", "from __future__"))
        files[f"g/{name}/config.py"] = code if is_block else recipe(code)
    return load([write(tmp_path_factory.mktemp("child") / "packages", files)], ORIN)


@pytest.mark.parametrize("name", FINE)
def test_config_py_gets_what_it_expects(tree: Catalog, name: str) -> None:
    """A recipe gets what it expects."""
    assert [str(error) for error in tree.broken if error.path.parent.name == name] == []
    assert tree.available[name].docs == FINE[name][1]


@pytest.mark.parametrize("name", BROKEN)
def test_config_py_that_fails_says_where_and_fails_alone(tree: Catalog, name: str) -> None:
    """A recipe that fails says where, and fails alone."""
    _, line, reason = BROKEN[name]
    (error,) = [error for error in tree.broken if error.path.parent.name == name]
    assert error.line == line
    assert reason in error.message
    assert {path.name for path in error.path.parent.iterdir()} == {"config.py"}


def test_refused_request_gets_a_notice_even_if_the_recipe_goes_on(tree: Catalog) -> None:
    """What was asked for and refused gets a notice, even if the recipe goes on."""
    (notice,) = [text for text in tree.notices if "network-handled" in text]
    assert "config.py:3: asked for the network (a name look-up `example.com`)" in notice


def test_threads_of_a_config_py_are_not_waited_for(tmp_path: Path) -> None:
    """The threads of a recipe are not waited for."""
    folder = write(tmp_path, {"foo/config.py": "import threading\nthreading.Timer(99, print).start()"}) / "foo"
    job = config_py.ConfigPyJob(
        directory=folder,
        module="packages.foo",
        base={"name": "foo", "path": "/"},
        steps=[("python", folder / "config.py")],
    )
    started = time.monotonic()
    (answer,) = config_py.run([job], [tmp_path], ORIN, seconds=300).answers
    assert answer.definitions
    assert time.monotonic() - started < 300


def test_config_py_gives_the_same_each_time(tmp_path: Path) -> None:
    """The same tree gives the same each time."""
    code = "package['depends'] = list({'a', 'b', 'c', 'd', 'e', 'f', 'g'})\npackage['alias'] = {'x', 'y', 'z'}"
    root = write(tmp_path, {"g/foo/config.py": code})
    first, second = (load([root], ORIN).available["foo"] for _ in range(2))
    assert first == second


def test_modules_of_the_child_hide_none_of_python() -> None:
    """The child is a script beside them: where Python has no safe path (3.10), their directory is searched first."""
    ours = {file.stem for file in Path(jetson_containers.__file__).parent.glob("*.py")}
    assert ours & sys.stdlib_module_names == set()


@pytest.mark.parametrize(
    ("where", "environ", "seen"),
    [
        (ORIN, {}, "None None None None None None"),
        (ORIN, {"CUDA_VERSION": "12.4", "L4T_VERSION": "r35.1", "SYSTEM_ARCH": "tegra-aarch64"},
         "12.6 36.4.3 None None aarch64 None"),
        (ORIN, {"PYTHON_VERSION": "3.10t", "LSB_RELEASE": "24.04"}, "None None 3.10t 22.04 None None"),
        (THOR, {"PYTHON_VERSION": "3.10", "CUDA_ARCH": "tegra-aarch64"}, "None None 3.12 None None aarch64"),
        (PC_CPU, {"CUDA_VERSION": ""}, " None None None None None"),
    ],
)  # fmt: skip
def test_target_variables_say_what_was_chosen(
    tmp_path: Path, where: Platform, environ: dict[str, str], seen: str
) -> None:
    """Variables that choose a target say what was chosen."""
    names = ["CUDA_VERSION", "L4T_VERSION", "PYTHON_VERSION", "LSB_RELEASE", "SYSTEM_ARCH", "CUDA_ARCH"]
    code = f"import os\npackage['docs'] = ' '.join(str(os.environ.get(name)) for name in {names})"
    folder = write(tmp_path, {"foo/config.py": code}) / "foo"
    job = config_py.ConfigPyJob(
        directory=folder,
        module="packages.foo",
        base={"name": "foo", "path": "/"},
        steps=[("python", folder / "config.py")],
    )
    (answer,) = config_py.run([job], [tmp_path], where, environ=environ).answers
    assert answer.definitions[0]["docs"] == seen


# --- what the answer depends on


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("open('{root}/elsewhere/data.txt').read()", "elsewhere/data.txt"),
        ("open('data.txt').read()", "tree/g/foo/data.txt"),
        ("__import__('packages.g.lib.values', fromlist=['V']).V", "tree/g/lib/values.py"),
        ("'' if __import__('importlib.util').util.find_spec('packages.g.lib.later') else 'not there'",
         "tree/g/lib/later.py"),
        ("str(sorted(__import__('os').listdir('{root}/elsewhere')))", "elsewhere/another"),
        (("(open('{root}/elsewhere/none').read() if __import__('os').path.exists('{root}/elsewhere/none') else\n"
         "  str(__import__('glob').glob('{root}/elsewhere/*')))"), "elsewhere/none"),
    ],
)  # fmt: skip
def test_warm_start_sees_a_change_of_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, change: str
) -> None:
    """A change of what was read is seen by a warm start; files elsewhere are read without a sandbox only."""
    if change.startswith("elsewhere"):
        monkeypatch.setenv(isolation.OFF, "1")
    files = {
        "tree/g/foo/config.py": f"package['docs'] = {code}".replace("{root}", str(tmp_path)),
        "tree/g/foo/data.txt": "1", "tree/g/lib/values.py": "V = '1'", "elsewhere/data.txt": "1",
    }  # fmt: skip
    write(tmp_path, files)
    cache = tmp_path / "cache"
    before = load([tmp_path / "tree"], ORIN, cache=cache).available["foo"].docs
    (tmp_path / change).write_text("V = '2'" if change.endswith(".py") else "2")
    assert load([tmp_path / "tree"], ORIN, cache=cache).available["foo"].docs != before


def test_shared_file_of_the_tree_is_part_of_the_definition(tmp_path: Path) -> None:
    """A shared file of the tree is part of the definition."""
    files = {"tree/g/foo/Dockerfile": "config: ../../common.yaml", "tree/common.yaml": "notes: one"}
    tree = write(tmp_path, files) / "tree"
    assert load([tree], ORIN, cache=tmp_path / "cache").available["foo"].notes == "one"
    (tree / "common.yaml").write_text("notes: two")
    assert load([tree], ORIN, cache=tmp_path / "cache").available["foo"].notes == "two"


def test_warm_start_with_the_same_content_starts_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same content starts no child, whatever the times are."""
    code = "from packages.lib.version import V\npackage['docs'] = V + open('data.txt').read()"
    files = {"g/foo/config.py": code, "g/foo/data.txt": "!", "lib/version.py": "V = 'one'"}
    tree = write(tmp_path / "tree", files)
    first = load([tree], ORIN, cache=tmp_path / "cache").available
    for file in tree.rglob("*.*"):
        os.utime(file, (1, 1))
    monkeypatch.setattr(config_py, "run", lambda *_, **__: pytest.fail("a child was started"))
    assert load([tree], ORIN, cache=tmp_path / "cache").available == first


def test_imports_in_a_part_of_a_tree_find_modules_of_the_rest(tmp_path: Path) -> None:
    """A part of a tree finds the modules of the rest."""
    code = "from packages.ml.torch.version import V\npackage['docs'] = V"
    tree = write(tmp_path / "packages", {"llm/foo/config.py": code, "ml/torch/version.py": "V = '2.6'"})
    assert load([tree / "llm"], ORIN).available["foo"].docs == "2.6"


def test_imports_above_a_directory_with_dots_are_found(tmp_path: Path) -> None:
    """Modules above a directory with dots are found."""
    files = {"g/a.b/foo/config.py": "from ..base import B\npackage['docs'] = B", "g/a.b/base.py": "B = 'b'"}
    assert load([write(tmp_path, files)], ORIN).available["foo"].docs == "b"


def test_imports_that_are_relative_stay_in_the_tree_of_the_recipe(tmp_path: Path) -> None:
    """Relative imports are of the recipe's own tree."""
    code = "from .version import V\npackage['name'] = V"
    trees = [write(tmp_path / name, {"g/foo/config.py": code, "g/foo/version.py": f"V = '{name}'"}) for name in "ab"]
    assert sorted(load(trees, ORIN).available) == ["a", "b"]
