#!/usr/bin/env bash
# Install PyTorch TORCH_VERSION and write its exact version where pip and uv keep it from being replaced.
# TORCH_FROM says whence:
#   lock  the Python index, every file by the hashes of torch-VERSION.lock
#   cpu   PyTorch's CPU index; PIP_FIND_LINKS may name a directory of wheels that is asked first
#   index TORCH_URL is an index that has it
#   wheelhouse  nothing but the directory of wheels that PIP_FIND_LINKS names
#   wheel TORCH_URL is the wheel; TORCH_WHEEL is its name where the address does not say it, TORCH_SHA256 the first digits of its
#         checksum where any are known
# TORCH_LIBRARIES names what of libraries.sha256 the wheel is linked with, TORCH_CUDA_LOCK a lock of NVIDIA's libraries.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cpu_index=https://download.pytorch.org/whl/cpu
redist=https://developer.download.nvidia.com/compute
libraries=/usr/lib/$(uname -m)-linux-gnu
minor=$(python3 -c 'import sys; print(sys.version_info[1])')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

pip_install() { python3 -m pip install --no-cache-dir --no-deps "$@"; }

fetch() { # URL FILE
    curl --fail --silent --show-error --location --retry 3 --output "$2" "$1"
}

install_packages() {
    apt-get update
    apt-get install -y --no-install-recommends ca-certificates libgomp1 libopenblas0-pthread 2> "$work/log" ||
        apt-get install -y --no-install-recommends ca-certificates libgomp1 libopenblas-base # Ubuntu 18.04
    if [ "$TORCH_FROM" = wheel ]; then # NVIDIA's own are linked to MPI
        apt-get install -y --no-install-recommends libopenmpi-dev
    fi
    if [ "$TORCH_FROM" = wheel ] || [ -n "${TORCH_LIBRARIES:-}" ]; then
        apt-get install -y --no-install-recommends curl xz-utils
    fi
    apt-get clean
    rm -rf /var/lib/apt/lists/*
}

install_dependencies() {
    local lock=deps-py310.lock
    if [ "$minor" -lt 8 ]; then lock=deps-py36.lock; elif [ "$minor" -lt 10 ]; then lock=deps-py38.lock; fi
    pip_install --require-hashes -r "$here/$lock"
    if [ -n "${TORCH_CUDA_LOCK:-}" ]; then
        pip_install --require-hashes -r "$here/$TORCH_CUDA_LOCK"
    fi
}

install_libraries() { # JetPack has neither cuSPARSELt nor cuDSS
    local name sum path
    for name in ${TORCH_LIBRARIES:-}; do
        read -r sum path < <(grep "/$name-[^/]*$" "$here/libraries.sha256") ||
            fail "libraries.sha256 has no $name" "see config.yaml of the package pytorch"
        fetch "$redist/$path" "$work/library.tar.xz"
        echo "$sum  $work/library.tar.xz" | sha256sum --check --strict
        mkdir "$work/$name"
        tar -xJf "$work/library.tar.xz" -C "$work/$name" --strip-components 1 --no-same-owner --exclude '*.a'
        cp -a "$work/$name"/lib/lib*.so.* "$libraries/"
        install -D -m 644 "$work/$name/LICENSE"* -t "/usr/share/doc/$name"
        rm -rf "${work:?}/$name" "$work/library.tar.xz"
    done
    ldconfig
}

install_lock() { # LOCK: bindings that the package cuda-python holds in the toolkit's version stay as they are
    if grep -q '^cuda-bindings==' /etc/pip/constraints.txt; then
        awk '/^[^ #]/ { held = /^cuda-bindings==/ } !held' "$here/$1" > "$work/lock"
    else
        cp "$here/$1" "$work/lock"
    fi
    pip_install --require-hashes -r "$work/lock"
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
    local name=${TORCH_URL##*/} sum
    if [ -n "${TORCH_WHEEL:-}" ]; then name=$TORCH_WHEEL; fi # a share's address does not say what it holds
    fetch "$TORCH_URL" "$work/$name" ||
        fail "$TORCH_URL does not answer" "give the wheel in a directory: --wheelhouse DIR --build-args TORCH_FROM:wheelhouse"
    sum=$(sha256sum < "$work/$name")
    [[ $sum == "${TORCH_SHA256:-}"* ]] ||
        fail "$TORCH_URL is not the file that the recipe names: its SHA-256 is ${sum%% *}, not $TORCH_SHA256…" "do not use it"
    pip_install --no-index "$work/$name"
}

