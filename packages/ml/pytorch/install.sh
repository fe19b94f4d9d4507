#!/usr/bin/env bash
# Install PyTorch TORCH_VERSION and write its exact version where pip and uv keep it from being replaced.
# TORCH_FROM says whence:
#   lock  the Python index, every file by the hashes of torch-VERSION.lock
#   cpu   PyTorch's CPU index; PIP_FIND_LINKS may name a directory of wheels that is asked first
#   index TORCH_URL is an index that has it
#   wheelhouse  nothing but the directory of wheels that PIP_FIND_LINKS names
#   wheel TORCH_URL is the wheel; TORCH_WHEEL is its name where the address does not say it
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cpu_index=https://download.pytorch.org/whl/cpu
minor=$(python3 -c 'import sys; print(sys.version_info[1])')
work=$(mktemp -d)

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

pip_install() { python3 -m pip install --no-cache-dir --no-deps "$@"; }

install_libraries() {
    apt-get update
    apt-get install -y --no-install-recommends ca-certificates libgomp1 libopenblas0-pthread 2> "$work/log" ||
        apt-get install -y --no-install-recommends ca-certificates libgomp1 libopenblas-base # Ubuntu 18.04
    if [ "$TORCH_FROM" = wheel ]; then # NVIDIA's wheels are linked to MPI
        apt-get install -y --no-install-recommends libopenmpi-dev curl
    fi
    apt-get clean
    rm -rf /var/lib/apt/lists/*
}

install_dependencies() {
    local lock=deps-py310.lock
    if [ "$minor" -lt 8 ]; then lock=deps-py36.lock; elif [ "$minor" -lt 10 ]; then lock=deps-py38.lock; fi
    pip_install --require-hashes -r "$here/$lock"
}

check_cpu_wheel() { # WHEEL: against its hash where this recipe knows it
    local line
    if line=$(grep -F "  $(basename "$1")" "$here/cpu.sha256"); then
        (cd "$(dirname "$1")" && sha256sum --check --strict <<< "$line")
    else
        echo "no checksum is known for $(basename "$1"): the version and PyTorch's index pin it"
    fi
}

install_cpu() {
    local wanted="torch==$TORCH_VERSION" wheels
    if [ -n "${PIP_FIND_LINKS:-}" ] && python3 -m pip download --no-deps --no-index -d "$work" "$wanted"; then
        echo "$wanted came from the wheelhouse"
    else
        python3 -m pip download --no-cache-dir --no-deps --index-url "$cpu_index" -d "$work" "$wanted"
    fi
    wheels=("$work"/torch-*.whl)
    check_cpu_wheel "${wheels[0]}"
    pip_install --no-index "${wheels[0]}"
}

install_wheel() {
    local name=${TORCH_URL##*/}
    if [ -n "${TORCH_WHEEL:-}" ]; then name=$TORCH_WHEEL; fi # a share's address does not say what it holds
    curl --fail --silent --show-error --location --retry 3 --output "$work/$name" "$TORCH_URL" ||
        fail "$TORCH_URL does not answer" "give the wheel in a directory: --wheelhouse DIR --build-args TORCH_FROM:wheelhouse"
    pip_install --no-index "$work/$name"
}

install_libraries
install_dependencies
case $TORCH_FROM in
    lock) pip_install --require-hashes -r "$here/torch-$TORCH_VERSION.lock" ;;
    cpu) install_cpu ;;
    index) pip_install --index-url "$TORCH_URL" "torch==$TORCH_VERSION" ;;
    wheel) install_wheel ;;
    wheelhouse) pip_install --no-index --pre "torch>=${TORCH_VERSION}a0,<=$TORCH_VERSION.post999" ;;
    *) fail "TORCH_FROM is '$TORCH_FROM'" "see config.yaml of the package pytorch" ;;
esac

installed=$(python3 -m pip show torch | sed -n 's/^Version: //p')
case $installed in
    "$TORCH_VERSION"*) ;;
    *) fail "the source gave torch $installed where $TORCH_VERSION was asked for" "look at $TORCH_URL" ;;
esac
echo "torch==$installed" >> /etc/pip/constraints.txt
rm -rf "$work"
