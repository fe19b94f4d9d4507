"""What an image must hold to run on a board: the judgement of what the check inside the image found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from packaging.version import Version

from jetson_containers.builder import image_check
from jetson_containers.builder.image_check import Coverage, GpuCode, ImageContents, coverage, judge
from jetson_containers.core.errors import NotReadyError

SITE = "/opt/venv/lib/python3.10/site-packages"


@pytest.mark.parametrize(
    ("sm", "code", "ptx", "fit"),
    [
        (87, ["87"], [], Coverage.NATIVE),
        (87, ["80", "86"], [], Coverage.EARLIER),
        (87, ["80"], ["80"], Coverage.EARLIER),
        (87, ["89", "90"], ["90"], Coverage.NONE),
        (87, ["72"], ["72"], Coverage.JIT),
        (87, ["72"], [], Coverage.NONE),
        (72, ["70"], [], Coverage.EARLIER),
        (90, ["90a"], [], Coverage.NATIVE),
        (103, ["100a"], ["100a"], Coverage.NONE),
        (103, ["100f"], [], Coverage.EARLIER),
        (103, [], ["100f"], Coverage.JIT),
        (110, [], ["100f"], Coverage.NONE),
        (121, ["120"], ["120"], Coverage.EARLIER),
        (110, ["101a", "87"], ["87"], Coverage.JIT),
        (110, [], [], Coverage.NONE),
        (110, ["nonsense", "sm_110"], [], Coverage.NONE),
    ],
)
def test_coverage_follows_the_rules_of_binary_and_ptx_compatibility(
    sm: int, code: list[str], ptx: list[str], fit: Coverage
) -> None:
    """Same major and no later minor for machine code, no later architecture for PTX, `a` and `f` only theirs."""
    assert coverage(sm, code, ptx) is fit


def whole(**more: Any) -> ImageContents:
    return ImageContents(files=3, **more)


def test_judge_refuses_a_library_that_is_not_found() -> None:
    """The fault that a missing GPU used to hide: a library beside its user that the loader does not find."""
    verdict = judge(
        whole(missing={"/opt/tvm/libtvm.so": ("libfpA_intB_gemm.so",)}), (87,), cuda=Version("12.6"), tegra=True
    )
    assert verdict.problems == ("/opt/tvm/libtvm.so needs libfpA_intB_gemm.so",)


def test_judge_refuses_a_broken_import_and_notes_another_failure() -> None:
    """Only the loader's own words mean that the image is broken; a package may fail because it wants a GPU."""
    imports = {"torch": ("broken", "OSError: libx.so: cannot open"), "vllm": ("other", "RuntimeError: no GPU")}
    verdict = judge(whole(imports=imports), (), cuda=None, tegra=False)
    assert verdict.problems == ("import torch: OSError: libx.so: cannot open",)
    assert verdict.notes == ("import vllm: RuntimeError: no GPU",)


def test_judge_refuses_gpu_code_for_other_gpus() -> None:
    """A file with GPU code of which none runs on the board is dead there."""
    files = {f"{SITE}/pkg/_c.so": GpuCode(code=("90", "100"), ptx=("90",))}
    verdict = judge(whole(gpu_code=files), (87,), cuda=Version("12.6"), tegra=True)
    assert verdict.problems == (f"{SITE}/pkg/_c.so has no code for sm_87, only sm_90, sm_100, compute_90",)


def test_judge_allows_kernels_for_one_architecture_alone_beside_those_for_the_board() -> None:
    """FlashAttention 3 is for sm_90a and nothing else; its package has other kernels for the rest."""
    files = {f"{SITE}/vllm/_c.so": GpuCode(code=("87",)), f"{SITE}/vllm/_fa3.so": GpuCode(code=("90a",))}
    verdict = judge(whole(gpu_code=files), (87,), cuda=Version("12.6"), tegra=True)
    assert verdict.problems == ()
    assert "uses other files there" in verdict.notes[0]
    alone = judge(whole(gpu_code={f"{SITE}/fa3/_fa3.so": GpuCode(code=("90a",))}), (87,), cuda=None, tegra=True)
    assert len(alone.problems) == 1


@pytest.mark.parametrize(
    ("name", "code", "problems"),
    [
        ("_C_cutlass_90a.abi3.so", ("90a",), 0),
        ("_C_cutlass_90a.abi3.so", ("90a", "100a"), 1),
        ("_C_cutlass.abi3.so", ("90a",), 1),
        ("_C_190a.so", ("90a",), 1),
        ("_C_90.so", ("90",), 1),
    ],
)
def test_judge_allows_a_file_that_is_called_after_the_one_architecture_it_is_for(
    name: str, code: tuple[str, ...], problems: int
) -> None:
    """torchao, which GPTQModel brings, has compiled kernels for sm_90a alone, and does the rest in Triton."""
    found = judge(whole(gpu_code={f"{SITE}/torchao/{name}": GpuCode(code=code)}), (87,), cuda=None, tegra=False)
    assert len(found.problems) == problems
    assert len(found.notes) == 1 - problems


def test_judge_notes_code_of_an_earlier_architecture_on_tegra_only() -> None:
    """NVIDIA promises it for desktop GPUs; on Jetson it works and is said."""
    files = {"/usr/local/lib/libx.so": GpuCode(code=("80",))}
    assert "earlier architecture" in judge(whole(gpu_code=files), (87,), cuda=None, tegra=True).notes[0]
    assert judge(whole(gpu_code=files), (86,), cuda=None, tegra=False).notes == ()


