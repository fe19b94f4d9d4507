"""The script that the commands of a build read first: it makes their programs fetch from the setting `mirrors`.

Each RUN begins with `. /dev/jetson/mirrors.sh`, a secret file: its content is in no image, no history and no cache key.
It sets variables where a program reads one. apt, curl and wget read none that rewrites addresses, so programs of the
same names are laid before them, in /dev of the build container, which is a file system of its own and gone afterwards.
Only root can write there: other users get shell functions for curl and wget. cargo reads `/.cargo/config.toml`, which
is removed when the command ends.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jetson_containers.core import mirrors
from jetson_containers.dockerfile import inject

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACE = "/dev/jetson-mirrors"
_END = "JETSON_END"
_TABLE_END = "JETSON_TABLE"

_REDIRECT = f"""redirect() {{
    found=$1
    while read -r from to; do
        case $1 in "$from"*) found=$to${{1#"$from"}}; return ;; esac
    done <<'{_TABLE_END}'
@TABLE@
{_TABLE_END}
}}
"""
# Stands before curl and wget, under their names: addresses among the words are replaced, and the real one runs.
_FETCH = f"""#!/bin/sh
{_REDIRECT}
name=${{0##*/}}
real=
IFS=:
for folder in $PATH; do
    if [ "$folder" != {PLACE} ] && [ -x "$folder/$name" ]; then real=$folder/$name; break; fi
done
unset IFS
[ -n "$real" ] || {{ echo "$name: not found" >&2; exit 127; }}
for word do
    shift
    redirect "$word"
    set -- "$@" "$found"
done
exec "$real" "$@"
"""
# Makes the programs above appear once the real ones are installed, and never before.
_LINK = f"""#!/bin/sh
for name in curl wget; do
    for folder in /usr/local/bin /usr/bin /bin; do
        if [ -x "$folder/$name" ]; then ln -sf fetch "{PLACE}/$name"; fi
    done
done
"""
# Stands before apt's methods http and https (whose protocol apt's own manual of methods describes): a request for an
# address with a mirror is answered by a redirection, everything else goes to the real method.
_METHOD = f"""#!/bin/sh
{_REDIRECT}
relay() {{
    message=
    uri=
    while IFS= read -r line; do
        if [ -n "$line" ]; then
            message="$message$line
"
            case $line in 'URI: '*) uri=${{line#URI: }} ;; esac
            continue
        fi
        redirect "$uri"
        if [ -n "$uri" ] && [ "$found" != "$uri" ]; then
            printf '103 Redirect\\nURI: %s\\nNew-URI: %s\\n\\n' "$uri" "$found" >&3
        else
            printf '%s\\n' "$message"
        fi
        message=
        uri=
    done
}}
exec 3>&1
relay | "/usr/lib/apt/methods/${{0##*/}}" 3>&-
"""
CA_PLACE = "/dev/jetson-ca"
_APT = inject.CA_FILES["APT_CONFIG"][0]


def script(found: Mapping[str, Any], ca_bundle: str = "") -> str:
    """What every RUN of a build reads first; `""` where there is nothing for the commands of builds.

    `ca_bundle` is the text of certificates.
    """
    parts = _certificates(ca_bundle) if ca_bundle else []
    if any(found.get(kind) for kind in mirrors.IN_BUILDS):
        parts += [_export(name, value) for name, value in mirrors.git_variables(found.get("git", {})).items()]
        parts += [_default(name, value) for name, value in _defaults(found).items()]
        parts += _programs(found.get("apt", {}), found.get("files", {}))
        parts += _cargo(found.get("crates", ""))
    return "\n".join(parts) + "\n" if parts else ""


def _certificates(text: str) -> list[str]:
    """The bundle as a file of the build container, and the variables and files that lead programs to it.

    Only root can write to /dev itself; /dev/shm is open to all, and no part of the image either.
    """
    lines = [line for line in text.splitlines() if line != _END]
    return [
        f"jetson_ca={CA_PLACE}",
        'mkdir -p "$jetson_ca" 2>/dev/null && [ -w "$jetson_ca" ] || jetson_ca=/dev/shm/jetson-ca',
        "jetson_umask=$(umask)",
        "umask 022",
        'mkdir -p "$jetson_ca"',
        f"cat >\"$jetson_ca/ca.crt\" <<'{_END}'",
        *lines,
        _END,
        *(f'export {name}="$jetson_ca/ca.crt"' for name in inject.CA_VARIABLES),
        *(
            line
            for variable, (name, content) in inject.CA_FILES.items()
            for line in (
                f'cat >"$jetson_ca/{name}" <<{_END}',
                content.format("$jetson_ca/ca.crt").rstrip("\n"),
                _END,
                f'export {variable}="$jetson_ca/{name}"',
            )
        ),
        'umask "$jetson_umask"',
    ]


def _defaults(found: Mapping[str, Any]) -> dict[str, str]:
    """Variables that a recipe's own value goes before."""
    index = found.get("python", "")
    names = {
        "PIP_INDEX_URL": index,
        "UV_DEFAULT_INDEX": index,
        "PIP_TRUSTED_HOST": urlsplit(index).netloc if index.startswith("http://") else "",
        "npm_config_registry": found.get("npm", ""),
        mirrors.HUB_VARIABLE: found.get("hub", ""),
    }
    return {name: value for name, value in names.items() if value}


def _export(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _default(name: str, value: str) -> str:
    return f'if [ -z "${{{name}:-}}" ]; then {_export(name, value)}; fi'


def _table(prefixes: Mapping[str, str]) -> str:
    return "\n".join(f"{prefix} {prefixes[prefix]}" for prefix in sorted(prefixes, key=lambda text: (-len(text), text)))


def _write(name: str, text: str) -> list[str]:
    file = f"{PLACE}/{name}"
    return [f"cat >{file} <<'{_END}'", text.rstrip("\n"), _END, "chmod 0755 " + file]


def _programs(apt: Mapping[str, str], files: Mapping[str, str]) -> list[str]:
    if not apt and not files:
        return []
    lines = [f"if mkdir -p {PLACE} 2>/dev/null && [ -w {PLACE} ]; then", "umask_before=$(umask)", "umask 022"]
    settings = []
    if files:
        lines += [*_write("fetch", _FETCH.replace("@TABLE@", _table(files))), *_write("link", _LINK)]
        lines += [f"{PLACE}/link", f'export PATH="{PLACE}:$PATH"']
        settings += [f'DPkg::Post-Invoke {{ "{PLACE}/link"; }};']
    if apt:
        for scheme in ("http", "https"):
            lines += _write(scheme, _METHOD.replace("@TABLE@", _table(apt)))
            settings += [f'Dir::Bin::Methods::{scheme} "{PLACE}/{scheme}";']
    lines += _write("apt.conf", "\n".join(settings))
    lines += ['if [ -n "${jetson_ca:-}" ]; then', f'cat "$jetson_ca/{_APT}" >>{PLACE}/apt.conf', "fi"]
    lines += [f"export APT_CONFIG={PLACE}/apt.conf", 'umask "$umask_before"']
    return [*lines, *(_functions(files) if files else []), "fi"]


def _functions(files: Mapping[str, str]) -> list[str]:
    """For a user who cannot write to /dev: functions, which only the command itself sees."""
    table = _table(files)
    body = _FETCH.replace("@TABLE@", table).replace("${0##*/}", "$1\nshift").replace("#!/bin/sh\n", "")
    text = shlex.quote(body)
    lines = ["else", f"jetson_fetch={text}"]
    for name in ("curl", "wget"):
        lines += [f"if command -v {name} >/dev/null 2>&1; then"]
        lines += [f'{name}() {{ sh -c "$jetson_fetch" sh {name} "$@"; }}', "fi"]
    return lines


def _cargo(index: str) -> list[str]:
    """Source replacement has no variable: https://doc.rust-lang.org/cargo/reference/config.html#source."""
    if not index:
        return []
    text = f'[source.crates-io]\nreplace-with = "jetson"\n[source.jetson]\nregistry = "{index}"'
    return [
        'if [ -z "${jetson_own_trap:-}" ] && [ -w / ] && [ ! -e /.cargo ] && [ ! -L /.cargo ]; then',
        "mkdir /.cargo",
        f"cat >/.cargo/config.toml <<'{_END}'",
        text,
        _END,
        "trap 'rm -rf /.cargo' EXIT",
        "fi",
    ]
