"""Make TVM compile for exactly the platform's GPUs, and that of MLC 0.1.0 with CUDA 11.4: `adapt_source.py VERSION TREE 72;87`.

Its CUDA parts name the architectures they are compiled for in flags of their own, and in the older one two of them do not
compile with JetPack 5's compilers. Every edit has to apply: a source that looks different fails here and not an hour later.
"""

import re
import sys
from pathlib import Path


def edit(path, pattern, replacement, flags=re.MULTILINE):
    text = path.read_text()
    changed, count = re.subn(pattern, replacement, text, flags=flags)
    if not count:
        sys.exit("%s: nothing matches %r; this is not the source the recipe was written for" % (path, pattern))
    path.write_text(changed)
    print("%s: %d times %s" % (path, count, pattern))


def flags(architectures):
    return " ".join("-gencode=arch=compute_%s,code=sm_%s" % (sm, sm) for sm in architectures)


GENCODE = r"-gencode=arch=compute_\d+\w*,code=\S*sm_\d+\w*\S*"


def flash_attention(root, architectures):
    """FlashAttention is written for compute capability 8 and newer; by itself it is compiled for 8.0."""
    file = root / "src" / "CMakeLists.txt"
    new_enough = [sm for sm in architectures if int(sm) >= 80] or sys.exit("no architecture is new enough for FlashAttention")
    edit(file, r"\s*%s[^\n]*\n" % GENCODE, r"\n                      %s \\\n" % flags(new_enough), 0)
    edit(file, r'^set_target_properties\(flash_attn PROPERTIES CUDA_ARCHITECTURES "80"\)\n?', "set_target_properties(flash_attn PROPERTIES CUDA_ARCHITECTURES OFF)\n")


def for_cuda_11(third, architectures):
    # Weight-only GEMM (q4f16_ft): all architectures of the platform, once.
    gemm = third / "cutlass_fpA_intB_gemm"
    file = gemm / "cutlass_kernels" / "CMakeLists.txt"
    edit(file, r"(\s*%s[^\n]*\n)+" % GENCODE, r"\n                       %s \\\n" % flags(architectures), 0)
    # The launcher is host code: a test of the device architecture there always takes the branch that throws.
    file = gemm / "weightOnlyBatchedGemv" / "kernel.h"
    edit(file, r"^#if defined\(__CUDA_ARCH__\) && __CUDA_ARCH__ >= 530\n(        dim3 grid.*?)^#else\n.*?^#endif\n", r"\1", re.M | re.S)

    # nvcc 11.4: a constant of a lambda's enclosing block is seen in a template argument only if it is static,
    attention = third / "libflash_attn"
    edit(attention / "src" / "static_switch.h", r"\bconstexpr (bool CONST_NAME|int kHeadDim)\b", r"constexpr static \1")
    # and it instantiates these two although they are never called.
    file = attention / "cutlass" / "include" / "cute" / "layout_composed.hpp"
    edit(file, r"(stride\(\) const) = delete;", r"\1 { return layout_b().stride(); }")
    edit(file, r"(stride\(ComposedLayout<\w+,\w+,Layout> const& layout\)) = delete;", r"\1 { return stride<Is...>(layout.layout_b()); }")


def main(version, root, architectures):
    third = Path(root, "3rdparty")
    flash_attention(third / "libflash_attn", architectures)
    if version.startswith("0.15."):
        for_cuda_11(third, architectures)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3].split(";"))
