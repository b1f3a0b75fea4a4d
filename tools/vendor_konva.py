"""Make `studio/page/vendor/konva.module.js`: the parts of Konva that the studio's canvas uses, as one module.

    python tools/vendor_konva.py            # needs npm; then put its hash into tests/studio/test_page.py

Konva's own build has every shape and filter, and is half as large again.
"""

import subprocess
import tempfile
from pathlib import Path

KONVA, ESBUILD = "konva@10.9.1", "esbuild@0.28.2"
PARTS = {
    "Image": "shapes/Image.js", "Layer": "Layer.js", "Rect": "shapes/Rect.js", "Stage": "Stage.js",
    "Transformer": "shapes/Transformer.js",
}  # fmt: skip
TARGET = Path(__file__).parents[1] / "src/delaminate/studio/page/vendor/konva.module.js"
BANNER = f"/*! {KONVA}, MIT, see LICENSE.konva: {', '.join(PARTS)}; made by tools/vendor_konva.py with {ESBUILD} */"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        entry = Path(scratch) / "entry.js"
        entry.write_text("".join(f'export {{ {name} }} from "konva/lib/{file}";\n' for name, file in PARTS.items()))
        subprocess.run(["npm", "install", "--no-save", "--prefix", scratch, KONVA, ESBUILD], check=True)
        subprocess.run(
            [
                Path(scratch) / "node_modules/.bin/esbuild", str(entry), "--bundle", "--minify", "--format=esm",
                "--legal-comments=none", f"--banner:js={BANNER}", f"--outfile={TARGET}",
            ],
            check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
