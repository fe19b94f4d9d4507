"""The command line of `huggingface-downloader` in the images: upstream's options and ours."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .credentials import Token, find_token
from .errors import NOT_READY, DownloadError
from .fetch import Downloader, DownloadOptions
from .progress import Reporter, show_bytes
from .reference import KINDS, split_patterns
from .remote import StoppedError
from .store import write_whole

if TYPE_CHECKING:
    from typing import NoReturn, Sequence

    from .types import DownloadPlan, DownloadResult

ABOUT = """Download models, data sets or single files from the Hugging Face hub and print where they are.

Every location goes to stdout, one a line and in the order asked, so that `$(huggingface-downloader …)` works; progress
and messages go to stderr. A download that was interrupted goes on where it stopped, and every file's checksum is
compared. The token is read from the environment or from a file and is stored nowhere."""
EXAMPLES = """examples:
  huggingface-downloader meta-llama/Llama-3.2-1B-Instruct
  huggingface-downloader Qwen/Qwen2.5-0.5B-Instruct@main --exclude '*.bin,onnx/' --dry-run
  huggingface-downloader bartowski/Llama-3.2-1B-Instruct-GGUF/Llama-3.2-1B-Instruct-Q4_K_M.gguf
  huggingface-downloader --type dataset wikitext --include '*.parquet,README.md'

The token comes from HF_TOKEN, HUGGINGFACE_TOKEN, HUGGING_FACE_HUB_TOKEN, from the file that one of them, HF_TOKEN_PATH,
HF_TOKEN_FILE or HUGGINGFACE_TOKEN_FILE names, or from `hf auth login`.
exit status: 0 done, 1 failed, 2 wrong usage, 3 no such repository, revision or file,
4 network, token or disk space missing"""
_TRUE = frozenset({"1", "ON", "YES", "TRUE"})


def parser() -> argparse.ArgumentParser:
    """All options."""
    made = argparse.ArgumentParser(
        "huggingface-downloader",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "repo", nargs="+", metavar="REPO[@REVISION][/FILE]",
        help="repository or one file of it; a path that exists is printed unchanged",
    )  # fmt: skip
    made.add_argument("--type", choices=KINDS, default="model", help="kind of repository (default: model)")
    made.add_argument(
        "--token", default="", help="access token; others can read it in the process list: prefer HF_TOKEN"
    )
    made.add_argument("--cache-dir", default="", help="where downloads are kept (default: $HF_HUB_CACHE)")
    made.add_argument("--location-file", default="", help="also write the locations to this file, once all are there")
    made.add_argument(
        "--include", "--allow-patterns", action="append", default=[], metavar="A,B", help="only these files"
    )
    made.add_argument(
        "--exclude", "--ignore-patterns", action="append", default=[], metavar="A,B", help="all but these files"
    )
    made.add_argument("--skip-safetensors", action="store_true", help="leave *.safetensors out")
    made.add_argument("--dry-run", action="store_true", help="print what would be downloaded, write nothing")
    made.add_argument("--verify", action="store_true", help="compute the checksums of cached files again")
    made.add_argument("--offline", action="store_true", help="use the cache only (also HF_HUB_OFFLINE=1)")
    made.add_argument("--json", action="store_true", help="print repositories, commits, files and checksums as JSON")
    made.add_argument("-q", "--quiet", action="store_true", help="only locations, warnings and errors")
    return made


def options_of(given: argparse.Namespace) -> DownloadOptions:
    """What the options mean, with the environment's defaults."""
    exclude = split_patterns(given.exclude) + (["*.safetensors"] if given.skip_safetensors else [])
    offline = given.offline or any(
        os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
    return DownloadOptions(
        cache=Path(given.cache_dir or default_cache()).expanduser(),
        kind=given.type,
        include=tuple(split_patterns(given.include)),
        exclude=tuple(exclude),
        offline=offline,
        verify=given.verify,
        dry_run=given.dry_run,
    )


def default_cache() -> str:
    """The cache directory as the library finds it."""
    if os.environ.get("HF_HUB_CACHE"):
        return os.environ["HF_HUB_CACHE"]
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def dry_run_lines(plans: Sequence[DownloadPlan]) -> list[str]:
    """`BYTES STATE FILE` a line below each repository, and the sum."""
    lines: list[str] = []
    for plan in plans:
        listing = plan.listing
        gated = "  (gated: needs a token whose account was granted access)" if listing.gated else ""
        lines.append(f"{listing.reference.repo}@{listing.commit}{gated}")
        width = max(len(str(item.entry.size)) for item in plan.files)
        lines += [f"  {i.entry.size:>{width}}  {i.state.value:<7}  {i.entry.name}" for i in plan.files]
    size = sum(item.entry.size for plan in plans for item in plan.files)
    missing = sum({i.entry.etag: i.missing for plan in plans for i in plan.files}.values())
    files = sum(len(plan.files) for plan in plans)
    lines.append(
        f"{files} files, {size} bytes ({show_bytes(size)}); to download: {missing} bytes ({show_bytes(missing)})"
    )
    return lines


def run(given: argparse.Namespace) -> None:
    """Download what was asked for. Raises DownloadError."""
    reporter = Reporter(quiet=given.quiet)
    reporter.secret = given.token
    if given.token:
        reporter.warn("other users of this machine can read --token in the process list; prefer HF_TOKEN")
    options = options_of(given)
    _warn_about_place(options, reporter)
    downloader = Downloader(options, Token() if options.offline else find_token(given.token), reporter)
    results: list[DownloadResult] = []
    for result in downloader.download(given.repo):
        results.append(result)
        if not (given.json or given.dry_run):
            print(result.path, flush=True)  # noqa: T201 - this is the result
    if given.json:
        print(json.dumps([result.as_json() for result in results], indent=2))  # noqa: T201
    elif given.dry_run:
        print("\n".join(dry_run_lines([r.plan for r in results if r.plan])))  # noqa: T201
    if given.location_file and not given.dry_run:
        write_whole(Path(given.location_file), "".join(f"{result.path}\n" for result in results))


def _warn_about_place(options: DownloadOptions, reporter: Reporter) -> None:
    inside = options.cache.absolute().parts[:2] == ("/", "data")
    if inside and not options.offline and not options.dry_run and not os.path.ismount("/data"):
        reporter.warn(
            "/data is not mounted; what is downloaded goes away with this container (docker run -v DIR:/data)"
        )


def _terminate(_number: int, _frame: object) -> NoReturn:
    """As the first process of a container we would not end by SIGTERM without being told to."""
    sys.exit(143)


def main(argv: Sequence[str]) -> int:
    """Run the command line; the exit status."""
    given = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        run(given)
    except (KeyboardInterrupt, StoppedError):
        return _say("interrupted; the same command goes on where it stopped", "", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except DownloadError as failure:
        return _say(f"error: {failure.message}", failure.hint, failure.status)
    except OSError as error:
        return _say(f"error: {error.filename or 'a file'}: {error.strerror or error}", "", NOT_READY)
    return 0


def _say(message: str, hint: str, status: int) -> int:
    for line in [message] + ([f"hint: {hint}"] if hint else []):
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the end of a program
    return status
