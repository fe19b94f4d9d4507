#!/usr/bin/env bash
# CMake runs; where a compiler stands in the image too, it configures, builds and tests a small project.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

cmake --version
ctest --version | sed -n 1p

if ! command -v cc > /dev/null; then
    echo "no compiler in this image: configuring a project is left out"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/CMakeLists.txt" <<'PROJECT'
cmake_minimum_required(VERSION 3.5)
project(answer C)
enable_testing()
add_executable(answer answer.c)
add_test(NAME answer COMMAND answer)
PROJECT
echo 'int main(void) { return 0; }' > "$work/answer.c"
cmake -S "$work" -B "$work/build" > "$work/log" || { cat "$work/log" >&2; exit 1; }
cmake --build "$work/build"
(cd "$work/build" && ctest --output-on-failure)
