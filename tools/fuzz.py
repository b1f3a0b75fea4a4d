"""Spoil files of every kind that the library reads, and see that each is read, or refused in one line that names it.

    python tools/fuzz.py                                        # ten minutes, shared among the kinds
    python tools/fuzz.py --count 10000 --out benchmarks/results/fuzz.json
    python tools/fuzz.py --kinds videos --seed 3 --first 120 --count 1    # one case again

Every case is tried in a process of its own, which has a limit of address space and of time; it is forked, so this needs
Linux. What counts as a fault: an error that is none of ours, a crash, a message without the file's name or of several
lines, more than 1.5 GB of memory in all (the library's own included), more than 10 s.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from hostile import KINDS, case

from delaminate.errors import DelaminateError

FORK = multiprocessing.get_context("fork")
MOST_BYTES = 1_500_000_000
SPACE = 4 * 2**30  # of addresses, beyond those of the libraries
MOST_SECONDS = 10.0
FINE = ("read", "refused")
FAULTS = ("untyped", "unnamed", "over memory", "over time", "crashed")


def attempt(kind: str, originals: Path, place: Path, seed: int, number: int) -> tuple[str, str]:
    """Try one case; say how it ended, and what was said."""
    with case(kind, originals, place, seed, number) as path:
        try:
            KINDS[kind].read(path)
        except DelaminateError as error:
            text = str(error)
            named = (KINDS[kind].named or str(path)) in text and "\n" not in text and text.isprintable()
            return "refused" if named else "unnamed", f"{type(error).__name__}: {text}"
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "delaminate" in frame.filename][-1:]
            places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*ours, where))
            return "untyped", f"{type(error).__name__}: {str(error)!r:.200} ({places})"
    return "read", ""


def most_memory() -> int:
    """Bytes of memory that this process had at its most since `forget_memory`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def forget_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def work(answers: Connection, kind: str, originals: Path, place: Path, seed: int, first: int, last: int) -> None:
    """Try cases one after the other, and tell of each before it begins and when it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet = os.open(os.devnull, os.O_WRONLY)  # decoders write to the standard error
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    space = 1024 * int(
        next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmSize")).split()[1]
    )
    resource.setrlimit(resource.RLIMIT_AS, (space + SPACE, space + SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, last):
        answers.send((number, None))
        forget_memory()
        began = time.monotonic()
        try:
            outcome, said = attempt(kind, originals, place, seed, number)
        except MemoryError:
            outcome, said = "over memory", "MemoryError"
        seconds, memory = time.monotonic() - began, most_memory()
        if memory > MOST_BYTES:
            outcome, said = "over memory", f"{memory / 1e9:.2f} GB; {outcome}: {said}"
        answers.send((number, (outcome, said, seconds, memory)))
    answers.send((last, None))


def campaign(kind: str, seed: int, first: int, count: int, seconds: float, keep: int) -> dict[str, Any]:
    """Try cases of one kind until there were so many, or so many seconds have passed."""
    outcomes: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    slowest = most = 0.0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        originals = Path(folder) / "originals"
        originals.mkdir()
        maker = FORK.Process(target=KINDS[kind].make, args=(originals,))
        maker.start()
        maker.join()
        number, last, turn = first, first + count, 0
        while number < last and time.monotonic() - began < seconds:
            turn += 1
            place = Path(folder) / f"place-{turn}"
            place.mkdir()
            hears, tells = FORK.Pipe(duplex=False)
            worker = FORK.Process(target=work, args=(tells, kind, originals, place, seed, number, last))
            worker.start()
            tells.close()
            while True:
                ended = None
                try:
                    if hears.poll(MOST_SECONDS):
                        number, ended = hears.recv()
                        if ended is None:
                            if number >= last or time.monotonic() - began >= seconds:
                                break
                            continue
                    else:
                        ended = ("over time", "", MOST_SECONDS, 0)
                except EOFError:
                    worker.join()
                    ended = ("crashed", f"exit code {worker.exitcode}", 0.0, 0)
                outcome, said, took, memory = ended
                outcomes[outcome] += 1
                slowest, most = max(slowest, took), max(most, memory)
                if outcome not in FINE:
                    faults.append({"number": number, "outcome": outcome, "said": said[:300]})
                    print(f"  {kind} {number}: {outcome}: {said[:300]}", flush=True)
                number += 1
                if outcome in ("over time", "crashed") or len(faults) >= keep:
                    break
            worker.kill()
            worker.join()
            if len(faults) >= keep:
                break
    return {
        "cases": sum(outcomes.values()),
        **{outcome: outcomes[outcome] for outcome in (*FINE, *FAULTS)},
        "slowest_seconds": round(slowest, 2),
        "most_bytes": int(most),
        "seconds": round(time.monotonic() - began, 1),
        "faults": faults,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--count", type=int, help="cases of each kind; without it as many as the time allows")
    parser.add_argument("--seconds", type=float, default=600.0, help="for all kinds together, where there is no count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--faults", type=int, default=200, help="stop a kind after so many")
    parser.add_argument("--out", type=Path, help="a JSON file for the record; other kinds in it stay")
    chosen = parser.parse_args()
    record: dict[str, Any] = {"limits": {"bytes": MOST_BYTES, "seconds": MOST_SECONDS}, "kinds": {}}
    if chosen.out is not None and chosen.out.exists():
        record["kinds"] = json.loads(chosen.out.read_text())["kinds"]
    made_by = {
        "command": " ".join(["python", "tools/fuzz.py", *sys.argv[1:]]),
        "seed": chosen.seed,
        "python": platform.python_version(),
    }
    seconds = chosen.seconds / len(chosen.kinds) if chosen.count is None else float("inf")
    for kind in chosen.kinds:
        found = campaign(kind, chosen.seed, chosen.first, chosen.count or 10**9, seconds, chosen.faults)
        record["kinds"][kind] = made_by | found
        print(f"{kind}: " + ", ".join(f"{key} {value}" for key, value in found.items() if key != "faults"), flush=True)
        if chosen.out is not None:
            chosen.out.write_text(json.dumps(record, indent=1) + "\n")
    broken = {kind: len(record["kinds"][kind]["faults"]) for kind in chosen.kinds if record["kinds"][kind]["faults"]}
    print(f"fuzz: faults: {broken}" if broken else "fuzz: all is well", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
