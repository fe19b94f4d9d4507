# shellcheck shell=bash
# Sourced by the tests: with CUDA built in, nothing here starts without the driver that the host brings.
if [[ $(ldd /usr/local/bin/llama-cli) == *'libcuda.so.1 => not found'* ]]; then
    echo "needs a GPU: this build has CUDA in it, and there is no driver (libcuda.so.1) in this container"
    exit 77
fi
