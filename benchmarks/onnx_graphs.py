"""Models as ONNX graphs: how far they are from torch, and what one image takes, in ONNX Runtime and in a browser; one thread.

    npm pack onnxruntime-web@1.30.0
    python benchmarks/onnx_graphs.py --runtime onnxruntime-web-1.30.0.tgz --browser /usr/bin/chromium

writes benchmarks/results/onnx.json: of every model in the box that holds a network, and of one network of each method at
128 x 128, untrained, for its weights do not matter to time. `exported` is the difference that `models export` measures before
it keeps a graph; `browser` that of the page from Python, of a PNG of another size that both read, resample and take apart.
Milliseconds: median of 15 after one that does not count; of torch `graph(images)`, the same operations. `page` is all that the
page does from the bytes of the file, without showing it. Without --browser (playwright must be installed) that is left out.
"""

import argparse
import functools
import http.server
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime
import torch
import torch.nn.functional as F

from delaminate import zoo
from delaminate.bench.run import machine
from delaminate.data.reading import fit_image, read_image
from delaminate.files import png_bytes, to_pixels
from delaminate.methods import METHODS, Method, load_model
from delaminate.pipelines.model_export import drawn_images, export_model, run_graph

RESULT = Path(__file__).parent / "results" / "onnx.json"
ROUNDS = 15
LARGE = {
    "dti-sprites": "clevr6", "marionette": "floating-sprites-paper", "redo": "flowers", "perturbgan": "cub",
}  # fmt: skip
"""Presets of 128 x 128."""
TAKE = """async ([name, rounds]) => {
  const graph = await import('./graph.mjs');
  window.opened ??= await graph.open();
  const blob = await (await fetch(name)).blob(), run = [], page = [];
  let found;
  for (let i = 0; i <= rounds; i++) {
    const start = performance.now();
    const { rgb } = await graph.pixelsOf(blob, window.opened.facts);
    found = await graph.takeApart(window.opened, rgb);
    if (i) { run.push(found.milliseconds); page.push(performance.now() - start); }
  }
  const { layers, reconstruction } = found.outputs;
  return { run, page, layers: Array.from(layers.data), reconstruction: Array.from(reconstruction.data) };
}"""


def large(name: str) -> Method:
    """A network of 128 x 128 as it is before training, that says it is trained."""
    method = METHODS[name].preset(LARGE[name])
    for flag in ("trained", "learned"):
        if flag in dict(method.named_buffers()):
            method.get_buffer(flag).fill_(1)
    return method.eval()


def milliseconds(work: Callable[[], object]) -> float:
    """Median of some rounds."""
    work()
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(taken), 2)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Hand a folder out."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def in_browser(browser: str, folder: Path, name: str) -> dict[str, Any]:
    """Let the page take one picture of its folder apart, again and again."""
    from playwright.sync_api import sync_playwright

    with served(folder) as address, sync_playwright() as play:
        started = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page()
        page.goto(address)
        page.wait_for_selector("html[data-ready]", timeout=120_000)
        found: dict[str, Any] = page.evaluate(TAKE, [name, ROUNDS])
        started.close()
    return found


def seen(layers: torch.Tensor) -> torch.Tensor:
    return torch.cat([layers[..., :3, :, :] * layers[..., 3:, :, :], layers[..., 3:, :, :]], -3)


def measure(name: str, method: Method, folder: Path, runtime: Path | None, browser: str | None) -> dict[str, Any]:
    """All figures of one model."""
    to = "web-demo" if runtime else "onnx"
    made = export_model(method, folder, to, runtime=runtime)
    image = drawn_images(method.dictionary(), method.image_size, 1, seed=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    graph = method.graph(made.by).eval()
    with torch.no_grad():
        found: dict[str, Any] = {
            "by": made.by,
            "size": list(method.image_size),
            "layers": made.facts["layers"]["count"],
            "bytes": (folder / "model.onnx").stat().st_size,
            "exported": float(f"{made.difference:.2g}"),
            "milliseconds": {
                "torch": milliseconds(lambda: graph(image)),
                "onnxruntime": milliseconds(lambda: run_graph(session, image)),
            },
        }
        if browser:
            whole = F.interpolate(image, scale_factor=2.3, mode="bilinear")[0]
            (folder / "picture.png").write_bytes(png_bytes(to_pixels(whole)))
            pixels, _ = fit_image(read_image(folder / "picture.png"), method.image_size)
            layers, _, rebuilt = graph(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255)[:3]
            page = in_browser(browser, folder, "picture.png")
            other = torch.tensor(page["layers"]).view(layers.shape)
            difference = (seen(other) - seen(layers)).abs().max()
            difference = max(
                difference, (torch.tensor(page["reconstruction"]).view(rebuilt.shape) - rebuilt).abs().max()
            )
            found["browser"] = float(f"{float(difference):.2g}")
            found["milliseconds"] |= {
                "browser": round(statistics.median(page["run"]), 2),
                "page": round(statistics.median(page["page"]), 2),
            }
    print(name, json.dumps(found), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", type=Path, help="the npm package onnxruntime-web")
    parser.add_argument("--browser", help="a Chromium")
    parser.add_argument("--only", help="models whose names hold this")
    given = parser.parse_args()
    if bool(given.runtime) != bool(given.browser):
        parser.error("--runtime and --browser go together")
    torch.set_num_threads(1)
    models = {name: load_model(zoo.folder(name)) for name in zoo.names()}
    models = {name: method for name, method in models.items() if method.graph_ways}
    models |= {f"{name} {LARGE[name]}, untrained": large(name) for name in LARGE}
    found = {}
    for name, method in models.items():
        if given.only is None or given.only in name:
            with tempfile.TemporaryDirectory() as folder:
                found[name] = measure(name, method, Path(folder), given.runtime, given.browser)
    if given.only is None:
        about = {
            "command": "python benchmarks/onnx_graphs.py"
            + (f" --runtime {given.runtime.name} --browser {given.browser}" if given.browser else ""),
            "date": time.strftime("%Y-%m-%d"), "machine": machine(),
            "packages": {"onnxruntime": onnxruntime.__version__},
        }  # fmt: skip
        RESULT.write_text(json.dumps(about | {"models": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
