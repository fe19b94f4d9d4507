#!/usr/bin/env bash
# clang compiles for the targets that matter here, and what it links runs where there is a C library to link.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

clang --version | sed -n 1p
[[ $(llvm-config --version) == "$LLVM_VERSION".* ]]
[ -e "$LLVM_DIR/lib/libLLVM.so" ] || compgen -G "$LLVM_DIR/lib/libLLVM*.so*"
targets=$(llvm-config --targets-built)
for target in AArch64 X86 NVPTX; do # TVM needs all three
    [[ " $targets " == *" $target "* ]]
done

echo 'int answer(int x) { return x * 42; }' > "$work/answer.c"
for triple in aarch64-linux-gnu x86_64-linux-gnu nvptx64-nvidia-cuda; do
    clang -O2 --target="$triple" -S -emit-llvm -o - "$work/answer.c" | grep 'target triple'
done
clang -O2 --target=nvptx64-nvidia-cuda -S -o - "$work/answer.c" | grep -F '.visible .func'

if ! printf 'int main(void) { return 0; }' | clang -x c -o "$work/linked" - 2> "$work/log"; then
    grep -q -e crt1.o -e 'cannot find' -e 'unable to find' "$work/log"
    echo "no C library to link against in this image (package build-essential has one): linking is left out"
    exit 0
fi
"$work/linked"
