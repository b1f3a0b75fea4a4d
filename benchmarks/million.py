"""A collection as large as it has to be: drawn images in tar shards, some of them poisoned, decomposed with and without kills.

    python benchmarks/million.py --work /big/disk               # a million; writes benchmarks/results/million.json
    python benchmarks/million.py --work /tmp/m --count 20000    # fewer; the file says how many

Every step goes on where it was cut off: the same line again. The two runs may be made at the same time, each by its own line
with `--only unbroken` or `--only killed`; the line without it then compares them.

Images are Tetrominoes of 35 x 35 pixels, drawn as the training scenes of seed 0, in shards of 10,000; one in a hundred is
poisoned, by turns cut off, empty, no image, a claim of 60,000 x 60,000 pixels, or the first byte of its compressed pixels
changed. `decompose --packed` runs over them in parts (`--shard I/N`), one process at a time with one thread: once unbroken,
once killed at random moments and gone on with by `--resume`.

Recorded: CPU seconds of the unbroken run (decoding included), images a CPU second, the largest resident memory of any process,
the slope of resident memory over the images that a process has done (least squares, after its first tenth), the digest of all
scenes of both runs, and whether exactly the poisoned files are listed as skipped.
"""

import argparse
import hashlib
import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

import numpy as np

from delaminate.bench.run import machine
from delaminate.data import draw_images
from delaminate.files import json_bytes, png_bytes, write_atomic
from delaminate.scene.loading import read_files
from delaminate.scene.summary import read_summary

RESULT = Path(__file__).parent / "results" / "million.json"
MODEL = "dti-sprites/tetrominoes"
IN_SHARD, IN_PART = 10_000, 100_000
POISONED = 0.01
IMAGES_A_SECOND = 150
"""About; in the time that this takes kills come."""


