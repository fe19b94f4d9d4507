#!/usr/bin/env bash
# The CUDA libraries load; with a GPU, the driver is new enough for them. Exit status 77: a part needs a GPU.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

if ! compgen -G '/usr/local/cuda/lib64/libcudart.so.*' > /dev/null; then
    if [ "$CUDA_COMES_FROM" = host ]; then
        echo "needs a GPU: on JetPack 4 CUDA comes from the host, with --runtime nvidia"
        exit 77
    fi
    echo "no CUDA runtime library in /usr/local/cuda/lib64" >&2
    exit 1
fi
if [ "$CUDA_COMES_FROM" = apt ] && compgen -G '/etc/apt/sources.list.d/*cuda*' > /dev/null; then # a base may have its own
    echo "an apt repository of NVIDIA was left in the image" >&2
    exit 1
fi

loader=(python3)
command -v python3 > /dev/null || loader=()
for library in libcudart libcublas libcublasLt libcufft libcurand libcusparse libcusolver libnvrtc; do
    file=$(compgen -G "/usr/local/cuda/lib64/$library.so.*" | sed -n 1p)
    [ -n "$file" ]
    echo "$file"
    if [[ $(ldd "$file") == *'not found'* ]]; then
        ldd "$file" >&2
        exit 1
    fi
done
# /usr/local/cuda is the CUDA of this recipe, not another one that the base image had
version=$(basename "$(readlink -f /usr/local/cuda)")
[[ $(compgen -G "/usr/local/cuda/lib64/libcudart.so.*") == *"libcudart.so.${version#cuda-}"* ]]
if [ "$CUDA_COMES_FROM" = apt ] || [ "$CUDA_COMES_FROM" = wheels ]; then # PyTorch does not load without it
    [ -n "$(ldconfig -p | sed -n '/libcupti\.so/p')" ]
fi

if [ ! -e /dev/nvidiactl ] && [ ! -e /dev/nvhost-gpu ] && [ ! -e /dev/nvgpu ]; then
    echo "needs a GPU: asking the driver for its version"
    exit 77
fi
[ "${#loader[@]}" -gt 0 ] || exit 0
"${loader[@]}" - <<'PYTHON'
import ctypes
import glob

runtime = ctypes.CDLL(sorted(glob.glob("/usr/local/cuda/lib64/libcudart.so.*"))[0])
driver, library = ctypes.c_int(), ctypes.c_int()
assert runtime.cudaDriverGetVersion(ctypes.byref(driver)) == 0
assert runtime.cudaRuntimeGetVersion(ctypes.byref(library)) == 0
print("driver", driver.value, "runtime", library.value)
assert driver.value // 1000 >= library.value // 1000, "the driver is of an older CUDA major release"
PYTHON
