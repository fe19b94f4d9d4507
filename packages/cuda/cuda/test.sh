#!/usr/bin/env bash
# nvcc compiles a kernel for the platform's architectures; with a GPU, the kernel runs. Exit status 77: needs a GPU.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

if ! command -v nvcc > /dev/null; then
    if [ "$CUDA_COMES_FROM" != host ]; then
        echo "no nvcc on PATH: $PATH" >&2
        exit 1
    fi
    echo "needs a GPU: on JetPack 4 CUDA comes from the host, with --runtime nvidia"
    exit 77
fi
nvcc --version | tail -n 2
# /usr/local/cuda is the CUDA of this recipe, not another one that the base image had
version=$(basename "$(readlink -f /usr/local/cuda)")
[[ $(nvcc --version) == *"release ${version#cuda-},"* ]]

for program in cuobjdump nvdisasm; do # recipes check with them what they have compiled
    command -v "$program" > /dev/null || { echo "no $program on PATH: $PATH" >&2; exit 1; }
done

if ! command -v g++ > /dev/null; then
    echo "no host compiler in this image: compiling a kernel is left out"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/add.cu" <<'SOURCE'
#include <cstdio>
__global__ void add(int n, const float *x, float *y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += x[i];
}
int main() {
    const int n = 4096;
    float *x, *y, result = 0;
    if (cudaMalloc(&x, n * sizeof(float)) || cudaMalloc(&y, n * sizeof(float))) return 2;
    cudaMemset(x, 0, n * sizeof(float));
    cudaMemset(y, 0, n * sizeof(float));
    add<<<(n + 255) / 256, 256>>>(n, x, y);
    cudaMemcpy(&result, y + n - 1, sizeof(float), cudaMemcpyDeviceToHost);
    std::printf("%.0f\n", result);
    return cudaGetLastError() != cudaSuccess;
}
SOURCE
architectures=()
for architecture in ${CUDAARCHS//;/ }; do
    architectures+=("-gencode=arch=compute_$architecture,code=sm_$architecture")
done
nvcc "${architectures[@]}" -o "$work/add" "$work/add.cu"

if [ ! -e /dev/nvidiactl ] && [ ! -e /dev/nvhost-gpu ] && [ ! -e /dev/nvgpu ]; then
    echo "needs a GPU: running the kernel"
    exit 77
fi
[ "$("$work/add")" = 0 ]
