#!/usr/bin/env bash
# Compile XGrammar's wheel from XGRAMMAR_COMMIT, install it with its build tools below /opt/xgrammar, and link a program with its library.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=/tmp/xgrammar_build
venv=/opt/xgrammar
git init --quiet "$work"
git -C "$work" fetch --quiet --depth 1 --no-tags https://github.com/mlc-ai/xgrammar "$XGRAMMAR_COMMIT"
git -C "$work" checkout --quiet --detach FETCH_HEAD
git -C "$work" submodule --quiet update --init --depth 1 3rdparty/dlpack
mkdir -p /opt/sources
{ git -C "$work" rev-parse HEAD && git -C "$work" submodule status 3rdparty/dlpack; } | tee /opt/sources/xgrammar

python3 -m venv "$venv"
"$venv/bin/pip" install --no-cache-dir --no-deps --require-hashes -r "$here/build-tools.lock"
# quick rather than fast: this build shows where its sources come from
export CXXFLAGS="-O0 -g0 -fno-lto"
export CMAKE_GENERATOR=Ninja CMAKE_BUILD_PARALLEL_LEVEL="${MAX_JOBS:-$(nproc)}" PATH=$venv/bin:$PATH
"$venv/bin/pip" install --no-cache-dir --no-deps --no-build-isolation "$work"

place=$(echo "$venv"/lib/python3.*/site-packages/xgrammar)
g++ -std=c++17 -I"$work/include" -I"$work/3rdparty/dlpack/include" "$here/check.cc" \
    "$(find "$place" -name libxgrammar.a)" -pthread -o /usr/local/bin/xgrammar-check
rm -rf "$work"
