"""Writes a package tree in upstream's format: 700 variants that use every form and quirk such trees have.

    python benchmarks/upstream_tree/generate.py DIRECTORY

The names are those of known software so that chains look like real ones; all recipes are made up here. The tree is the
same on every run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

VARIANTS = 700  # defined on a Jetson Orin with JetPack 6.2, some of them not available there

FROM = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN true\n"


def header(**keys: object) -> str:
    """A Dockerfile with a header; values are written as YAML flow."""
    lines = "".join(f"# {key}: {json.dumps(value)}\n" for key, value in keys.items())
    return f"#---\n{lines}#---\n{FROM}"


# A family with a version table: each version and its builder, one default, the form most `config.py` have.
VERSIONED = """from jetson_containers import CUDA_VERSION, L4T_VERSION, package_requires, update_dependencies
from packaging.version import Version

def make(version, depends=None, requires=None, default=False):
    pkg = package.copy()
    pkg['name'] = f'{NAME}:{{version}}'
    pkg['build_args'] = {{'VERSION': version, 'CUDA': CUDA_VERSION, 'JETPACK5': L4T_VERSION.major == 35}}
    if depends:
        pkg['depends'] = update_dependencies(pkg['depends'], depends)
    if requires:
        pkg['requires'] = requires
    builder = pkg.copy()
    builder['name'] = f'{NAME}:{{version}}-builder'
    builder['build_args'] = {{**pkg['build_args'], 'FORCE_BUILD': 'on'}}
    if default:
        pkg['alias'] = ['{NAME}', *{OTHERS}]
        builder['alias'] = ['{NAME}:builder']
    return pkg, builder