linked() { # what the loader says about torch's libraries
    local library
    for library in "$1"/libtorch_cpu.so "$1"/libtorch_cuda.so "$1"/libtorch_python.so; do
        if [ -e "$library" ] && ! ldd "$library" 2>&1; then # its status is 1 for a version that is not there, too
            echo "ldd finds something amiss with $library" >&2
        fi
    done
}

# Wheels of the community index are compiled with GCC 13, whose C++ library Ubuntu 22.04 does not have ("GLIBCXX_3.4.32 not
# found"). It is the successor of the distribution's, with the same name and everything that the older one has.
install_newer_libstdcxx() {
    local key=/usr/share/keyrings/toolchain-build.asc list=/etc/apt/sources.list.d/toolchain-build.list found suite
    # "Launchpad Toolchain builds", which signs ppa:ubuntu-toolchain-r/test
    local fingerprint=60C317803A41BA51845E371A1E9377A2BA9EF27F
    # shellcheck source=/dev/null  # /etc/os-release of the image
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    apt-get update
    apt-get install -y --no-install-recommends ca-certificates curl gnupg
    fetch "https://keyserver.ubuntu.com/pks/lookup?op=get&options=mr&search=0x$fingerprint" "$key"
    found=$(gpg --show-keys --with-colons "$key" | awk -F: '$1 == "fpr" { print $10; exit }') # codespell:ignore fpr
    [ "$found" = "$fingerprint" ] || fail "the key of ppa:ubuntu-toolchain-r/test is $found, not $fingerprint" "do not use it"
    echo "deb [signed-by=$key] https://ppa.launchpadcontent.net/ubuntu-toolchain-r/test/ubuntu $suite main" > "$list"
    apt-get update
    apt-get install -y --no-install-recommends libstdc++6
    # Repositories of an image outlive their keys, and then `apt-get update` in the image fails: none is left here.
    rm "$list" "$key"
    apt-get clean
    rm -rf /var/lib/apt/lists/*
}

# A library that is missing would be noticed when the image is used. The driver's come from the host, and on JetPack 4 all of CUDA.
# Wheels with libraries of the Python index load them by themselves, in an order that the loader knows nothing of.
check_libraries() {
    local folder missing
    folder=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')/lib
    if [[ $(linked "$folder") == *'version `GLIBCXX_'*'not found'* ]]; then
        install_newer_libstdcxx
    fi
    if [ "$TORCH_FROM" = lock ] || [ -n "${TORCH_CUDA_LOCK:-}" ]; then return; fi
    missing=$(linked "$folder" | sed -n '/libcuda\.so\|libnvidia-\|libnvrm\|libnvdla/d; s/^\s*\(\S*\) => not found.*/\1/p' | sort -u)
    if [ -n "$missing" ] && [ "${CUDA_COMES_FROM:-}" != host ]; then
        fail "torch needs libraries that this image lacks: ${missing//$'\n'/, }" "name them in TORCH_LIBRARIES, or take another version"
    fi
}

install_packages
install_dependencies
install_libraries
case $TORCH_FROM in
    lock) install_lock "torch-$TORCH_VERSION.lock" ;;
    cpu) install_cpu ;;
    index) pip_install --index-url "$TORCH_URL" "torch==$TORCH_VERSION" ;;
    wheel) install_wheel ;;
    wheelhouse) pip_install --no-index --pre "torch>=${TORCH_VERSION}a0,<=$TORCH_VERSION.post999" ;;
    *) fail "TORCH_FROM is '$TORCH_FROM'" "see config.yaml of the package pytorch" ;;
esac
check_libraries

installed=$(python3 -m pip show torch | sed -n 's/^Version: //p')
case $installed in
    "$TORCH_VERSION"*) ;;
    *) fail "the source gave torch $installed where $TORCH_VERSION was asked for" "look at $TORCH_URL" ;;
esac
echo "torch==$installed" >> /etc/pip/constraints.txt
