"""The published training step of ReDO, written plainly: what our step is measured and proved against.

Images are doubled before they are convolved and halved after, masks are one more channel of what is convolved, every
forward pass of a spectrally normalised layer iterates again, the discriminator's gradients are computed in the
generators' turn and thrown away, regions are redrawn a second time for the discriminator, and real and redrawn images
go through it one after the other. It works on the parameters of a `delaminate.methods.redo` model.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from delaminate.methods.redo import ReDO


class Plain:
    """The networks of a model, run plainly.

    Args:
        model: Whose parameters are used.
        iterate: Do a power iteration at each visit, as the original does; False takes the vectors as they are.
    """

    def __init__(self, model: ReDO, iterate: bool = True) -> None:
        self.model, self.iterate = model, iterate

    def conv(self, layer: nn.Module, x: Tensor) -> Tensor:
        if self.iterate:
            layer.iterate()
        matrix = layer.weight.flatten(1)
        sigma = layer.u.clone() @ (matrix @ layer.v.clone())
        return F.conv2d(x, layer.weight / sigma, layer.bias, padding=layer.weight.shape[-1] // 2)

    def attend(self, layer: nn.Module, x: Tensor) -> Tensor:
        query = self.conv(layer.query, x).flatten(2)
        key = F.max_pool2d(self.conv(layer.key, x), 2).flatten(2)
        value = F.max_pool2d(self.conv(layer.value, x), 2).flatten(2)
        share = (query.transpose(1, 2) @ key).softmax(2)  # B Q K
        seen = (value @ share.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + layer.gamma * self.conv(layer.out, seen)

    def masks(self, images: Tensor) -> Tensor:
        net = self.model.masks
        x = F.relu(net.norm(net.first(F.pad(images, (3,) * 4, "reflect"))))
        for conv, norm in zip(net.down, net.down_norms, strict=True):
            x = F.relu(norm(F.conv2d(x, conv.weight, stride=2, padding=1)))
        for block in net.residual:
            y = F.relu(block.norm_1(F.conv2d(x, block.conv_1.weight, padding=1)))
            x = F.relu(block.norm_2(x + F.conv2d(y, block.conv_2.weight, block.conv_2.bias, padding=1)))
        pooled = [
            F.interpolate(conv(F.avg_pool2d(x, window, window)), x.shape[2:], mode="bilinear", align_corners=False)
            for conv, window in zip(net.pyramid, net.windows, strict=True)
        ]
        x = torch.cat([x, *pooled], 1)
        for conv, norm in zip(net.up, net.up_norms, strict=True):
            x = F.relu(norm(F.conv2d(F.interpolate(x, scale_factor=2.0), conv.weight, padding=1)))
        logits = net.last(F.pad(x, (3,) * 4, "reflect"))
        if net.num_regions == 2:
            front = torch.sigmoid(logits)
            return torch.stack([front, 1 - front], 1)
        return logits.softmax(1)[:, :, None]

    def generate(self, net: nn.Module, mask: Tensor, noise: Tensor) -> Tensor:
        """Paint a region, already multiplied by its mask."""
        x = net.first(noise).view(len(noise), -1, 4, 4)
        for index, block in enumerate(net.blocks):
            if index == len(net.blocks) - 1:
                x = self.attend(net.attention, x)
            small = F.avg_pool2d(mask, mask.shape[3] // x.shape[3])
            y = torch.cat([F.relu(block.norm_1(x, noise)), small], 1)
            y = self.conv(block.conv_1, F.interpolate(y, scale_factor=2.0))
            y = self.conv(block.conv_2, F.relu(block.norm_2(y, noise)))
            x = y + self.conv(block.skip, F.interpolate(x, scale_factor=2.0))
        x = torch.cat([F.relu(net.norm(x, noise)), mask], 1)
        return torch.tanh(self.conv(net.last, x)) * mask

    def critic(self, net: nn.Module, images: Tensor) -> Tensor:
        def down(block: nn.Module, x: Tensor) -> Tensor:
            y = self.conv(block.conv_1, x if block.first else F.relu(x))
            return F.avg_pool2d(self.conv(block.conv_2, F.relu(y)), 2) + self.conv(block.skip, F.avg_pool2d(x, 2))

        x = down(net.first, images)
        if net.attention is not None:
            x = self.attend(net.attention, x)
        for block in net.blocks:
            x = down(block, x)
        y = self.conv(net.flat.conv_1, F.relu(x))
        x = x + self.conv(net.flat.conv_2, F.relu(y))
        return net.last(x.sum((2, 3)))

    def redraw(self, photos: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The images with one region redrawn, all regions in turn, and those with all redrawn; photos in [-1, 1]."""
        masks = self.masks(photos)
        painted = [self.generate(net, masks[:, k], noise[:, k]) for k, net in enumerate(self.model.generators)]
        fakes = [paint + (1 - masks[:, k]) * photos for k, paint in enumerate(painted)]
        return torch.cat(fakes), sum(painted, torch.zeros_like(photos))


def redrawer_loss(plain: Plain, photos: Tensor, noise: Tensor) -> Tensor:
    """The loss of masks, generators and encoder of z; photos in [-1, 1]."""
    model = plain.model
    fakes, whole = plain.redraw(photos, noise)
    recovered = plain.critic(model.encoder, whole).view_as(noise)
    weight = model.config.noise_weight
    return weight * (recovered - noise).square().mean() - plain.critic(model.discriminator, fakes).mean()


def discriminator_loss(plain: Plain, photos: Tensor, real: Tensor, noise: Tensor) -> Tensor:
    """The discriminator's loss; regions are redrawn again, without gradient."""
    model = plain.model
    with torch.no_grad():
        fakes, _ = plain.redraw(photos, noise)
    scores_real = plain.critic(model.discriminator, real)
    scores_fake = plain.critic(model.discriminator, fakes)
    return F.relu(1 - scores_real).mean() + F.relu(1 + scores_fake).mean()


def step(
    plain: Plain, images: Tensor, noise: Tensor, redrawer: torch.optim.Optimizer, discriminator: torch.optim.Optimizer
) -> None:
    """A whole step: images in [-1, 1], every other one is redrawn, the others are real ones."""
    photos, real = images[0::2], images[1::2]
    plain.model.zero_grad()
    redrawer_loss(plain, photos, noise).backward()
    redrawer.step()
    plain.model.zero_grad()
    discriminator_loss(plain, photos, real, noise).backward()
    discriminator.step()