package = [
{CALLS}
]
"""


def versioned(name: str, versions: list[tuple[str, str]], default: str, others: tuple[str, ...] = ()) -> str:
    """The `config.py` of a family; each version comes with the further arguments of its call."""
    calls = []
    for version, arguments in versions:
        mark = ", default=True" if version == default else ""
        calls.append(f"    make('{version}'{', ' + arguments if arguments else ''}{mark}),")
    return VERSIONED.format(NAME=name, OTHERS=list(others), CALLS="\n".join(calls))


def foundation() -> dict[str, str]:
    """Headers, flat and nested YAML, JSON, version tables, a file of another name."""
    base = "packages/build"
    return {
        f"{base}/build-essential/Dockerfile": header(name="build-essential", group="build", alias=["gcc"]),
        f"{base}/pip_cache/Dockerfile": header(name="pip_cache", group="build", depends="build-essential"),
        f"{base}/pip_cache/config.py": (
            "from jetson_containers import CUDA_SHORT_VERSION, cuda_short_version\n"
            "package['name'] = f'pip_cache:{cuda_short_version()}'\n"
            "package['alias'] = 'pip_cache'\n"
            "package['build_args'] = {'SHORT': CUDA_SHORT_VERSION}\n"
        ),
        f"{base}/python/Dockerfile": header(name="python", group="build", depends=["build-essential", "pip_cache"]),
        f"{base}/python/version.py": "from jetson_containers import PYTHON_VERSION\nDEFAULT = str(PYTHON_VERSION)\n",
        f"{base}/python/config.py": (
            "from .version import DEFAULT\n"
            "package = [\n"
            "    {**package, 'name': f'python:{v}', 'build_args': {'PYTHON_VERSION': v},\n"
            "     'alias': ['python'] if v == DEFAULT else []}\n"
            "    for v in ('3.8', '3.9', '3.10', '3.11', '3.12', '3.13', '3.14')\n"
            "]\n"
        ),
        f"{base}/cmake/Dockerfile.pip": header(depends=["python"], test="test.sh"),
        f"{base}/cmake/Dockerfile.apt": header(depends=["build-essential"]),
        f"{base}/cmake/test.sh": "cmake --version\n",
        f"{base}/cmake/cmake.yaml": (
            "cmake:apt:\n  dockerfile: Dockerfile.apt\n  group: build\n"
            "cmake:pip:\n  alias: cmake\n  dockerfile: Dockerfile.pip\n"
        ),
        f"{base}/ninja/Dockerfile": header(group="build", depends=["python"]),
        f"{base}/ninja/options.json": json.dumps({"ninja": {"alias": "ninja-build", "notes": "one named definition"}}),
        f"{base}/rust/Dockerfile": header(group="build", depends="build-essential"),
        f"{base}/rust/config.json": json.dumps({"build_args": {"RUST_VERSION": 1.85}, "test": "test.sh"}),
        f"{base}/rust/test.sh": "rustc --version\n",
        f"{base}/llvm/Dockerfile": header(group="build", depends="build-essential", requires=">=34"),
        f"{base}/llvm/config.py": (
            "package = {f'llvm:{v}': {**package, 'alias': ['llvm'] if v == 20 else [],\n"
            "                         'build_args': {'LLVM_VERSION': v}}\n"
            "           for v in range(16, 23)}\n"
        ),
        f"{base}/docker-compose.yml": "services:\n  index: {image: nothing}\n",
        f"{base}/numpy/Dockerfile": header(group="build", depends="python", build_args={}),
        f"{base}/protobuf/Dockerfile": header(group="build", depends=["cmake", "python"]),
        f"{base}/protobuf/config.py": versioned(
            "protobuf", [(f"{major}.{minor}", "") for major in (3, 4, 5) for minor in (20, 21, 25)], "4.25"
        ),
        f"{base}/absent/config.py": "package = None\n",
    }


def cuda() -> dict[str, str]:
    """Tuples, packages on top of another version of their own family, a family without a default version."""
    base = "packages/cuda"
    return {
        f"{base}/cuda/Dockerfile": header(group="cuda", depends=["build-essential", "pip_cache"]),
        f"{base}/cuda/Dockerfile.samples": FROM,
        f"{base}/cuda/config.py": (
            "from jetson_containers import CUDA_VERSION, IS_TEGRA, package_requires\n"
            "from packaging.version import Version\n"
            "def toolkit(version):\n"
            "    pkg = {**package, 'name': f'cuda:{version}', 'build_args': {'CUDA_VERSION': version}}\n"
            "    package_requires(pkg, system_arch='aarch64' if IS_TEGRA else None)\n"
            "    samples = {**pkg, 'name': f'cuda:{version}-samples', 'depends': [f'cuda:{version}', 'cmake'],\n"
            "               'dockerfile': 'Dockerfile.samples'}\n"
            "    if Version(version) == CUDA_VERSION:\n"
            "        pkg['alias'] = 'cuda'\n"
            "        samples['alias'] = 'cuda:samples'\n"
            "    return pkg, samples\n"
            "package = [toolkit(v) for v in ('11.4', '12.2', '12.4', '12.6', '12.8', '12.9', '13.0', '13.2')]\n"
        ),
        f"{base}/cudnn/Dockerfile": header(group="cuda", depends="cuda"),
        f"{base}/cudnn/config.py": versioned(
            "cudnn", [("8.9", "requires='<36'"), ("9.3", "requires='==36.*'"), ("9.8", "requires='>=cu128'")], "9.3"
        ),
        f"{base}/tensorrt/Dockerfile": header(group="cuda", depends=["cudnn", "python"]),
        f"{base}/tensorrt/config.py": versioned("tensorrt", [("8.6", ""), ("10.3", "requires='>=cu126'")], "none"),
        f"{base}/cudastack/config.py": (
            "package = [{'name': f'cudastack:{kind}', 'depends': ['cuda', 'cudnn', *more], 'requires': '>=34'}\n"
            "           for kind, more in (('minimal', []), ('standard', ['tensorrt']),\n"
            "                              ('full', ['tensorrt', 'nccl']))]\n"
        ),
        f"{base}/nccl/Dockerfile": header(group="cuda", depends="cuda"),
        f"{base}/nccl/config.py": versioned("nccl", [("2.22", ""), ("2.26", "")], "2.26"),
    }


TORCH = [(f"2.{minor}", "requires='>=36'" if minor > 4 else "requires='>=35'") for minor in range(14)]


def ml() -> dict[str, str]:
    """Versions that pin each other's versions, variants with more parts, aliases of a whole family."""
    base = "packages/ml"
    return {
        f"{base}/pytorch/Dockerfile": header(group="ml", depends=["cuda", "cudnn", "numpy", "cmake"]),
        f"{base}/pytorch/version.py": (
            "import os\nfrom jetson_containers import L4T_VERSION\n"
            "PYTORCH_VERSION = os.environ.get('PYTORCH_VERSION') or ('2.8' if L4T_VERSION.major >= 36 else '2.2')\n"
        ),
        f"{base}/pytorch/config.py": (
            "from packages.ml.pytorch.version import PYTORCH_VERSION\n"
            + versioned("pytorch", TORCH, "2.8", ("torch",)).replace("if default:", "if version == PYTORCH_VERSION:")
            + "package += [dict(package[i][0], name=f'pytorch:2.{i}-all', alias=[], depends=[f'pytorch:2.{i}',\n"
            "             f'torchvision:0.{i + 15}', f'torchaudio:2.{i}']) for i in range(14)]\n"
        ),
        f"{base}/torchvision/Dockerfile": header(group="ml", depends=["pytorch", "torch"]),
        f"{base}/torchvision/config.py": versioned(
            "torchvision", [(f"0.{i + 15}", f"depends='pytorch:2.{i}'") for i in range(14)], "0.23"
        ),
        f"{base}/torchaudio/Dockerfile": header(group="ml", depends=["pytorch"]),
        f"{base}/torchaudio/config.py": versioned(
            "torchaudio", [(f"2.{i}", f"depends='pytorch:2.{i}'") for i in range(14)], "2.8"
        ),
        f"{base}/triton/Dockerfile": header(group="ml", depends=["pytorch", "llvm:20"]),
        f"{base}/triton/config.py": versioned("triton", [("3.2", ""), ("3.3", ""), ("3.4", "")], "3.4"),
        f"{base}/l4t/l4t-pytorch/Dockerfile": header(
            group="ml", depends=["pytorch", "torchvision", "torchaudio", "opencv"]
        ),
        # What a careless search-and-replace does to a list: upstream dies on it wherever it is used.
        f"{base}/l4t/l4t-ml/Dockerfile": f"#---\n# depends:\n# - pytorch\n# - key: value\n# - opencv\n#---\n{FROM}",
        f"{base}/opencv/Dockerfile": header(group="ml", depends=["cuda", "numpy", "cmake"]),
        f"{base}/opencv/config.py": versioned("opencv", [(f"4.{i}", "") for i in range(6, 14)], "4.11"),
        f"{base}/jax/Dockerfile": header(group="ml", depends=["cudnn", "numpy"], alias=["xla"]),
        f"{base}/jax/config.py": versioned("jax", [(f"0.{i}", "") for i in range(4, 8)], "0.6"),
    }


