"""Write constraints.txt: one tested version of every package, in plain pip form. For maintainers; needs `uv`.

    python tools/lock.py

The file serves as `pip install -c`, never `-r`, so extras stay optional. CUDA parts are left out: pip takes those that
torch asks for on the machine at hand.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = ("torch==2.13.0",)
LEFT_OUT = re.compile(r"(nvidia-|cuda-|triton)")
HEADER = """\
# One tested version of every package, for `pip install -c constraints.txt`. Made by tools/lock.py; do not edit.
"""


def compile_lock() -> list[str]:
    """Ask uv for versions that go together on every platform and Python from 3.11."""
    uv = [shutil.which("uv")] if shutil.which("uv") else [sys.executable, "-m", "uv"]
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text("\n".join(PINS) + "\n")
        command = [*uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--all-extras"]
        command += ["--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
        command += ["--constraints", str(pins), "pyproject.toml"]
        done = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE)
    return [re.sub(r"^(torch==[0-9.]+)\+\w+", r"\1", line) for line in done.stdout.splitlines() if line.strip()]


def main() -> None:
    lines = [line for line in compile_lock() if not LEFT_OUT.match(line)]
    unusable = [line for line in lines if "://" in line or line.startswith("-")]
    if unusable:
        raise SystemExit(f"lock: these lines name a place, not a version: {unusable}")
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n")
    print(f"constraints.txt: {len(lines)} packages")


if __name__ == "__main__":
    main()
