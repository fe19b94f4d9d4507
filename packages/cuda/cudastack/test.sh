#!/usr/bin/env bash
# The libraries of the set are in the library path. Exit status 77: the host brings them.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

known=$(ldconfig -p)
for library in libcudart.so libcudnn.so; do
    if [[ $known != *"$library"* ]]; then
        if [ "$CUDA_COMES_FROM" = host ]; then
            echo "needs a GPU: on JetPack 4 $library comes from the host, with --runtime nvidia"
            exit 77
        fi
        echo "no $library in the library path" >&2
        exit 1
    fi
    grep -F "$library" <<<"$known"
done