def llm() -> dict[str, str]:
    """Pins that contradict each other, the network at load time, look-ups of other packages."""
    base = "packages/llm"
    offline = (
        "from jetson_containers import github_latest_tag, log_warning\n"
        "try:\n    newest = github_latest_tag('somebody/transformers').lstrip('v')\n"
        "except Exception:\n    newest = '4.55.3'\n"
    )
    nano = "package = [dict(package, name='nano_llm:' + v, alias=['nano_llm'] if v == '24.7' else []) for v in {}]\n"
    releases = [f"24.{month}" for month in range(4, 12)] + [f"25.{month}" for month in range(1, 8)]
    return {
        f"{base}/transformers/Dockerfile": header(group="llm", depends=["torch", "huggingface_hub", "rust"]),
        f"{base}/transformers/config.py": offline
        + "package = [dict(package, name=f'transformers:{v}', alias='transformers' if v == newest else [],\n"
        "                build_args={'VERSION': v, 'EXTRA': None}) for v in ('4.46.3', '4.50.0', newest)]\n",
        f"{base}/huggingface_hub/Dockerfile": header(group="llm", depends=["python", "rust"]),
        f"{base}/tvm/Dockerfile": header(group="llm", depends=["cuda", "cudnn", "llvm:20", "rust"]),
        f"{base}/tvm/config.py": versioned("tvm", [("0.15", "requires='==35.*'"), ("0.22", "requires='>=36'")], "0.22"),
        f"{base}/mlc/Dockerfile": header(group="llm", depends=["torch", "tvm", "huggingface_hub", "llvm:22"]),
        f"{base}/mlc/config.py": (
            "from jetson_containers import L4T_VERSION\n"
            + versioned("mlc", [("0.1.0", "requires='==35.*'"), ("0.20.0", "requires='>=36'")], "0.20.0")
            + "for plain, builder in package:\n    builder['alias'] = plain.get('alias', [])  # both claim the name\n"
        ),
        f"{base}/vllm/Dockerfile": header(
            group="llm", depends=["pytorch", "torchvision", "transformers", "triton", "xgrammar"]
        ),
        f"{base}/vllm/config.py": versioned(
            "vllm", [("0.8.4", "depends='pytorch:2.6'"), ("0.9.0", "depends='pytorch:2.7'"), ("0.21.0", "")], "0.21.0"
        ),
        f"{base}/xgrammar/Dockerfile": header(group="llm", depends=["pytorch:2.8", "ninja"]),
        f"{base}/llama_cpp/Dockerfile": header(group="llm", depends=["cuda", "cmake", "numpy", "huggingface_hub"]),
        f"{base}/llama_cpp/config.py": versioned("llama_cpp", [("0.2.57", ""), ("0.2.70", ""), ("b9016", "")], "b9016"),
        f"{base}/nano_llm/Dockerfile": header(
            group="llm", depends=["mlc", "llvm", "transformers", "clip_trt", "faiss", "opencv"]
        ),
        f"{base}/nano_llm/config.py": nano.format(tuple(releases)),
        f"{base}/clip_trt/Dockerfile": header(group="llm", depends=["torchvision", "tensorrt", "torch"]),
        f"{base}/faiss/Dockerfile": header(group="llm", depends=["cuda", "numpy", "llvm:20"]),
        f"{base}/faiss/config.py": versioned("faiss", [("1.7", ""), ("1.10", "")], "1.10"),
        f"{base}/sglang/Dockerfile": header(group="llm", depends=["vllm", "torchao:9.9"]),  # which does not exist
        f"{base}/everything/config.py": (
            "from jetson_containers import find_package, find_packages\n"
            "found = find_packages(['llama_cpp:b*'], skip=['*-builder'])\n"
            "package['depends'] = [find_package('torch')['name'], *found]\n"
        ),
        f"{base}/needs-network/Dockerfile": header(group="llm"),
        f"{base}/needs-network/config.py": (
            "import urllib.request\npackage['notes'] = urllib.request.urlopen('https://example.com/version').read()\n"
        ),
        f"{base}/writes/Dockerfile": header(group="llm"),
        f"{base}/writes/config.py": "import time\nwith open('stamp', 'w') as file:\n    file.write(str(time.time()))\n",
    }


