"""What a log's last words are taken for."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from jetson_containers.cli.main import cli
from jetson_containers.core import diagnosis
from tests.unit.shells import is_read_by_a_shell

if TYPE_CHECKING:
    from collections.abc import Iterable

sre: Any = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")

# Messages as the tools print them: Docker, BuildKit, GCC, pip, apt, git, the NVIDIA runtime.
MESSAGES = [
    ("compiler-killed", "c++: fatal error: Killed signal terminated program cc1plus"),
    ("compiler-killed", "gcc: internal compiler error: Killed (program cc1)"),
    ("out-of-memory", "/bin/sh: line 1:  4711 Killed                  cmake --build ."),
    ("out-of-memory", "The command '/bin/sh -c make' returned a non-zero code: 137"),
    ("out-of-memory", 'process "/bin/sh -c make" did not complete successfully: exit code: 137'),
    ("out-of-memory", "make: *** [Makefile:9: all] Error 137"),
    ("out-of-memory", "terminate called after throwing an instance of 'std::bad_alloc'"),
    ("out-of-memory", "#9 31.2 Killed"),
    ("no-space", "write /usr/lib/libtorch.so: no space left on device"),
    ("gpu-memory", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
    ("gpu-memory", "alloc_buffer: allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory"),
    ("gpu-memory", "NvMapMemAllocInternalTagged: 1075072515 error 12"),
    ("gpu-memory", "ValueError: No available memory for the cache blocks. Try increasing gpu_memory_utilization"),
    ("no-space", "OSError: [Errno 28] No space left on device"),
    ("max-depth", "failed to register layer: max depth exceeded"),
    ("builder-cache", "#7 ERROR: layer does not exist"),
    ("runtime-missing", "docker: Error response from daemon: unknown or invalid runtime name: nvidia."),
    ("runtime-missing", "Error response from daemon: Unknown runtime specified nvidia."),
    ("gpus-on-tegra", "nvidia-container-runtime-hook: Auto-detected mode as 'csv'"),
    ("gpu-hook", 'could not select device driver "" with capabilities: [[gpu]].'),
    ("driver-too-old", "requirement error: unsatisfied condition: cuda>=12.9 (cuda=12.6)"),
    ("iptables-raw", "failed to set up container networking: driver failed programming"),
    ("iptables-raw", "iptables v1.8.7: can't initialize iptables table `raw': Table does not exist"),
    ("own-stage-not-seen", "pull access denied for jetson-containers/stage, repository does not exist"),
    ("buildx-missing", "ERROR: BuildKit is enabled but the buildx component is missing or broken."),
    ("exec-format", "exec /bin/sh: exec format error"),
    ("bind-not-a-directory", "Are you trying to mount a directory onto a file (or vice-versa)?"),
    ("mlc-memory", "ValueError: Error when initializing engine: Insufficient GPU memory error: The avail"),
    ("mlc-old-interface", "/usr/bin/python3: No module named mlc_llm.build"),
    ("mlc-old-interface", "ModuleNotFoundError: No module named 'mlc_llm.build'"),
    ("mlc-missing", "zsh: command not found: mlc_llm"),
    ("mlc-missing", "bash: line 1: mlc_llm: command not found"),
    ("mlc-missing", "/usr/bin/python3: No module named mlc_llm"),
    ("metal-missing", 'xcrun: error: unable to find utility "metal", not a developer tool or in PATH'),
    ("wasm-runtime-missing", "RuntimeError: Cannot find libraries: wasm_runtime.bc"),
    ("wasm-runtime-missing", "RuntimeError: Cannot find library: mlc_wasm_runtime.bc"),
    ("webgpu-buffer", "TypeError: Failed to execute 'createBuffer' on 'GPUDevice': Failed to read"),
    ("ndk-missing", "RuntimeError: Require environment variable TVM_NDK_CC  to be the NDK standalone compiler"),
    ("mlc-template", "Warning: Conversation template is not registered in ConvTemplateRegistry: llama2"),
    (
        "mlc-converted-already",
        "KeyError: 'The model located in the directory M has already been compiled by MLC-LLM. There",
    ),
    ("git-lfs-pointers", "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"),
    ("git-lfs-pointers", "_pickle.UnpicklingError: invalid load key, 'v'."),
    ("git-lfs-pointers", "git: 'lfs' is not a git command. See 'git --help'."),
    ("mlc-no-device", "ValueError: No target detected from device: cuda. Please specify explicitly"),
    ("mlc-options", "optimization flags: error: unrecognized arguments: --cutlass_attn=1"),
    ("mlc-options", "gen_config: error: argument --quantization: invalid choice: 'q4f16_awq' (choose from 'q0f16'"),
    ("mlc-directory", "mlc_llm compile: error: argument --output/-o: Directory does not exist: dist/libs"),
    ("github-rate-limit", "ADD failed: failed to GET https://api.github.com/repos/a/b with status 403"),
    ("registry-rate-limit", "toomanyrequests: You have reached your pull rate limit."),
    ("cuda-repository", "#7 141.6 curl: (6) Could not resolve host: developer.download.nvidia.com"),
    ("cuda-repository", "curl: (7) Failed to connect to developer.download.nvidia.com port 443: Connection refused"),
    (
        "cuda-repository",
        "E: Failed to fetch https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/sbsa/Packages  503",
    ),
    ("dns", "curl: (6) Could not resolve host: files.example.org"),
    ("apt-key", "W: GPG error: http://packages.ros.org: EXPKEYSIG F42ED6FBAB17C654 Open Robotics"),
    ("apt-key", "The following signatures couldn't be verified: NO_PUBKEY A4B469963BF863CC"),
    ("hash-mismatch", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."),
    ("hash-mismatch", "sha256sum: WARNING: 1 computed checksum did NOT match"),
    ("hash-mismatch", "E: Failed to fetch http://deb/x.deb  Hash Sum mismatch"),
    ("git-ref-missing", "fatal: Remote branch v1.19.0 not found in upstream origin"),
    ("git-ref-missing", "fatal: reference is not a tree: 0123456789abcdef"),
    (
        "registry-unreachable",
        'Error response from daemon: Get "https://registry.test/v2/": dial tcp: lookup x on 1.1.1.1:53: no such host',
    ),
    (
        "registry-unreachable",
        'failed to do request: Head "https://ghcr.io/v2/a/b/manifests/1": dial tcp 1.2.3.4:443: connection refused',
    ),
    (
        "base-missing",
        "pull access denied for nope, repository does not exist or may require 'docker login': denied: requested",
    ),
    ("dns", "E: Failed to fetch http://deb.example/  Temporary failure resolving 'deb.example'"),
    ("dns", "curl: (6) Could not resolve host: github.com"),
    ("tls", "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
    ("unreachable", "OSError: [Errno 113] No route to host"),
    ("unreachable", "curl: (7) Failed to connect to index.example port 443"),
    ("no-matching-distribution", "ERROR: No matching distribution found for pip"),
    ("constraint-conflict", "ERROR: Cannot install a and b because they have conflicting dependencies."),
    ("apt-package-missing", "E: Unable to locate package libfoo-dev"),
    ("apt-version-missing", "E: Version '1.2' for 'libfoo' was not found"),
    ("apt-dependencies", "E: Unable to correct problems, you have held broken packages."),
    ("cuda-arch", "nvcc fatal   : Unsupported gpu architecture 'compute_110a'"),
    ("numpy-abi", "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.2.6 as it may"),
    ("cpu-wheel", "PyTorch version: 2.9.0+cpu"),
    ("cpu-wheel", "CUDA available: False"),
    ("device-permissions", "CUDA error 801: operation not supported"),
    ("driver-insufficient", "CUDA driver version is insufficient for CUDA runtime version"),
    ("kernel-image", "RuntimeError: CUDA error: no kernel image is available for execution on the device"),
    ("library-missing", "error while loading shared libraries: libcudart.so.12: cannot open shared object"),
    ("python-module-missing", "ModuleNotFoundError: No module named 'torch'"),
    ("copy-missing", "COPY failed: file not found in build context or excluded by .dockerignore: stat x: n"),
    ("dockerfile-syntax", "dockerfile parse error line 3: unknown instruction: INSTALL"),
    ("base-missing", "pull access denied for nobody/nothing, repository does not exist"),
    ("base-missing", "manifest for ubuntu:99.04 not found: manifest unknown: manifest unknown"),
    ("command-missing", "/bin/sh: 1: cmake: not found"),
    ("permission", "docker: /start_ollama: Permission denied"),
]

# Messages of other days, which were taken for something else or for nothing: the further texts of a cause.
MESSAGES += [
    ("gpu-memory", 'RuntimeError: NVML_SUCCESS == r INTERNAL ASSERT FAILED at "CUDACachingAllocator.cpp":838'),
    ("gpu-memory", "Error: model requires more system memory (5.6 GiB) than is available (3.1 GiB)"),
    ("gpu-memory", "llama_init_from_model: failed to allocate buffer for kv cache"),
    ("shared-memory", "NCCL error in: x, Error while creating shared memory segment /dev/shm/nccl-x (size 9637888)"),
    ("shared-memory", "Fatal Python error: Bus error"),
    ("no-space", "RuntimeError: CAS service error : IO Error: No space left on device (os error 28)"),
    ("nvml", "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing"),
    ("display-missing", 'qt.qpa.plugin: Could not load the Qt platform plugin "xcb" in "" even though it was found.'),
    ("display-missing", "_tkinter.TclError: no display name and no $DISPLAY environment variable"),
    ("github-rate-limit", "wget: server returned error: HTTP/1.1 403 rate limit exceeded"),
    ("hub-gated", "Your request to access model google/gemma-3-4b-it is awaiting a review from the repo authors."),
    ("hub-rate-limit", "curl: (22) The requested URL returned error: 429"),
    (
        "file-incomplete",
        "Error while deserializing header: incomplete metadata, file not fully covered",
    ),
    ("gguf-architecture", "ERROR:hf-to-gguf:Model Foo9ForCausalLM is not supported"),
    ("model-type", "NotImplementedError: BPE pre-tokenizer was not recognized - update get_vocab_base_pre()"),
    ("tensor-missing", "error loading model hyperparameters: key not found in model: llama.context_length"),
    ("context-too-long", "16.00 GiB KV cache is needed, which is larger than the available KV cache memory (2.50 GiB)"),
    ("unreachable", "urllib3.exceptions.ProtocolError: ('Connection broken: IncompleteRead(12 bytes read, 8 more)'"),
    ("no-matching-distribution", "╰─▶ Because triton==3.5.0 has no wheels with a matching platform tag (e.g., `x`)"),
    ("constraint-conflict", "× No solution found when resolving dependencies:"),
    ("python-version", "TypeError: unsupported operand type(s) for |: 'type' and 'NoneType'"),
    ("cuda-arch", "ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'"),
    ("numpy-abi", "AttributeError: module 'numpy' has no attribute 'float'."),
    ("cpu-wheel", "Specified provider 'CUDAExecutionProvider' is not in available provider names.Available"),
    (
        "kernel-image",
        "Thor with CUDA capability sm_110 is not compatible with the current PyTorch installation.",
    ),
    ("library-missing", "OSError: libcudnn.so.9: cannot open shared object file: No such file or directory"),
    ("base-missing", "Error response from daemon: No such image: nope:latest"),
    ("libraries-do-not-fit", "RuntimeError: operator torchvision::nms does not exist"),
    ("proxy", "ssl.SSLError: [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1007)"),
    ("externally-managed", "error: The interpreter at /usr is externally managed, and indicates the following:"),
    ("compiler-killed", "collect2: fatal error: ld terminated with signal 9 [Killed]"),
    ("segmentation-fault", "nvcc error   : 'cudafe++' died due to signal 11 (Invalid memory reference)"),
    ("cuda-arch", "RuntimeError: Unknown CUDA arch (11.0) or GPU not supported"),
    ("cmake-package", "Could not find directory of OpenSSL installation, and this `-sys` crate cannot proceed"),
    ("cmake-package", "  Could NOT find NCCL (missing: NCCL_LIBRARY NCCL_INCLUDE_DIR)"),
    ("compiler-missing", "configure: error: no acceptable C compiler found in $PATH"),
    ("unreachable", 'Error response from daemon: Get "https://registry-1.docker.io/v2/": context deadline exceeded'),
    ("dns", "wget: unable to resolve host address 'github.com'"),
    ("tls", "npm error code SELF_SIGNED_CERT_IN_CHAIN"),
    ("daemon-gone", 'Error: unable to connect to Podman socket: Get "http://d/v5/libpod/_ping": dial unix'),
    ("gguf-invalid", "unknown (magic, version) combination: 67676a74, 00000003; is this really a GGML file?"),
    (
        "registry-rate-limit",
        "unexpected status from GET request to https://auth.docker.io/token: 429 Too Many Requests",
    ),
    ("no-space", "UserWarning: Not enough free disk space to download the file. The expected file size is: 4976.70 MB"),
    ("hub-token", "Token is required (`token=True`), but no token found."),
    ("file-incomplete", "PytorchStreamReader failed reading zip archive: failed finding central directory"),
    ("context-too-long", "User-specified max_model_len (65536) is greater than the derived max_model_len (32768)"),
    ("port-in-use", "Error: listen EADDRINUSE: address already in use :::3000"),
    ("driver-insufficient", "The NVIDIA driver on your system is too old (found version 12060)."),
    ("gpu-memory", "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    ("gpu-fault", "CUDA error: unspecified launch failure"),
    ("audio", "OSError: [Errno -9996] Invalid input device (no default output device)"),
    ("apt-release-gone", "E: The repository 'http://archive.debian.org/debian buster Release' is not signed."),
]


@pytest.mark.parametrize(("expected", "message"), MESSAGES, ids=[f"{i}-{row[0]}" for i, row in enumerate(MESSAGES)])
def test_diagnose_recognizes_known_messages(expected: str, message: str) -> None:
    """Known messages are recognized."""
    finding = diagnosis.diagnose(["Step 3/7 : RUN make", message, "make: leaving directory"])
    assert finding is not None
    assert (finding.id, finding.line, finding.number) == (expected, message.strip(), 2)


LOGS_FILE = Path(__file__).parent / "error_logs.yaml"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LOGS: dict[str, dict[str, str]] = yaml.load(LOGS_FILE.read_text(), Loader=LOADER)


@pytest.mark.parametrize("signature", LOGS)
def test_diagnose_recognizes_the_end_of_a_log(signature: str) -> None:
    """The log of each signature, as the tool prints it, is taken for that signature."""
    finding = diagnosis.diagnose(LOGS[signature]["log"].splitlines())
    assert finding is not None
    assert finding.id == signature


@pytest.mark.parametrize("signature", LOGS)
def test_diagnose_does_not_take_what_looks_alike(signature: str) -> None:
    """Lines with the same words and another meaning are not taken for it."""
    finding = diagnosis.diagnose(LOGS[signature]["near"].splitlines())
    assert finding is None or finding.id != signature


def test_signatures_each_have_a_log_and_a_near_miss() -> None:
    """None is without, and none is left over."""
    assert {row.id for row in diagnosis.signatures()} == set(LOGS)
    assert all(row["log"].strip() and row["near"].strip() for row in LOGS.values())


def suggested() -> list[tuple[str, str]]:
    """The commands in backticks of all remedies, with a value in them that a shell would take apart."""
    found = []
    for row in diagnosis.signatures():
        for text in (row.remedy, row.model):
            filled = re.sub(r"\{[0-9]\}", lambda _: shlex.quote("a b;>'c"), text)
            found += [(row.id, command) for command in re.findall(r"`([^`]+)`", filled)]
    return found


@pytest.mark.parametrize(("signature", "text"), suggested(), ids=[f"{row[0]}-{i}" for i, row in enumerate(suggested())])
def test_suggested_commands_are_read_by_shell_and_command_line(signature: str, text: str) -> None:
    """A shell reads each as one line, and ours have commands and options that exist."""
    assert is_read_by_a_shell(text), signature
    words = shlex.split(text)
    if words[0] == "llm":
        words.insert(0, "jetson-containers")
    if words[0] in {"./build.sh", "./autotag"}:
        words = ["jetson-containers", Path(words[0]).stem, *words[1:]]
    if words[0] == "jetson-containers":
        command: click.Command | None = cli
        context = click.Context(cli, info_name="jetson-containers")
        rest = words[1:]
        while isinstance(command, click.Group):
            command = command.get_command(context, rest.pop(0))
        assert command is not None, text
        command.make_parser(click.Context(command)).parse_args(rest)


def test_signatures_each_have_a_cause_and_a_remedy() -> None:
    """Every signature has a cause and a remedy."""
    table = diagnosis.signatures()
    assert all(row.cause and row.remedy for row in table)
    assert len({row.id for row in table}) == len(table)


def test_diagnose_prefers_the_certain_cause_to_its_consequence() -> None:
    """The certain cause wins over its consequence."""
    log = ["ERROR: No matching distribution found for pip", "/bin/sh: python3.6: command not found"]
    finding = diagnosis.diagnose(log)
    assert finding is not None
    assert finding.id == "no-matching-distribution"


def test_diagnose_ignores_an_error_far_above_the_end() -> None:
    """An error far above that was survived is not the cause."""
    log = ["checking for f77... /bin/sh: f77: not found", *[f"compiling {n}.c" for n in range(60)], "it broke"]
    assert diagnosis.diagnose(log) is None


def test_diagnose_looks_past_lines_of_progress() -> None:
    """Lines of progress do not hide the cause."""
    log = ["curl: (7) Failed to connect to example.org", *[f"Get:{n} http://deb/x y [1 kB]" for n in range(99)]]
    finding = diagnosis.diagnose(log)
    assert finding is not None
    assert finding.id == "unreachable"


def test_diagnose_shows_the_last_of_several_lines() -> None:
    """The last of several lines is shown."""
    finding = diagnosis.diagnose(["a: Permission denied", "x", "b: Permission denied"])
    assert finding is not None
    assert (finding.line, finding.number) == ("b: Permission denied", 3)


def test_diagnose_puts_groups_of_the_pattern_into_the_cause() -> None:
    """Groups of the pattern are named in the cause."""
    finding = diagnosis.diagnose(["W: EXPKEYSIG F42ED6FBAB17C654 Open Robotics"])
    assert finding is not None
    assert "(EXPKEYSIG F42ED6FBAB17C654)" in finding.cause


@pytest.mark.parametrize(
    ("exit_code", "oom", "expected"),
    [(137, False, "out-of-memory"), (1, True, "out-of-memory"), (127, False, "command-missing"), (3, False, None)],
)
def test_diagnose_by_the_exit_code_alone(exit_code: int, oom: bool, expected: str | None) -> None:
    """An exit code alone can tell."""
    finding = diagnosis.diagnose(["nothing known"], exit_code=exit_code, oom_killed=oom)
    assert (finding.id if finding else None) == expected


def test_diagnose_gives_no_cause_for_an_unknown_failure() -> None:
    """An unknown failure has no invented cause."""
    assert diagnosis.diagnose(["all well", "until it was not"]) is None
    assert diagnosis.diagnose([]) is None


def test_relevant_lines_leave_out_progress_and_package_managers() -> None:
    """The relevant lines leave progress and package managers out."""
    log = [
        "Sending build context to Docker daemon  2.048kB",
        "#1 [internal] load build definition from Dockerfile",
        "#1 sha256:f9fd566f3348a5d5e784ae9e3214d3161276275ee39de908f53f87b9c1103862",
        "------",
        "Step 1/2 : RUN apt-get update && pip install x",
        " ---> Running in 0123456789ab",
        "Get:1 http://mirror.example/debian bookworm InRelease [151 kB]",
        "Setting up libc6 (2.36) ...",
        "Collecting torch",
        "     ━━━━━━━━━━━━━━━━━━━━ 12.3/12.3 MB 3.4 MB/s eta 0:00:00",
        "#7 4.21 Unpacking foo (1.0) ...",
        "",
        "\x1b[31mERROR: it broke\x1b[0m",
        "ERROR: it broke",
        "The command '/bin/sh -c pip' returned a non-zero code: 1",
    ]
    assert diagnosis.relevant(log) == [
        "Step 1/2 : RUN apt-get update && pip install x",
        "ERROR: it broke",
        "The command '/bin/sh -c pip' returned a non-zero code: 1",
    ]


@pytest.mark.parametrize(
    "echo",
    [
        'Step 3/9 : RUN make || echo "No space left on device"',
        '#5 [2/2] RUN make || echo "No space left on device"',
        " > [2/2] RUN make || echo No space left on device:",
        "   4 | >>> RUN make || echo No space left on device",
        "#5 ERROR: executor failed running [/bin/sh -c echo No space left on device]: exit code: 1",
        "The command '/bin/sh -c echo No space left on device' returned a non-zero code: 1",
        'ERROR: process "/bin/sh -c echo No space left on device" did not complete successfully: exit code: 1',
    ],
)
def test_diagnose_ignores_messages_in_the_text_of_the_recipe(echo: str) -> None:
    """A message in the text of the recipe is ignored."""
    assert diagnosis.diagnose([echo]) is None


def test_diagnose_of_a_killed_process_shows_its_line() -> None:
    """A process that was killed names the line that shows it."""
    log = ["No space left on device", "c++: fatal error: Killed signal terminated program cc1plus", "exit code: 1"]
    finding = diagnosis.diagnose(log, oom_killed=True)
    assert finding is not None
    assert (finding.id, finding.number) == ("compiler-killed", 2)


@pytest.mark.parametrize("stamp", ["[2024-01-05 10:11:12] ERROR gen_config.py:64: it broke", "   3 errors generated."])
def test_relevant_lines_may_begin_with_a_time_or_a_number(stamp: str) -> None:
    """A bracket or blanks before a number are not yet a progress bar; those of ninja and make are."""
    assert diagnosis.relevant([stamp, "[41/1200] Building CXX object x.o", "[ 41%] Building y.o"]) == [stamp]


def test_relevant_lines_of_an_unknown_failure_are_where_it_began() -> None:
    """The first error and the end are shown, not what came between them."""
    log = [f"compiling {number}.c" for number in range(200)]
    log[50] = "x.c:7: error: unknown type name 'foo'"
    log += [f"waiting for job {number}" for number in range(100)] + ["make: *** [all] Error 2"]
    shown = diagnosis.relevant(log, count=10)
    assert shown[:3] == ["…", "compiling 49.c", "x.c:7: error: unknown type name 'foo'"]
    assert shown[-1] == "make: *** [all] Error 2"
    assert len([line for line in shown if line != "…"]) == 10


def test_relevant_lines_do_not_take_the_recipe_for_an_error() -> None:
    """A command that the builder repeats holds words of errors without having failed."""
    log = ["Step 2/3 : RUN make || echo failed"] + [f"line {number}" for number in range(50)]
    assert diagnosis.relevant(log, count=4) == [f"line {number}" for number in range(46, 50)]


def test_relevant_lines_without_an_error_are_the_last_ones() -> None:
    """Where no line sounds like an error, the last ones are shown."""
    assert diagnosis.relevant([str(n) + "!" for n in range(100)], count=3) == ["97!", "98!", "99!"]


@pytest.mark.parametrize(
    "line",
    [
        'docker: Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup x: no such host',
        "docker: Error response from daemon: pull access denied for nope, repository does not exist",
        'failed to create shim task: exec: "llama-server": executable file not found in $PATH: unknown',
        "sh: 1: llama-server: not found",
        "ModuleNotFoundError: No module named 'vllm'",
    ],
)
def test_diagnose_does_not_explain_a_wrong_image_by_network_or_recipe(line: str) -> None:
    """A wrong image is not explained by the network or a recipe."""
    finding = diagnosis.diagnose(["Unable to find image 'nope:1' locally", line], exit_code=125, model=True)
    assert finding is not None
    told = f"{finding.cause} {finding.remedy}"
    assert "image" in finding.cause
    assert "host name" not in told
    assert "recipe" not in told
    assert "--use-proxy" not in told


def test_diagnose_recognizes_a_missing_server_by_its_status_alone() -> None:
    """A server that is missing in the image is recognized by its status alone."""
    finding = diagnosis.diagnose([], exit_code=127, model=True)
    assert finding is not None
    assert "not in the image" in finding.cause
    assert "--image" in finding.remedy


def test_diagnose_of_a_missing_apt_package_names_the_missing_update_first() -> None:
    """A missing apt package points at the missing update first."""
    finding = diagnosis.diagnose(["E: Unable to locate package nosuchpackage"])
    assert finding is not None
    assert "`nosuchpackage`" in finding.cause
    assert finding.remedy.index("apt-get update") < finding.remedy.index("spelling") < finding.remedy.index("--base")


def test_diagnose_does_not_take_a_warning_about_locked_memory_for_its_end() -> None:
    """A server that may not lock its memory goes on without."""
    line = "warning: failed to mlock 3825205248-byte buffer (after previously locking 0 bytes): Cannot allocate memory"
    assert diagnosis.diagnose([line], model=True) is None


def test_diagnose_of_an_isolated_build_wants_both_of_its_lines() -> None:
    """A module that is missing in a program is not hidden by pip."""
    missing = "ModuleNotFoundError: No module named 'numpy'"
    ran = diagnosis.diagnose([missing])
    built = diagnosis.diagnose(["× Preparing metadata (pyproject.toml) did not run successfully.", missing])
    assert ran is not None
    assert built is not None
    assert (ran.id, built.id) == ("python-module-missing", "build-isolation")


def test_diagnose_of_a_hub_that_does_not_answer_says_nothing_of_an_index() -> None:
    """Who downloads a model builds nothing."""
    finding = diagnosis.diagnose(["OSError: [Errno 101] Network is unreachable"], model=True)
    assert finding is not None
    assert "build" not in finding.cause + finding.remedy
    assert "INDEX_URL" not in finding.remedy


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            "ERROR: [Errno 98] error while attempting to bind on address ('::', 8000): address already in use",
            "port 8000",
        ),
        ("OSError: [Errno 98] Address already in use", "port already"),
        ("RuntimeError: The current user does not have permissions set to access the library", "the device"),
    ],
)
def test_diagnose_leaves_no_gap_for_what_a_line_does_not_name(line: str, cause: str) -> None:
    """Not every program says which port or device it is."""
    finding = diagnosis.diagnose([line])
    assert finding is not None
    assert cause in finding.cause
    assert "  " not in finding.cause
    assert finding.cause == finding.cause.strip()


def test_diagnose_reads_both_ends_of_a_long_line() -> None:
    """What somebody printed may be of any length; an error stands at one of its ends, and the finding stays short."""
    data = "QUJD" * 50_000
    for line in (f"OSError: [Errno 28] No space left on device: {data}", f"{data} No space left on device"):
        found = diagnosis.diagnose([line])
        assert found is not None
        assert found.id == "no-space"
        assert len(found.line) <= diagnosis.LONGEST_LINE


def may_begin_anywhere(parsed: Iterable[Any]) -> bool:
    """Whether a match may begin at each character of a long word, and look at the rest of the word from each.

    Such a pattern takes a minute for a line of 100,000 letters. What is of one length, an end of a word and a look
    behind let a search go on at once.
    """
    for kind, what in parsed:
        name = str(kind)
        if name in {"MAX_REPEAT", "MIN_REPEAT"}:
            least, most, inner = what
            if most == sre.MAXREPEAT or may_begin_anywhere(inner):
                return True
            if least:
                return False
        elif name == "SUBPATTERN":
            if may_begin_anywhere(what[-1]):
                return True
            if what[-1].getwidth()[0]:
                return False
        elif name == "BRANCH":
            return any(may_begin_anywhere(each) for each in what[1])
        else:
            return False
    return False


@pytest.mark.parametrize("pattern", [r"(\S+): not found", r"x?(?:a|[0-9]+ of)", r"(?:(?:a\d*)|\w*)!"])
def test_pattern_that_begins_with_any_length_is_seen(pattern: str) -> None:
    """The check below finds what it looks for, behind what may be left out and inside groups too."""
    assert may_begin_anywhere(sre.parse(pattern))


def test_signatures_begin_where_a_word_does() -> None:
    """No pattern looks at a whole line again from each of its characters."""
    patterns = {row.id: row.pattern.pattern for row in diagnosis.signatures()}
    patterns |= {f"{row.id}, also": row.also.pattern for row in diagnosis.signatures() if row.also}
    assert [name for name, pattern in patterns.items() if may_begin_anywhere(sre.parse(pattern))] == []


def test_diagnose_looks_at_so_many_characters_alone() -> None:
    """Above them nothing is looked at, however few lines they are; `exit_code` still says something."""
    full = ["x " * (diagnosis.LONGEST_LINE // 2)] * (diagnosis.SEARCHED_CHARACTERS // (diagnosis.LONGEST_LINE - 1) + 1)
    cause = "OSError: [Errno 28] No space left on device"
    assert diagnosis.diagnose([cause, *full]) is None
    assert diagnosis.diagnose([cause, *full[:-2]]) is not None