def poison(content: bytes, kind: int) -> bytes:
    """Spoil a PNG in one of five ways."""
    if kind == 0:
        return content[: len(content) // 2]
    if kind == 1:
        return b""
    if kind == 2:
        return b"no image at all\n" * 20
    if kind == 3:  # claims 60,000 x 60,000 pixels, with a right checksum
        head = b"IHDR" + struct.pack(">II", 60_000, 60_000) + content[24:29]
        return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
    spoiled = bytearray(content)
    spoiled[content.index(b"IDAT") + 4] ^= 0x55
    return bytes(spoiled)


def draw(folder: Path, count: int) -> set[str]:
    """Write the shards that are not there yet; returns the names of poisoned images."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, poisoned = random.Random(0), set()
    for number, first in enumerate(range(0, count, IN_SHARD)):
        last = min(first + IN_SHARD, count)
        bad = {index: rng.randrange(5) for index in range(first, last) if rng.random() < POISONED}
        before = "" if count <= IN_SHARD else f"{number:04d}/"
        poisoned |= {f"{before}{index:07d}.png" for index in bad}
        path = folder / f"{number:04d}.tar"
        if path.exists():
            continue
        unfinished = path.with_suffix(".part")
        with tarfile.open(unfinished, "w") as archive:
            for start in range(first, last, 1000):
                some = (
                    draw_images("tetrominoes", min(1000, last - start), start=start).pixels.permute(0, 2, 3, 1).numpy()
                )
                for index, pixels in enumerate(some, start):
                    content = png_bytes(pixels)
                    content = poison(content, bad[index]) if index in bad else content
                    info = tarfile.TarInfo(f"{index:07d}.png")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        unfinished.rename(path)
    return poisoned


class Run:
    """`decompose` over all parts into a folder, each part in processes of its own, that are watched."""

    def __init__(self, work: Path, out: Path, parts: int) -> None:
        self.work, self.out, self.parts = work, out, parts
        self.kept = work / f"{out.name}.json"
        self.cpu, self.peak, self.seconds, self.kills, self.done = 0.0, 0, 0.0, 0, 0
        self.slopes: list[float] = []
        if self.kept.exists():
            vars(self).update(json.loads(self.kept.read_text()))
        self.samples: list[tuple[int, int]] = []
        """Bytes that this process has put into its journal, bytes of resident memory."""

    @property
    def figures(self) -> dict:
        """What is known so far, which is kept after each part."""
        return {key: getattr(self, key) for key in ("cpu", "peak", "seconds", "kills", "done", "slopes")}

    def go(self, last: int, kills: int = 0, expected: float = 1.0) -> None:
        """Work at the parts that are left up to the last one, killed so many times in so many seconds."""
        rng = random.Random(1 + self.done)
        while self.done < last:
            left = kills - self.kills
            until = rng.expovariate(kills / expected) + 1.0 if left > 0 else None
            self.done += self.part(self.done + 1, until)
            write_atomic(self.kept, json_bytes(self.figures))

    def part(self, part: int, until: float | None) -> bool:
        """Let a process work at a part, killed after so many seconds; says whether it came to its end."""
        words = [
            sys.executable,
            "-m",
            "delaminate",
            "decompose",
            MODEL,
            str(self.work / "shards"),
            "--out",
            str(self.out),
        ]
        words += ["--packed", "--shard", f"{part}/{self.parts}", "--resume", "--cache", str(self.work / "cache")]
        began = time.monotonic()
        journal = self.out / f"journal-{part}-of-{self.parts}.jsonl"
        with (self.work / "said.txt").open("ab") as said:
            process = subprocess.Popen(words, stdout=said, stderr=said, env=os.environ | {"OMP_NUM_THREADS": "1"})
        before, code, ours = size_of(journal), None, False
        self.samples = []
        while code is None:
            time.sleep(0.5)
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                process.returncode = code
                self.cpu += used.ru_utime + used.ru_stime
                self.peak = max(self.peak, 1024 * used.ru_maxrss)
                break
            self.samples.append((size_of(journal) - before, resident(process.pid)))
            if until is not None and time.monotonic() - began > until:
                os.kill(process.pid, signal.SIGKILL)
                until, ours = None, True
                self.kills += 1
        self.seconds += time.monotonic() - began
        if code not in (0, -signal.SIGKILL if ours else 0):
            raise SystemExit(f"decompose ended with {code}; see {self.work / 'said.txt'}")
        self.slopes += [] if code else self.slope(journal)
        return code == 0

    def slope(self, journal: Path) -> list[float]:
        """Bytes of resident memory for each image more that a process has done; none: too few samples."""
        an_image = journal.stat().st_size / journal.read_bytes().count(b"\n")
        mine = [(done / an_image, memory) for done, memory in self.samples if done > 0]
        most = max((done for done, _ in mine), default=0)
        late = np.array([each for each in mine if each[0] > most / 10], dtype=float)
        if len(late) <= 10 or len(set(late[:, 0])) <= 5:
            return []
        return [float(np.polyfit(late[:, 0], late[:, 1], 1)[0])]


def size_of(journal: Path) -> int:
    """Bytes of a journal, which has a line for each image."""
    return journal.stat().st_size if journal.exists() else 0


def resident(pid: int) -> int:
    """Bytes of memory that a process has; 0: it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def digest_of(out: Path) -> tuple[str, int]:
    """Digest of every file of every scene and of the dictionary, and how many scenes there are."""
    digest, places = hashlib.sha256(), read_summary(out).places
    for name, place in places.items():
        for file, content in sorted(read_files(out, name, place).items()):
            digest.update(f"{file} {len(content)}\n".encode())
            digest.update(content)
    for path in sorted((out / "dictionary").iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest(), len(places)


def told(run: Run) -> dict:
    """The figures of a run that is at its end."""
    return {
        "cpu_seconds": run.cpu, "seconds": run.seconds, "peak_bytes": run.peak, "kills": run.kills,
        "bytes_an_image": max(run.slopes, default=None),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder on a large disk: about 15 kB an image")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--first", type=int, help="decompose so many parts alone; all images are listed and decoded")
    parser.add_argument("--only", choices=("unbroken", "killed"), help="make this run alone, and compare nothing")
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    parts = max(2, given.count // IN_PART)
    last = min(parts, given.first or parts)
    poisoned = draw(given.work / "shards", given.count)
    whole, broken = (Run(given.work, given.work / name, parts) for name in ("unbroken", "killed"))
    if given.only != "killed":
        whole.go(last)
    if given.only != "unbroken":
        broken.go(last, given.kills, whole.seconds or given.count / IMAGES_A_SECOND)
    if given.only is not None:
        return
    digests = [digest_of(given.work / name) for name in ("unbroken", "killed")]
    errors = [json.loads((given.work / name / "errors.json").read_text()) for name in ("unbroken", "killed")]
    listed = [{each["name"] for each in found["skipped"]} for found in errors]
    files = sum(1 for path in (given.work / "unbroken").rglob("*") if path.is_file())
    result = {
        "images": given.count, "parts": parts, "parts_decomposed": last, "model": MODEL, "scenes": digests[0][1],
        "files": files,
        "poisoned": len(poisoned), "poisoned_all_listed": all(names == poisoned for names in listed),
        "psnr": errors[0]["psnr"], "unbroken": told(whole) | {"images_a_cpu_second": digests[0][1] / whole.cpu},
        "killed": told(broken), "digest": digests[0][0], "killed_digest": digests[1][0],
        "same": digests[0] == digests[1] and errors[0] == errors[1], "machine": machine(),
    }  # fmt: skip
    write_atomic(given.result, json_bytes(result))
    print(json.dumps(result, indent=1))
    if not (result["same"] and result["poisoned_all_listed"]):
        raise SystemExit("the runs differ, or other files than the poisoned ones were skipped")


if __name__ == "__main__":
    main()
