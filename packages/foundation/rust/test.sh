#!/usr/bin/env bash
# Cargo builds, tests and runs a program without a network; another user can use the toolchain too.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rustc --version
cargo --version
mkdir -p "$work/answer/src"
cat > "$work/answer/Cargo.toml" <<'MANIFEST'
[package]
name = "answer"
version = "0.1.0"
edition = "2021"
MANIFEST
cat > "$work/answer/src/main.rs" <<'SOURCE'
fn answer() -> u32 {
    (1..=3).map(|x| x * 7).sum()
}

fn main() {
    println!("{}", std::thread::spawn(answer).join().unwrap());
}

#[test]
fn is_42() {
    assert_eq!(answer(), 42);
}
SOURCE
cd "$work/answer"
[ "$(cargo run --quiet --offline)" = 42 ]
cargo test --quiet --offline

chmod a+rx "$work"
if chroot --userspec=65534:65534 --groups= / true 2>/dev/null; then  # chroot, because Ubuntu 18.04 has no setpriv
    chroot --userspec=65534:65534 --groups= / "$(command -v rustc)" --print sysroot
else  # without capabilities nobody becomes another user: what he may read and run can still be seen
    [ -z "$(find -H "$(rustc --print sysroot)/bin" "$(rustc --print sysroot)/lib" \
        \( -type f ! -perm -o+r -o -type d ! -perm -o+rx \) -print -quit)" ]
fi