def robots() -> dict[str, str]:
    """Variants by name, another style of tag, nested packages, a name that two directories claim."""
    base = "packages/robots"
    distros = ("foxy", "galactic", "humble", "iron", "jazzy", "kilted", "rolling")
    kinds = ("core", "base", "desktop", "perception", "simulation")
    return {
        f"{base}/ros/Dockerfile": header(group="robots", depends=["cmake", "opencv"]),
        f"{base}/ros/config.py": (
            "from jetson_containers import LSB_RELEASES, LSB_RELEASE, L4T_VERSION\n"
            f"package = [[dict(package, name=f'ros:{{d}}-{{k}}', postfix=f'l4t-r{{L4T_VERSION}}',\n"
            f"                 build_args={{'DISTRO': d, 'KIND': k, 'CODENAME': LSB_RELEASES[LSB_RELEASE]}})\n"
            f"            for k in {kinds}] for d in {distros}]\n"
        ),
        f"{base}/ros/slam/Dockerfile": header(depends="ros:humble-desktop"),
        f"{base}/ros/slam/config.yaml": "".join(
            f"slam:{version}:\n  build_args: {{VERSION: '{version}'}}\n  requires: '>=r35'\n" for version in range(1, 6)
        ),
        f"{base}/devpi/Dockerfile": header(group="robots", depends="python", docs="One of two."),
        f"{base}/other/devpi/Dockerfile": header(group="robots", depends="python", docs="Two of two."),
        f"{base}/tegra-only/Dockerfile": header(depends="cuda", requires=["tegra-aarch64", ">=py310", "!=24.04"]),
    }


