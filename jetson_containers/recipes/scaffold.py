"""The files of a new package that lints, builds and tests at once: one small recipe per kind, to be filled in.

`pip` installs a wheel from a lock, `source` compiles a program in an artifact part, `apt` installs a package of the
distribution, `node` installs a program with npm.
"""

from __future__ import annotations

import re
from string import Template
from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 100  # letters of a name: versions and platform follow it in an image's name of 255
NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")

_PIP_DOCKERFILE = """\
#---
# name: $name
# depends: [python]
# requires: '>=py38'
# license: $license
# source: {python: "$requirement", lock: $name.lock}
# test: test.py
# docs: README.md
#---
ARG BASE_IMAGE
FROM $${BASE_IMAGE}

# Every file in the lock has its hash. For another version: edit its first line, then
# `jetson-containers lock-pips $name`.
COPY $name.lock /tmp/$name.lock
RUN python3 -m pip install --no-deps --require-hashes -r /tmp/$name.lock \\
 && rm /tmp/$name.lock
"""
_PIP_TEST = '''\
"""The module is there in the version that was asked for. Runs in the image, without GPU and network."""

from importlib.metadata import version

import $module

print($module.__name__, version("$project"))
assert version("$project") == "$version"
'''
_PIP_LOCK = """\
cowsay==6.1 \\
    --hash=sha256:274b1e6fc1b966d53976333eb90ac94cb07a450a700b455af9fbdf882244b30a
"""
_APT_DOCKERFILE = """\
#---
# name: $name
# license: $license
# source: {apt: $package of the distribution}
# test: test.sh
# docs: README.md
#---
ARG BASE_IMAGE
FROM $${BASE_IMAGE}

ARG DEBIAN_FRONTEND=noninteractive

RUN apt-get update \\
 && apt-get install -y --no-install-recommends $package \\
 && apt-get clean \\
 && rm -rf /var/lib/apt/lists/*
"""
_APT_TEST = """\
#!/usr/bin/env bash
# The package is installed. Add what it is to do. Runs in the image, without GPU and network.
set -euo pipefail

dpkg-query --show $package
dpkg-query --listfiles $package | grep -q /usr
"""
_SOURCE_DOCKERFILE = """\
#---
# name: $name
# license: $license
# artifacts: {dockerfile: Dockerfile.build, depends: [build-essential]}
# memory_per_job: 500M
# source: {files: main.c}
# test: test.sh
# docs: README.md
#---
ARG ARTIFACT_IMAGE
ARG BASE_IMAGE
FROM $${ARTIFACT_IMAGE} AS artifact

FROM $${BASE_IMAGE}

COPY --from=artifact /artifacts/ /
"""
_SOURCE_BUILD = """\
# The compile part: what is to be kept ends up below /artifacts, and nothing else leaves this image.
ARG BASE_IMAGE
FROM $${BASE_IMAGE}

COPY main.c /tmp/$name/
RUN mkdir -p /artifacts/usr/local/bin \\
 && cc -O2 -Wall -o /artifacts/usr/local/bin/$name /tmp/$name/main.c \\
 && rm -r /tmp/$name
"""
_SOURCE_C = """\
#include <stdio.h>

int main(void) {
    puts("$name works");
    return 0;
}
"""
_RUN_TEST = """\
#!/usr/bin/env bash
# The program runs. Runs in the image, without GPU and network; exit status 77 means that it needs a GPU.
set -euo pipefail

[ "$$($name)" = "$name works" ]
"""
_NODE_DOCKERFILE = """\
#---
# name: $name
# depends: [nodejs]
# requires: ['>=py38', '>=20.04']
# license: $license
# source: {files: package.json}
# test: test.sh
# docs: README.md
#---
ARG BASE_IMAGE
FROM $${BASE_IMAGE}

# A package-lock.json beside package.json pins what it depends on: then `npm ci` comes before `npm install`.
COPY package.json main.js /opt/$name/
RUN npm install --global --offline --no-audit --no-fund /opt/$name
"""
_NODE_PACKAGE = """\
{
  "name": "$name",
  "version": "1.0.0",
  "license": "$license",
  "bin": {"$name": "main.js"}
}
"""
_NODE_MAIN = """\
#!/usr/bin/env node
console.log("$name works");
"""
_README = """\
# $name

What it is for, in a sentence.

```bash
./run.sh $$(./autotag $name) $call
```
"""

KINDS: dict[str, dict[str, str]] = {
    "pip": {"Dockerfile": _PIP_DOCKERFILE, "test.py": _PIP_TEST, "$name.lock": _PIP_LOCK},
    "source": {
        "Dockerfile": _SOURCE_DOCKERFILE, "Dockerfile.build": _SOURCE_BUILD, "main.c": _SOURCE_C, "test.sh": _RUN_TEST,
    },
    "apt": {"Dockerfile": _APT_DOCKERFILE, "test.sh": _APT_TEST},
    "node": {
        "Dockerfile": _NODE_DOCKERFILE, "package.json": _NODE_PACKAGE, "main.js": _NODE_MAIN, "test.sh": _RUN_TEST,
    },
}  # fmt: skip
EXECUTABLE = frozenset({"test.sh", "test.py", "main.js"})
EXAMPLES = {"pip": "cowsay==6.1", "apt": "jq"}  # what is installed where `of` names nothing
_FILL_IN = {
    "source": "leave it out, then put the sources beside `Dockerfile.build`, or a clone of a commit into it",
    "node": "leave it out, then put the program beside `package.json`, which names what it needs of npm",
}


def files(name: str, kind: str, of: str = "", package_license: str = "MIT") -> Mapping[str, str]:
    """Name of each file and its text. `of`: what is installed, `PROJECT==VERSION` or a package of apt.

    Raises UsageError for a name or requirement that cannot be.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST].rstrip("-")
        meant = f", for example `{near}`" if near else ""
        hint = f"small letters, digits, and - _ . between them, at most {LONGEST}{meant}"
        raise UsageError(f"`{shown(name)}` cannot be a package's name", hint=hint)
    if kind in {"source", "node"} and of:
        raise UsageError(f"a package of the kind {kind} takes no --of", hint=_FILL_IN[kind])
    values = {"name": name, "license": package_license, **_values(name, kind, of)}
    made = {Template(file).substitute(values): Template(text).substitute(values) for file, text in KINDS[kind].items()}
    if kind == "pip" and values["requirement"] != EXAMPLES["pip"]:
        made[f"{name}.lock"] = f"{values['requirement']}\n"  # `lock-pips` fills it
    return {**made, "README.md": Template(_README).substitute(values)}


def _values(name: str, kind: str, of: str) -> dict[str, str]:
    if kind == "pip":
        found = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9._+!-]*)", of or EXAMPLES["pip"])
        if found is None:
            raise UsageError(f"`{of}` is not PROJECT==VERSION", hint="for example --of einops==0.8.1")
        module = re.sub(r"[.-]", "_", found[1]).lower()
        return {
            "requirement": of or EXAMPLES["pip"], "project": found[1], "version": found[2], "module": module,
            "call": f"python3 -c 'import {module}'",
        }  # fmt: skip
    package = of or EXAMPLES["apt"]
    if kind == "apt" and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", package):
        raise UsageError(f"`{package}` cannot be a package of apt", hint="for example --of ffmpeg")
    return {"package": package, "call": package if kind == "apt" else name}
