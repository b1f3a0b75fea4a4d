"""Write constraints.txt: one tested version of every package, in plain pip form, with the hashes of its files.

    python tools/lock.py            # for maintainers; needs `uv`
    python tools/lock.py --check    # hold what `./run` has installed against the hashes; part of `./run check`

The file serves as `pip install -c`, never `-r`, so extras stay optional. CUDA parts are left out: pip takes those that
torch asks for on the machine at hand.

Hashes stand in comments. In pip's own form they would be demanded of everything that is installed, and so refuse this
project itself (`-e`) and the CUDA parts; `./run` keeps pip's reports of what it has fetched instead, and these are checked.
torch has none: which build of it comes (for the CPU, for some CUDA) depends on where the machine at hand installs from.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "constraints.txt"
REPORTS = ROOT / ".venv" / "reports"
PINS = ("torch==2.13.0",)
LEFT_OUT = re.compile(r"(nvidia-|cuda-|triton)")
UNHASHED = ("torch",)
HASH = re.compile(r"sha256:[0-9a-f]{64}")
HEADER = """\
# One tested version of every package, for `pip install -c constraints.txt`. Made by tools/lock.py; do not edit.
# Below each, the hashes of its files, which `./run check` holds against what was installed.
"""


def compile_lock() -> str:
    """Ask uv for versions that go together on every platform and Python from 3.11."""
    uv = [shutil.which("uv")] if shutil.which("uv") else [sys.executable, "-m", "uv"]
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text("\n".join(PINS) + "\n")
        command = [*uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--all-extras"]
        command += ["--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--generate-hashes"]
        command += ["--constraints", str(pins), "pyproject.toml"]
        return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout


def plain_form(compiled: str) -> list[str]:
    """Lines of versions, each followed by its hashes as comments."""
    lines = []
    for entry in re.split(r"\n(?=\S)", compiled.strip()):
        version = re.sub(r"^(torch==[0-9.]+)\+\w+", r"\1", entry.splitlines()[0].rstrip(" \\"))
        if not LEFT_OUT.match(version):
            hashes = [] if version.partition("==")[0] in UNHASHED else sorted(HASH.findall(entry))
            lines += [version, *(f"#   {each}" for each in hashes)]
    return lines


def known_hashes(text: str) -> dict[tuple[str, str], set[str]]:
    """The hashes of every package and version of a lock."""
    found: dict[tuple[str, str], set[str]] = {}
    now: set[str] = set()
    for line in text.splitlines():
        if HASH.search(line):
            now.update(HASH.findall(line))
        elif line and not line.startswith("#"):
            name, _, version = line.partition(";")[0].strip().partition("==")
            now = found.setdefault((name, version), set())
    return found


def unknown_files(reports: Iterable[dict], known: dict[tuple[str, str], set[str]]) -> tuple[list[str], int]:
    """Name what was installed from a file that the lock does not know; and say how many packages it does know."""
    wrong, right = [], 0
    for report in reports:
        for item in report["install"]:
            name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
            hashes = known.get((name, item["metadata"]["version"]))
            if hashes:
                fetched = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256", "")
                if f"sha256:{fetched}" in hashes:
                    right += 1
                else:
                    wrong.append(
                        f"{name} {item['metadata']['version']} came as {fetched or 'something without a hash'}"
                    )
    return wrong, right


def check() -> None:
    """Leave with an error where something was installed that the lock does not know."""
    reports = [json.loads(path.read_text()) for path in sorted(REPORTS.glob("*.json"))]
    wrong, right = unknown_files(reports, known_hashes(LOCK.read_text()))
    if wrong:
        raise SystemExit(f"lock: not the files of constraints.txt: {'; '.join(wrong)}. Remove .venv and look into it.")
    print(f"lock: {right} packages came as constraints.txt knows them")


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        check()
        return
    lines = plain_form(compile_lock())
    unusable = [line for line in lines if "://" in line or line.startswith("-")]
    if unusable:
        raise SystemExit(f"lock: these lines name a place, not a version: {unusable}")
    LOCK.write_text(HEADER + "\n".join(lines) + "\n")
    print(f"constraints.txt: {sum(not line.startswith('#') for line in lines)} packages")


if __name__ == "__main__":
    main()
