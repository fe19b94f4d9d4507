#!/usr/bin/env bash
# The variables lead to the toolkit that the image holds.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

for program in "$CUDA_NVCC_EXECUTABLE" "$CMAKE_CUDA_COMPILER" "$NVCC_PATH" "$CUDACXX" "$CUDA_BIN_PATH/nvcc"; do
    [ -x "$program" ]
done
[ -f "$CUDA_HOME/include/cuda.h" ] || [ -f "$CUDA_TOOLKIT_ROOT_DIR/include/cuda_runtime.h" ]
[ -n "$CUDA_ARCHITECTURES" ]
[ "$CUDA_ARCHITECTURES" = "$CUDAARCHS" ]
[[ $(nvcc --version) == *"release ${CUDA_INSTALLED_VERSION%?}.${CUDA_INSTALLED_VERSION: -1},"* ]]
