#!/usr/bin/env bash
# The compilers make programs that run, the locale is UTF-8, and the stage left no package lists behind.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

gcc --version | sed -n 1p
g++ --version | sed -n 1p
git --version
make --version | sed -n 1p

cat > "$work/hello.c" <<'SOURCE'
#include <math.h>
#include <stdio.h>
int main(void) { printf("%.0f\n", sqrt(1764.0)); return 0; }
SOURCE
cat > "$work/hello.cpp" <<'SOURCE'
#include <iostream>
#include <thread>
int main() { std::thread([] { std::cout << "threads work\n"; }).join(); }
SOURCE

gcc -O2 -o "$work/c" "$work/hello.c" -lm
[ "$("$work/c")" = 42 ]
g++ -O2 -std=c++17 -pthread -o "$work/cpp" "$work/hello.cpp"
[ "$("$work/cpp")" = "threads work" ]

[ "$(locale charmap)" = UTF-8 ]
if compgen -G '/var/lib/apt/lists/*Packages*' > /dev/null; then
    echo "package lists were left in the image" >&2
    exit 1
fi