def oddities() -> dict[str, str]:
    """Rarer forms: files that a header names, merge keys, numbers and switches, patterns, packages inside packages."""
    base = "packages/odd"
    return {
        f"{base}/bazel/Dockerfile": header(group="odd", depends="build-essential", config="versions.py"),
        f"{base}/bazel/versions.py": "package = [dict(package, name=f'bazel:{v}', alias='bazel') for v in (6, 7)]\n",
        f"{base}/swig/Dockerfile": header(group="odd", config=["more.yaml", "first.py", "../shared/last.json"]),
        f"{base}/swig/first.py": "assert package['build_args']['JOBS'] + 1 == 5\npackage['alias'] = 'swig3'\n",
        f"{base}/swig/more.yaml": "build_args: {JOBS: 4, VERSION: 4.10, STATIC: on}\n",
        f"{base}/shared/last.json": '{\n\t"notes": "named by others"\n}\n',
        f"{base}/openssl/Dockerfile": header(group="odd", depends="build-essential"),
        f"{base}/openssl/releases.yaml": (
            "openssl:1.1: &common\n  notes: old\n  build_args: {FIPS: off}\n"
            "openssl:3.0: {<<: *common, alias: openssl}\n"
        ),
        f"{base}/openssl/provider/Dockerfile": FROM,
        f"{base}/openssl/sources/Dockerfile": "FROM ubuntu:22.04\nRUN make\n",
        f"{base}/openssl/tools/config.yaml": "depends: [openssl, 'cmake*']\n",
        f"{base}/openssl/tools/app/config.py": "raise SystemExit('the settings of a program')\n",
        f"{base}/vision/Dockerfile": header(group="odd", depends=["torch*", "opencv:4.1?", "l?vm"]),
        f"{base}/vision/Dockerfile.lite": header(depends="opencv:4.1?"),
        f"{base}/vision/kinds.json": json.dumps({"vision:full": {}, "vision:lite": {"dockerfile": "Dockerfile.lite"}}),
    }


FORMS = ("header", "flat yaml", "nested yaml", "json", "config.py", "tuple", "dict of dicts")


def applications(count: int) -> dict[str, str]:
    """Further families, form after form, until there are `count` variants more."""
    files: dict[str, str] = {}
    number, left = 0, count
    bases = ("vllm", "l4t-pytorch", "opencv", "transformers", "mlc", "torchaudio", "jax", "faiss", "triton", "clip_trt")
    while left > 0:
        name = f"app{number:03d}"
        folder = f"packages/apps/{name}"
        form = FORMS[number % len(FORMS)]
        depends = [
            bases[number % len(bases)],
            bases[(number * 3 + 1) % len(bases)],
            *([f"app{number - 1:03d}"] * (number % 5 == 1)),
        ]
        many = min(left, 1 if form in {"header", "flat yaml", "json"} else 5)
        files |= _application(folder, name, form, list(dict.fromkeys(depends)), many)
        number, left = number + 1, left - many
    return files


def _application(folder: str, name: str, form: str, depends: list[str], many: int) -> dict[str, str]:
    dockerfile = {f"{folder}/Dockerfile": header(group="apps", depends=depends)}
    if form == "header":
        return dockerfile
    if form == "flat yaml":
        return {**dockerfile, f"{folder}/settings.yml": f"alias: [{name}-app]\nnotes: flat\n"}
    if form == "json":
        return {**dockerfile, f"{folder}/{name}.json": json.dumps({"build_args": {"X": 1}, "docs": "as JSON"})}
    if form == "nested yaml":
        text = "".join(f"{name}:{i}:\n  build_args: {{V: '{i}'}}\n" for i in range(many))
        return {**dockerfile, f"{folder}/config.yaml": text if many > 1 else f"{name}:\n  notes: one\n"}
    if form == "config.py":
        text = f"package = [dict(package, name=f'{name}:{{i}}', build_args={{'V': i}}) for i in range({many})]\n"
    elif form == "tuple":
        text = f"one = [dict(package, name=f'{name}:{{i}}') for i in range({many})]\npackage = tuple(one), ()\n"
    else:
        text = f"package = {{f'{name}:{{i}}': dict(package, alias=[]) for i in range({many})}}\n"
    return {**dockerfile, f"{folder}/config.py": text}


FIXED = 301  # variants of the hand-made families on that platform, absent ones counted, broken ones not


def write(root: Path) -> None:
    """Write the tree below `root`."""
    files = {**foundation(), **cuda(), **ml(), **llm(), **robots(), **oddities(), **applications(VARIANTS - FIXED)}
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
