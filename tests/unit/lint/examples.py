"""Recipes for the tests of lint, and a bad and a good example for each rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.lint.run import lint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


CPU = ("x86_64-cpu",)
SHA = "0123456789abcdef" * 4
COMMIT = "0123456789" * 4
TOKEN = "gh" + "p_" + "aB3dE6gH9jK2mN5pQ8rT"  # of the form of one, and nobody's
FINGERPRINT = COMMIT.upper()
FROM = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
GOOD_HEADER = "license: MIT\ndocs: A package.\ntest: test.sh\nsource: {apt: hello=1}\n"


def write(tree: Path, name: str, files: Mapping[str, str]) -> Path:
    for file, text in files.items():
        path = tree / "group" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tree / "group" / name


def recipe(body: str = "RUN hello\n", header: str = GOOD_HEADER, base: str = FROM) -> str:
    lines = "".join(f"# {line}\n" for line in header.splitlines())
    return f"#---\n# name: pkg\n{lines}#---\n{base}{body}"


def rules_of(tree: Path, *, targets: Sequence[str] = CPU, shellcheck: bool = False) -> list[str]:
    return [item.rule for item in lint([tree], targets=targets, shellcheck=shellcheck).findings]


def of_dockerfile(tmp_path: Path, dockerfile: str, **files: str) -> list[str]:
    named = {name.replace("_", ".", 1): text for name, text in files.items()}
    write(tmp_path, "pkg", {"Dockerfile": dockerfile, "test.sh": "set -e\nhello\n", **named})
    return rules_of(tmp_path)


# (rule, RUN that breaks it, RUN that does not)
RUNS = [
    ("git-unpinned", "git clone https://x.org/a", f"git clone https://x.org/a && git -C a checkout {COMMIT}"),
    ("git-unpinned", "git clone --branch main https://x.org/a", "git clone --depth 1 --branch v1.2 https://x.org/a"),
    ("git-unpinned", "git clone -q https://x.org/a b && git -C b checkout main", 'git clone -b "$REF" https://x.org/a'),
    ("git-unpinned", "cd a && git pull", f"git -C a fetch --depth 1 https://x.org/a {COMMIT}"),
    ("git-unpinned", "git fetch https://x.org/a HEAD", 'git fetch https://x.org/a "$COMMIT"'),
    ("git-unpinned", "git submodule update --init --remote", "git submodule update --init --recursive"),
    ("pip-unpinned", "pip install --no-cache-dir numpy", "pip install --no-cache-dir numpy==1.26.4"),
    ("pip-unpinned", "pip3 install --no-cache-dir 'numpy>=1,<2'", "pip3 install --no-cache-dir 'a[x]==1.0' b==2"),
    (
        "pip-unpinned",
        "python3 -m pip install --no-cache-dir -U pip",
        "python3 -m pip install --no-cache-dir --require-hashes -r /tmp/any.txt",
    ),
    (
        "pip-unpinned",
        "uv pip install --no-cache --index-url https://x.org torch",
        "uv pip install --no-cache --index-url https://x.org torch==2.8",
    ),
    ("pip-unpinned", "pip install --no-cache-dir -r /tmp/any.txt", "pip install --no-cache-dir --no-index any"),
    (
        "pip-unpinned",
        "pip install --no-cache-dir git+https://x.org/a@main",
        f"pip install --no-cache-dir git+https://x.org/a@{COMMIT}",
    ),
    ("pip-unpinned", "pip install --no-cache-dir .", "pip install --no-cache-dir --no-deps ."),
    (
        "pip-unpinned",
        'w=torch && pip install --no-cache-dir "$w"',
        'w="torch==$V" && pip install --no-cache-dir "$w"',
    ),
    (
        "pip-unpinned",
        'get() { pip install --no-cache-dir "$@"; } && get numpy',
        'get() { pip install --no-cache-dir "$@"; } && get numpy==1',
    ),
    ("pip-cache", "pip install numpy==1.26.4", "pip install numpy==1.26.4 && rm -rf ~/.cache"),
    ("pip-cache", "pip wheel a==1", "PIP_NO_CACHE_DIR=1 pip wheel a==1"),
    ("install-unpinned", "npm install -g pnpm", "npm install -g pnpm@9.1.0 @scope/a@1"),
    ("install-unpinned", "npm i pnpm@latest", "npm ci"),
    ("install-unpinned", "cargo install ripgrep", "cargo install --locked ripgrep@14.1.0"),
    ("install-unpinned", "go install x.org/a@latest", "go install x.org/a@v1.2.3"),
    (
        "download-unchecked",
        "curl -fsSLo a.tar https://x.org/a.tar && tar xf a.tar",
        'curl -fsSLo a.tar https://x.org/a.tar && echo "$SHA  a.tar" | sha256sum -c -',
    ),
    ("download-unchecked", "curl -fsSL https://x.org/i.sh | bash", "curl -fsS http://localhost:8000/health"),
    (
        "download-unchecked",
        'wget -q "$URL"',
        'wget -q "$URL" && sha512sum --check sums',
    ),
    (
        "download-unchecked",
        'sha256sum -c other; get() { curl -f -o a "$1"; }; get https://x.org/a',
        'get() { curl -f -o a "$1"; }; get https://x.org/a; sha256sum --check sums',
    ),
    (
        "download-unchecked",
        'a() { curl -f -o a "$1"; }; b() { curl -f -o b "$1"; sha256sum -c s; }; b x; a y',
        'check() { sha256sum -c s; }; a() { curl -f -o a "$1"; check; }; a y',
    ),
    (
        "download-unchecked",
        "python3 -c 'import urllib.request as u; u.urlretrieve(\"https://x.org/a\", \"a\")'",
        "python3 -c 'import urllib.request as u; u.urlretrieve(\"https://x.org/a\", \"a\")' && sha256sum -c s",
    ),
    (
        "key-unpinned",
        "curl -fsSL https://x.org/k.gpg | gpg --dearmor -o /usr/share/keyrings/k.gpg",
        "curl -fsSLo k.asc https://x.org/k.asc && gpg --show-keys --with-colons k.asc | grep -q F",
    ),
    ("key-unpinned", "apt-key add k", "gpg --verify a.sig a"),
    ("key-unpinned", "gpg --keyserver x.org --recv-keys 3BF863CC", f"gpg --recv-keys {FINGERPRINT}"),
    ("hidden-failure", "make || true", "make || exit 1"),
    ("hidden-failure", "make || :", "make || make clean"),
    ("hidden-failure", 'make || echo "failed"', 'make || { echo "failed" >&2; exit 1; }'),
    ("hidden-failure", "make || { echo failed; true; }", '[ -e a ] || echo "no a"'),
    ("hidden-failure", "make || exit 0", "command -v make || exit 0"),
    ("hidden-failure", "make; true", "if ! make; then true; fi && hello"),
    ("hidden-failure", "set +e; make", "set -e; make"),
    (
        "hidden-failure",
        "curl -sSLo a https://x.org/a && sha256sum -c s",
        "curl -fsSLo a https://x.org/a && sha256sum -c s",
    ),
    ("tls-off", "curl -fsSLk https://x.org/a | sha256sum -c", "curl -fsSL https://x.org/a | sha256sum -c"),
    (
        "tls-off",
        "wget --no-check-certificate https://x.org/a && sha256sum -c s",
        "wget https://x.org/a && sha256sum -c s",
    ),
    (
        "tls-off",
        "pip install --no-cache-dir --trusted-host x.org a==1",
        "pip install --no-cache-dir --cert /ca a==1",
    ),
    ("tls-off", "git -c http.sslVerify=false fetch https://x.org/a v1", "git fetch https://x.org/a v1"),
    ("tls-off", "git config --global http.sslVerify false", "git config --global http.sslCAInfo /ca"),
    ("tls-off", "GIT_SSL_NO_VERIFY=1 git fetch https://x.org/a v1", "GIT_SSL_CAINFO=/ca git fetch https://x.org/a v1"),
    ("tls-off", "echo 'deb [trusted=yes] https://x.org /' > l", "echo 'deb [signed-by=/k] https://x.org /' > l"),
    (
        "apt-lists",
        "apt-get update && apt-get install -y --no-install-recommends a",
        "apt-get update && apt-get install -y --no-install-recommends a && rm -rf /var/lib/apt/lists/*",
    ),
    (
        "apt-recommends",
        "apt-get install -y a && rm -rf /var/lib/apt/lists/*",
        "apt-get -o APT::Install-Recommends=false install -y a && rm -rf /var/lib/apt/lists/*",
    ),
    ("env-leak", "pip config set global.index-url https://x.org", "pip config set global.timeout 9"),
    ("env-leak", "echo 'index-url = https://x.org' > /etc/pip.conf", "echo 'timeout = 9' > /etc/pip.conf"),
]  # fmt: skip


# (rule, instructions that break it, instructions that do not)
INSTRUCTIONS = [
    ("recipe-broken", "RUX hello\n", "RUN hello\n"),
    ("buildkit-only", "RUN --mount=type=cache,target=/c hello\n", "RUN hello\n"),
    ("buildkit-only", "RUN <<EOF\nhello\nEOF\n", 'RUN ["hello"]\n'),
    ("base-unpinned", "FROM ubuntu\nRUN hello\n", "FROM ubuntu:24.04\nRUN hello\n"),
    ("base-unpinned", "FROM x.org:5000/a:latest\nRUN hello\n", f"FROM a@sha256:{SHA}\nRUN hello\n"),
    ("base-unpinned", "FROM a:main AS b\nFROM b\nRUN hello\n", "FROM scratch AS b\nFROM b\nRUN hello\n"),
    ("copy-all", "COPY . /src\n", "COPY test.sh /src/\n"),
    ("copy-all", "COPY ./ /src/\n", "COPY ./test.sh /src/\n"),
    ("copy-all", 'ADD ["/", "/src"]\n', "COPY --from=${BASE_IMAGE} / /\n"),
    ("download-unchecked", "ADD https://x.org/a.tar /a\n", f"ADD --checksum=sha256:{SHA} https://x.org/a.tar /a\n"),
    ("git-unpinned", "ADD https://x.org/a.git#main /a\n", f"ADD https://x.org/a.git#{COMMIT} /a\n"),
    ("env-leak", "ENV HF_TOKEN=1\n", "ENV TOKENIZERS_PARALLELISM=1\n"),
    ("env-leak", "ARG GITHUB_TOKEN\n", "ARG GITHUB_REF\n"),
    ("env-leak", "ENV A=1 PIP_INDEX_URL=https://x.org\n", "ENV PIP_NO_CACHE_DIR=1\n"),
    ("env-leak", "ENV DEBIAN_FRONTEND noninteractive\n", "ARG DEBIAN_FRONTEND=noninteractive\n"),
    ("env-leak", "ENV https_proxy=http://p\n", "ENV LANG C.UTF-8\n"),
    ("env-leak", f"    # ENV X={TOKEN}\n", "# ENV X=hf_YOUR_TOKEN_GOES_HERE\n"),
    ("env-leak", f"RUN hello --key {TOKEN}\n", "RUN hello sk-learn-contrib-tools9 task-management2026\n"),
]


def header(**changed: str) -> str:
    given = {"license": "MIT", "docs": "A package.", "test": "test.sh", "source": "{apt: hello=1}", **changed}
    return "".join(f"{key}: {value}\n" for key, value in given.items() if value)


# (rule, header that breaks it, header that does not)
HEADERS = [
    ("licence-missing", header(license=""), header(license="Apache-2.0 OR MIT")),
    ("licence-missing", header(license="the usual"), header(license="LicenseRef-NVIDIA-EULA")),
    ("docs-missing", header(docs=""), header(docs="What it is.")),
    ("docs-missing", header(docs="README.md"), header(docs="lock.md")),
    ("test-missing", header(test="[]"), header(test="test.sh")),
    ("test-missing", header(test="absent.py"), header(test="test.sh --quick")),
    ("source-missing", header(source=""), header(source="{python: a==1, lock: a.lock}")),
    ("source-unpinned", header(source="{git: x.org, ref: v1}"), header(source=f"{{git: x.org, commit: {COMMIT}}}")),
    ("source-unpinned", header(source="{git: x.org, commit: 0123456}"), header(source="{host: the host brings it}")),
    ("source-unpinned", header(source="{url: x.org}"), header(source=f"{{url: x.org, sha256: {SHA}}}")),
    ("source-unpinned", header(source="{url: x.org, sha256: 12}"), header(source="{url: x.org, lock: [a.lock]}")),
    ("source-unpinned", header(source="{python: a==1}"), header(source="{python: a==1, lock: a.lock}")),
    ("source-unpinned", header(source="{lock: absent.lock}"), header(source="{lock: a.lock}")),
    ("source-unpinned", header(source="{apt: a, key: 3BF8}"), header(source=f"{{apt: a, key: {FINGERPRINT}}}")),
    ("lock-stale", header(source="{python: a==2, lock: a.lock}"), header(source="{python: a==1, lock: a.lock}")),
    (
        "platform-switch",
        header(depends="[\"{{ 'other' if cuda else '' }}\"]"),
        header(platforms="[{requires: cpu}, {requires: '!=cpu', depends: other}]"),
    ),
    ("platform-switch", header(notes="\"{{ cuda or 'none' }}\""), header(notes='"{{ arch }}, {{ sm | join }}"')),
    ("platform-switch", header(notes="\"{{ {'sbsa': 'a'}.get(arch) }}\""), header(notes='"{{ arch | upper }}"')),
    ("arg-unused", header(args="{NOWHERE: 1}"), header(args="{BASE_IMAGE: a}")),
    ("depends-dangling", header(depends="[nowhere]"), header(depends="[other]")),
    ("depends-dangling", header(depends="['other>=2']"), header(depends="['other>=1']")),
    ("depends-dangling", header(depends="['other:2']"), header(depends="['other:1.0']")),
    ("closure", header(depends="['other:1.0', newer]"), header(depends="['other:1.0', older]")),
    ("closure", header(depends="[pkg]"), header(depends="[]")),
    ("recipe-broken", header(licence="MIT"), header(license="MIT")),
    ("name-duplicate", header(alias="other"), header(alias="pkg2")),
]  # fmt: skip
