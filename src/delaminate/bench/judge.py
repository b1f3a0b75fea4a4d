"""How well the masks of sampled scenes lie, by a judge that learned from labels; for figures only.

Nobody knows the true mask of a scene that a generator has painted. So a U-Net is taught by drawn scenes and their labels,
after training and away from it, and asked where it sees the object of sampled scenes. What it scores on unseen drawn scenes
bounds what its answers are worth.
"""

import torch
import torch.nn.functional as F

from delaminate.methods import Method
from delaminate.metrics.foreground import foreground_per_image
from delaminate.nets.unet import UNet
from delaminate.objectives.schedules import warmup_cosine
from delaminate.rng import stream
from delaminate.scene.compositing import composite

SCENES, STEPS, BATCH = 4_000, 1_500, 32
RATE, WIDTH = 2e-3, 24


def taught(data: str, size: tuple[int, int], seed: int, scenes: int = SCENES, steps: int = STEPS) -> UNet:
    """Teach a judge by scenes of a drawn set's training range, and their labels.

    Args:
        data: Name of the drawn set; one object and its background.
        size: Height and width of the scenes in pixels.
        seed: Names the scenes, and every random number.
        scenes, steps: How many scenes, and how many steps of 32 of them.

    Returns:
        A network that maps images (B, 3, H, W) in [-1, 1] to logits of the foreground (B, 1, H, W).
    """
    from delaminate.data import draw

    drawn = draw(data, scenes, seed=seed, split="train", size=size)
    assert drawn.labels.instances is not None
    network = UNet(1, WIDTH, min(size[0].bit_length() - 3, 3), stream(seed, "judge"))
    adam = torch.optim.AdamW(network.parameters(), lr=RATE)
    for step in range(steps):
        some = torch.randint(scenes, (BATCH,), generator=stream(seed, "judge", step))
        wanted = (drawn.labels.instances[some] > 0).float()[:, None]
        loss = F.binary_cross_entropy_with_logits(network(2 * drawn.images.batch(some.tolist()) - 1), wanted)
        adam.param_groups[0]["lr"] = RATE * warmup_cosine(step, steps)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return network.eval()


@torch.no_grad()
def sampled_figures(model: Method, judge: UNet, data: str, seed: int, count: int = 500) -> dict[str, float]:
    """Compare masks with what a judge sees.

    Returns:
        `iou_sampled`, of the masks of `count` sampled scenes with the judge's, mean over scenes, 0 where the judge sees no
        object; and `iou_judge`, of the judge's with the labels of as many scenes of the test range.
    """
    from delaminate.data import draw

    def seen(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([judge(2 * some - 1)[:, 0] > 0 for some in images.split(100)]).long()

    layers = model.sample(count, stream(seed, "sampled"))
    drawn = draw(data, count, seed=seed, split="test", size=model.image_size)
    assert drawn.labels.instances is not None
    there = seen(composite(layers))
    judged = foreground_per_image(there, (layers.alpha[:, 1, 0] > 0.5).long())["iou"]
    judged = judged[there.flatten(1).any(1).numpy()].sum() / count
    known = foreground_per_image((drawn.labels.instances > 0).long(), seen(drawn.images.batch(range(count))))
    return {"iou_sampled": float(judged), "iou_judge": float(known["iou"].mean())}