BNB = f"{SITE}/bitsandbytes"


def test_judge_allows_files_for_other_toolkits_beside_one_that_fits() -> None:
    """A wheel with one file per CUDA, ROCm and oneAPI: the machine loads the one that fits."""
    missing = {
        f"{BNB}/libcuda118.so": ("libcublas.so.11", "libcudart.so.11.0"),
        f"{BNB}/librocm72.so": ("libhipblas.so.3",),
        f"{BNB}/libxpu2026.so": ("libimf.so", "libsycl.so.9"),
    }
    code = {f"{BNB}/libcuda126.so": GpuCode(code=("80", "87")), f"{BNB}/libcuda118.so": GpuCode(code=("80",))}
    verdict = judge(whole(missing=missing, gpu_code=code), (87,), cuda=Version("12.6"), tegra=True)
    assert verdict.problems == ()
    assert len([note for note in verdict.notes if "another toolkit" in note]) == 3


def test_judge_allows_the_backend_of_a_tensorrt_that_the_image_lacks() -> None:
    """The GPU wheel of ONNX Runtime has one file for CUDA, and one for TensorRT that is loaded when it is asked for."""
    folder = f"{SITE}/onnxruntime/capi"
    backend, other = f"{folder}/libonnxruntime_providers_tensorrt.so", f"{folder}/libonnxruntime_providers_cuda.so"
    missing = {backend: ("libnvinfer.so.10", "libnvonnxparser.so.10")}
    code = {other: GpuCode(code=("86",))}
    verdict = judge(whole(missing=missing, gpu_code=code), (87,), cuda=Version("13.0"), tegra=False)
    assert verdict.problems == ()
    assert verdict.notes == (
        f"{backend} needs {', '.join(missing[backend])}: it is for a TensorRT that is not in the image",
    )
    alone = judge(whole(missing=missing), (87,), cuda=Version("13.0"), tegra=False)
    assert len(alone.problems) == 1
    broken = {**missing, other: ("libcudnn.so.9",)}
    assert len(judge(whole(missing=broken, gpu_code=code), (87,), cuda=Version("13.0"), tegra=False).problems) == 2


def test_judge_refuses_files_for_other_toolkits_where_none_fits() -> None:
    """The same wheel in an image whose CUDA it has no file for cannot use the GPU."""
    missing = {f"{BNB}/libcuda118.so": ("libcudart.so.11.0",)}
    code = {f"{BNB}/libcuda118.so": GpuCode(code=("87",))}
    verdict = judge(whole(missing=missing, gpu_code=code), (87,), cuda=Version("12.6"), tegra=True)
    assert verdict.problems == (f"{BNB}/libcuda118.so needs libcudart.so.11.0",)


def test_judge_allows_files_for_cuda_in_an_image_without_it() -> None:
    """A CPU image with a wheel that also has GPU files uses none of them."""
    missing = {f"{SITE}/torchao/_c.so": ("libtorch_cuda.so", "libcudart.so.13")}
    assert judge(whole(missing=missing), (), cuda=None, tegra=False).problems == ()


def test_judge_notes_helper_programs_of_a_package_that_imports() -> None:
    """A test program that a wheel carries is nothing that a user starts."""
    path = f"{SITE}/torch/bin/test_shim"
    contents = whole(missing={path: ("libc10.so",)}, programs=frozenset({path}), imports={"torch": ("ok", "")})
    verdict = judge(contents, (), cuda=None, tegra=False)
    assert (verdict.problems, verdict.notes) == ((), (f"{path} needs libc10.so",))


ANSWER: dict[str, Any] = {
    "files": 2,
    "missing": {"/a": ["libb.so"]},
    "programs": ["/a"],
    "gpu_code": {"/c": {"code": ["87"], "ptx": []}},
    "imports": {"m": {"status": "ok", "said": ""}},
    "complete": True,
}


def test_parse_reads_the_last_line() -> None:
    """An image may print a banner before the answer."""
    contents = image_check.parse("welcome\n" + json.dumps(ANSWER))
    assert contents.missing == {"/a": ("libb.so",)}
    assert contents.gpu_code == {"/c": GpuCode(code=("87",))}
    assert contents.imports == {"m": ("ok", "")}
    assert contents.programs == {"/a"}


def test_parse_makes_text_of_an_image_printable() -> None:
    """What an image says goes to a terminal: no escape sequence, no line break, no flood."""
    wild = ANSWER | {"imports": {"m": {"status": "broken", "said": "\x1b[2Jno\nway" + "x" * 9000}}}
    said = image_check.parse(json.dumps(wild)).imports["m"][1]
    assert said.startswith(" [2Jno way")
    assert len(said) == 500


@pytest.mark.parametrize(
    "output",
    [
        "",
        "welcome",
        "[]",
        "null",
        "[" * 100_000,
        json.dumps(ANSWER | {"files": -1}),
        json.dumps(ANSWER | {"files": "2"}),
        json.dumps(ANSWER | {"missing": []}),
        json.dumps(ANSWER | {"missing": {"/a": "libb.so"}}),
        json.dumps(ANSWER | {"gpu_code": {"/c": ["87"]}}),
        json.dumps(ANSWER | {"imports": {"m": "ok"}}),
        json.dumps({name: value for name, value in ANSWER.items() if name != "programs"}),
    ],
)
def test_parse_refuses_an_answer_that_cannot_be_right(output: str) -> None:
    """Unknown is not right: the caller hears that the check gave no answer."""
    with pytest.raises(NotReadyError):
        image_check.parse(output)
