"""Archives of images for tests: shards as WebDataset writes them, zips, tables."""

import io
import tarfile
import zipfile

import numpy as np

from delaminate.files import png_bytes


def pictures(count, size=(6, 8), seed=0):
    """Random pictures, (H, W, 3) bytes."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def labels(count, size=(6, 8), seed=0):
    """Random label maps of up to three objects, (H, W) bytes."""
    rng = np.random.default_rng(seed + 100)
    return [rng.integers(0, 4, size, dtype=np.uint8) for _ in range(count)]


def members(images, masks=(), classes=()):
    """Names and contents, as in WebDataset."""
    found = {}
    for index, image in enumerate(images):
        if index < len(classes):
            found[f"{index:04d}.cls"] = str(classes[index]).encode()
        found[f"{index:04d}.png"] = png_bytes(image)
        if index < len(masks):
            found[f"{index:04d}.mask.png"] = png_bytes(masks[index])
    return found


def write_tar(path, contents):
    """Write a tar; returns its path."""
    with tarfile.open(path, "w") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path, contents):
    """Write a zip; returns its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def table(images, masks=(), classes=(), keys=()):
    """A table as data sets of Hugging Face are: images as structs of bytes and path."""
    import pyarrow as pa

    columns = {"image": pa.array([{"bytes": png_bytes(each), "path": None} for each in images],
                                 pa.struct([("bytes", pa.binary()), ("path", pa.string())]))}  # fmt: skip
    if len(masks):
        columns["mask"] = pa.array([png_bytes(each) for each in masks], pa.binary())
    if len(classes):
        columns["label"] = pa.array(list(classes), pa.int64())
    if len(keys):
        columns["key"] = pa.array(list(keys), pa.string())
    return pa.table(columns)
