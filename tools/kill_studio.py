"""Kill the studio at random moments of an editing session; after each, all edits that were answered must be there.

python tools/kill_studio.py [COUNT] [SEED]
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.kills import kill_at_random_moments


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        edits = kill_at_random_moments(Path(place), count, seed)
    print(
        f"{count} of {count} kills lost nothing but the edit in hand; {edits} edits, {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
