#!/usr/bin/env bash
# Install what the compiled tools need at run time, the Python binding, and the converter's own environment.
# Needs TORCH_VERSION. PIP_FIND_LINKS may name a directory or page of wheels that is asked for torch first.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
prefix=/opt/llama.cpp
# PyTorch's own index: the CPU build. The default index would bring gigabytes of CUDA libraries on x86.
torch_index=https://download.pytorch.org/whl/cpu

install_libraries() {
    local packages=(libgomp1 libstdc++6 ca-certificates)
    # the release decides the name: libssl3t64 on Ubuntu 24.04, libssl3 before it; nothing links it on 20.04
    local libssl
    libssl=$(ldd /usr/local/bin/llama-server | sed -n 's/^\s*\(libssl\.so\.3\) .*/\1/p')
    apt-get update
    if [ -n "$libssl" ]; then
        local candidate
        for candidate in libssl3t64 libssl3; do
            if apt-cache show "$candidate" > /dev/null 2>&1; then
                packages+=("$candidate")
                break
            fi
        done
    fi
    apt-get install -y --no-install-recommends "${packages[@]}"
    apt-get clean
    rm -rf /var/lib/apt/lists/*
    ldconfig
}

install_binding() { # loads the libraries in /usr/local/lib, so the wheel needs none of its own
    if [ ! -d "$prefix/wheels" ]; then
        echo "this version has no Python binding of its own"
        return
    fi
    python3 -m pip install --no-deps --require-hashes -r "$here/binding.lock"
    python3 -m pip install --no-deps --no-index "$prefix"/wheels/*.whl
    rm -r "$prefix/wheels"
    local package
    package=$(python3 -c 'import importlib.util as u; print(u.find_spec("llama_cpp").submodule_search_locations[0])')
    mkdir -p "$package/lib"
    for library in libllama.so libggml.so libmtmd.so; do
        ln -sf "/usr/local/lib/$library" "$package/lib/$library"
    done
}

install_torch() { # PYTHON
    local wanted="torch==$TORCH_VERSION"
    if [ -n "${PIP_FIND_LINKS:-}" ] && "$1" -m pip install --no-cache-dir --no-deps --no-index "$wanted"; then
        echo "$wanted came from the wheelhouse $PIP_FIND_LINKS"
    else
        echo "$wanted comes from $torch_index"
        "$1" -m pip install --no-cache-dir --no-deps --index-url "$torch_index" "$wanted"
    fi
}

install_converter() {
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        echo "the converter needs Python 3.10, this image has $(python3 --version): left out"
        return
    fi
    # Its own environment: the converter's CPU build of torch never meets a GPU build of the image.
    python3 -m venv "$prefix/venv"
    local python=$prefix/venv/bin/python
    "$python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/converter.lock"
    install_torch "$python"
    "$python" -m pip uninstall --yes pip
    # parts of torch that only compiling against it or testing it needs
    "$python" - <<'PYTHON'
import pathlib, shutil, sysconfig
torch = pathlib.Path(sysconfig.get_paths()["purelib"], "torch")
for name in ("include", "share", "test"):
    shutil.rmtree(torch / name, ignore_errors=True)
PYTHON
    echo 'import sys; sys.path.insert(0, "/opt/llama.cpp/gguf-py")' \
        > "$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/gguf.pth"
}

install_libraries
install_binding
install_converter
