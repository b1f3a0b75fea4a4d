"""The shards of `decompose` under Ray Data instead of Dask: the same function, called by Ray's workers.

    python examples/ray_shards.py MODEL IMAGES OUT [SHARDS]

Needs `pip install "ray[data]"`, which is no dependency of this library (tried once, with Ray 2.60.0 on one machine). OUT must
be seen by all workers.
"""

import sys
from pathlib import Path

from delaminate import decompose
from delaminate.pipelines.cluster import absolute
from delaminate.pipelines.decomposition import decompose_shard


def decompose_by_ray(model: str, images: str, out: Path, shards: int = 4, batch: int = 64) -> int:
    """Decompose images in shards on Ray, then list all scenes; returns how many there are.

    Args:
        model, images: A path or name, as every worker understands it.
        out: The folder of scenes.
        shards: In how many parts.
        batch: Images at a time.
    """
    import ray.data

    how = {"by": None, "fit": "squash", "limit": None, "zoom": None, "batch": batch, "packed": True, "device": "cpu"}

    def work(row: dict[str, int]) -> dict[str, str]:
        part = int(row["id"]) + 1
        return {"problem": decompose_shard(absolute(model), absolute(images), str(out.resolve()), (part, shards), how)}

    parts = ray.data.range(shards).repartition(shards)  # one shard a task; a task that is lost is tried again
    for row in parts.map(work, num_cpus=1).take_all():
        if row["problem"]:
            print(row["problem"])
    # What is there is seen to be there, and all is listed in the order of the images.
    return len(decompose(model, images, out, batch=batch, packed=True, device="cpu", resume=True))


if __name__ == "__main__":
    print(decompose_by_ray(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *map(int, sys.argv[4:5])))
