"""MarioNette: who learns. Search finds sprites, distillation teaches the network, gradients refine it."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Generator, Tensor, nn

from delaminate.errors import ConfigError
from delaminate.files import take_rows
from delaminate.matching.exact.background import Background
from delaminate.matching.exact.choice import BackgroundChoice, choose_background
from delaminate.matching.exact.dictionary import SpriteStore, merge_variants
from delaminate.matching.exact.interiors import with_interiors
from delaminate.matching.exact.learning import learn_round
from delaminate.matching.exact.noise import is_noisy
from delaminate.matching.exact.parsing import Parse
from delaminate.matching.exact.progress import InterruptedSearch, Progress, RoundState
from delaminate.matching.exact.pruning import prune
from delaminate.matching.exact.restoration import restore
from delaminate.matching.exact.search import FrameStack, Search, explained
from delaminate.matching.exact.settling import settle_background
from delaminate.matching.exact.templates import ColourCodes, HardSprite
from delaminate.methods.marionette.config import Config
from delaminate.methods.marionette.model import MarioNetteModel, Soft
from delaminate.methods.players import GradientPlayer, InterruptedTurn, ParameterGroup, SearchPlayer, StepContext
from delaminate.objectives.reconstruction import image_error
from delaminate.objectives.schedules import warmup_cosine

# Probabilities are kept this far from 0 and 1 before their densities are taken (authors' code).
EDGE = 1e-5
ENOUGH = 0.005
"""Share of what is no background that may stay unexplained where another round on other frames is not worth its time."""
SHOWN = 4
"""Frames of a round that show a sprite that was found before, at least, where there are so many."""
LOOKED_THROUGH = 4
"""Times as many frames as a round sees, at most, among which these are chosen."""


def background_of(pixels: UInt8[Tensor, "N 3 H W"], c: Config) -> BackgroundChoice:
    """What lies behind the images."""
    if c.background == "black":
        return BackgroundChoice(Background(np.zeros((1, 1, 3), np.float32)), "solid", {})
    assert c.background != "learned"
    colour = (c.background_colour[0], c.background_colour[1], c.background_colour[2]) if c.background_colour else None
    return choose_background(pixels.permute(0, 2, 3, 1).cpu().numpy(), c.background, c.tolerance, colour)


def told(choice: BackgroundChoice) -> str:
    """Say what was taken for the background, and how to choose another."""
    height, width = choice.background.rgb.shape[:2]
    panel = ", behind a panel that stands still" if choice.background.plane is not None else ""
    level = np.rint(choice.background.rgb[0, 0] * 255).astype(int)
    what = {
        "solid": f"one colour, #{level[0]:02x}{level[1]:02x}{level[2]:02x}",
        "static": "a still picture",
        "rooms": f"several rooms, a picture each, {width} x {height} pixels together",
        "panorama": f"a panorama of {width} x {height} pixels, over which the camera scrolls{panel}",
        "parallax": "two planes that scroll at different speeds",
    }[choice.kind]
    rest = sorted((name for name in choice.bits if name != choice.kind), key=lambda name: choice.bits[name])
    share = (
        f"; `{rest[0]}` would take {choice.bits[rest[0]] / choice.bits[choice.kind]:.1f} times the bits" if rest else ""
    )
    return f"Background: {what}{share}. Choose another by --set background=solid, static, rooms, panorama or parallax."


class Backdrop(SearchPlayer):
    """Find the colour of a solid background in one turn: the centre of the largest cluster of pixels (section 3.5)."""

    name = "backdrop"

    def __init__(self, model: MarioNetteModel) -> None:
        self.model = model

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        pass

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model = self.model
        colour = common_colour(context.all_gather(images), model.config.background_clusters, rng)
        model.colour.copy_(colour)
        shown = model.colour.view(1, 3, 1, 1).expand_as(images)
        return {"error": image_error(images, shown).mean()}


def common_colour(images: Float[Tensor, "B 3 H W"], clusters: int, rng: Generator) -> Float[Tensor, " 3"]:
    """Cluster the colours of all pixels by k-means; return the centre of the largest cluster.

    Args:
        images: In [0, 1], of 8 bits: equal colours are counted, not repeated.
        clusters: At most so many; fewer if there are fewer colours.
        rng: Draws the starts.
    """
    from sklearn.cluster import KMeans  # takes half a second and 50 MB, which no other turn needs

    levels = (images.detach().float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).reshape(-1, 3).cpu().numpy()
    colours, counts = np.unique(levels, axis=0, return_counts=True)
    seed = int(torch.randint(2**31 - 1, (1,), generator=rng))
    means = KMeans(min(clusters, len(colours)), n_init=3, random_state=seed)
    labels = means.fit_predict(colours.astype(np.float64), sample_weight=counts.astype(np.float64))
    largest = int(np.bincount(labels, weights=counts).argmax())
    inside = labels == largest
    centre = np.average(colours[inside], axis=0, weights=counts[inside]) / 255
    return torch.as_tensor(centre, dtype=images.dtype, device=images.device)


class Matcher(SearchPlayer):
    """Learn sprites by search, a round a turn, each on other frames. The frames of all processes are searched by each.

    A round can be interrupted; what it has found by then is in the model, and the next call goes on from there.
    """

    name = "matcher"

    def __init__(self, model: MarioNetteModel) -> None:
        self.model = model
        self.patterns: list[HardSprite] = []
        self.round: RoundState | None = None

    def state(self) -> dict[str, Tensor]:
        found = _pack("", self.patterns)
        if self.round is not None:
            now = self.round
            numbers = [now.phase, now.together, now.attempts, now.vain, *now.kept]
            found["round"] = torch.tensor(numbers, dtype=torch.int64)
            found |= _pack("round.patterns.", now.patterns) | _pack("round.tried.", now.tried)
        return found

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.patterns, self.round = self._given_first(_unpack("", state)), None
        if "round" in state:
            phase, together, attempts, vain, *kept = state["round"].tolist()
            patterns, tried = self._given_first(_unpack("round.patterns.", state)), _unpack("round.tried.", state)
            self.round = RoundState(phase, patterns, tried, [bool(each) for each in kept], together, attempts, vain)

    def _given_first(self, patterns: list[HardSprite]) -> list[HardSprite]:
        """What a run goes on with; the first of it is what it began with."""
        count = len(self.model.config.given_sprites)
        return [replace(pattern, given=number < count) for number, pattern in enumerate(patterns)]

    def preferred(
        self, pixels: UInt8[Tensor, "N 3 H W"], rng: Generator, context: StepContext
    ) -> Int64[Tensor, " B"] | None:
        """Prefer images that show what is seldom seen, and those of which the sprites found so far leave most unexplained."""
        background = self.model.store.background
        if not context.step or not self.patterns or context.batch >= len(pixels):
            return None
        start, most = float(torch.rand((), generator=rng)), min(len(pixels), LOOKED_THROUGH * context.batch)
        rows = ((np.arange(most) + start) * len(pixels) / most).astype(int)
        search = replace(self.model.search(), progress=Progress(context.should_stop))
        left: list[np.ndarray] = []
        used: list[np.ndarray] = []
        try:
            for some in np.array_split(rows, -(-len(rows) // context.batch)):
                frames = take_rows(pixels, torch.from_numpy(some)).permute(0, 2, 3, 1).cpu().numpy()
                found = explained(FrameStack.of(frames, background), self.patterns, search)
                left.append(found.left)
                used += [
                    np.isin(np.arange(len(self.patterns)), [place.entry for place in each]) for each in found.places
                ]
        except InterruptedSearch:
            raise InterruptedTurn from None
        shown = _showing(np.stack(used), SHOWN, context.batch // 2)
        others = np.setdiff1d(np.arange(len(rows)), shown)
        # The last round, which says what is worth its description, sees frames as they are; those before, what is missing.
        unexplained = (
            np.concatenate(left)[others] if context.step < context.steps - 1 else np.zeros(len(others), np.int64)
        )
        more = others[_spread(unexplained, context.batch - len(shown), start)]
        return torch.from_numpy(rows[np.sort(np.concatenate([shown, more]))])

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        model = self.model
        self.patterns = self.patterns or list(model.given)
        if len(self.patterns) < len(model.config.given_sprites):
            raise ConfigError(
                f"marionette: given_sprites names {len(model.config.given_sprites)} sprites, and none came. Give them by "
                "--sprites, or leave them out by --set given_sprites=[]."
            )

        def tell(found: int, share: float) -> None:
            patterns = self.round.found if self.round is not None else self.patterns
            context.progress({"sprites": found, "explained": share}, lambda: [pattern.rgba() for pattern in patterns])

        search = replace(model.search(), readouts=model.readouts, progress=Progress(context.should_stop, tell))
        images = context.all_gather(images)
        frames = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        # A frame that is there twice says no more than once.
        first: dict[bytes, int] = {}
        for index, frame in enumerate(frames):
            first.setdefault(hashlib.blake2b(frame.tobytes()).digest(), index)
        scenes = FrameStack.of(frames[list(first.values())], model.store.background)
        seed = int(torch.randint(2**31 - 1, (1,), generator=rng))
        self.round = self.round or RoundState(patterns=self.patterns)
        try:
            patterns = learn_round(scenes, self.patterns, search, seed, self.round)
            patterns, background, found = self._settled(scenes, patterns, search)
        except InterruptedSearch:
            self._publish(self.round.found)
            raise InterruptedTurn from None
        behind = model.store.background
        if not np.array_equal(background.rgb, behind.rgb):
            scenes = FrameStack.of(scenes.frames, background)
        there = int(np.count_nonzero(scenes.fresh(search).was_open))
        enough = int(found.left.sum()) <= ENOUGH * there
        context.values["settled"] = _equal(patterns, self.patterns) and (enough or model.covers_all)
        self.patterns, self.round = patterns, None
        model.store.put_background(background)
        self._publish(patterns, scenes, found)
        left = float(found.left.mean()) / (frames.shape[1] * frames.shape[2])
        return {"unexplained": torch.tensor(left), "sprites": torch.tensor(float(model.store.count))}

    def _settled(
        self, scenes: FrameStack, patterns: list[HardSprite], search: Search
    ) -> tuple[list[HardSprite], Background, Parse]:
        """What a round ends with: the background corrected and, of a noisy source, the sprites restored."""
        patterns, background, found = settle_background(scenes, patterns, search, self.model.store.background)
        if is_noisy(search.tolerance) and not search.components:
            patterns = prune(scenes, restore(scenes, patterns, search), search)
            found = explained(scenes, patterns, search)
        return patterns, background, found

    def _publish(
        self, patterns: list[HardSprite], scenes: FrameStack | None = None, found: Parse | None = None
    ) -> None:
        """Put patterns into the model; at the end of a round with their interiors, which what they make of frames tells."""
        c, model = self.model.config, self.model
        codes = ColourCodes(c.tolerance, c.chroma)
        sprites, looks = merge_variants(patterns, codes, c.flips, c.recolours)
        if scenes is not None and found is not None and codes.exact and c.search_parts == "patches":
            sprites = with_interiors(sprites, looks, patterns, scenes, found)
        model.store.put(sprites, looks)
        model.alive.copy_((torch.arange(len(model.alive)) < len(sprites)).to(model.alive))


def _showing(used: Bool[np.ndarray, "n K"], times: int, most: int) -> Int64[np.ndarray, " m"]:
    """Choose frames so that every sprite is in so many of them, the rarest first: else a round takes it for a mistake.

    Args:
        used: Which frames show which sprites.
        times: In how many of the frames that are chosen a sprite is to be, if there are so many.
        most: Frames, at most.
    """
    chosen = np.zeros(len(used), bool)
    for k in np.argsort(used.sum(0), kind="stable"):
        missing = min(times - int((used[:, k] & chosen).sum()), most - int(chosen.sum()))
        there = np.flatnonzero(used[:, k] & ~chosen)
        if missing > 0 and len(there):
            chosen[there[np.linspace(0, len(there) - 1, min(missing, len(there))).astype(int)]] = True
    return np.flatnonzero(chosen)


def _spread(left: Int64[np.ndarray, " n"], count: int, start: float) -> Int64[np.ndarray, " m"]:
    """Choose frames, each with a chance that grows with what is left of it, evenly along the clip: systematic sampling.

    Args:
        left: Pixels of each frame that are not explained.
        count: Frames that are chosen, at most all.
        start: In [0, 1), where sampling begins.
    """
    weight = left + left.mean() / 4 + 1
    chosen = np.searchsorted(weight.cumsum() / weight.sum(), (np.arange(count) + start) / count).clip(max=len(left) - 1)
    picked = np.zeros(len(left), bool)
    picked[chosen] = True
    rest = np.argsort(np.where(picked, -1.0, weight), kind="stable")[::-1]
    picked[rest[: count - int(picked.sum())]] = True
    return np.flatnonzero(picked)


def _pack(prefix: str, patterns: list[HardSprite]) -> dict[str, Tensor]:
    store = SpriteStore(max(len(patterns), 1), max((max(p.size) for p in patterns), default=1))
    store.put(tuple(patterns), ())
    return {f"{prefix}rgba": store.rgba, f"{prefix}sizes": store.sizes}


def _unpack(prefix: str, state: Mapping[str, Tensor]) -> list[HardSprite]:
    store = SpriteStore(*state[f"{prefix}rgba"].shape[::2])
    store.rgba.copy_(state[f"{prefix}rgba"])
    store.sizes.copy_(state[f"{prefix}sizes"])
    return list(store.sheet().sprites)


def _equal(some: list[HardSprite], others: list[HardSprite]) -> bool:
    """Whether two dictionaries have the same shapes, in any order."""

    def keys(patterns: list[HardSprite]) -> list[tuple[bytes, tuple[int, int]]]:
        return sorted((p.alpha.tobytes(), p.size) for p in patterns)

    return keys(some) == keys(others)


class Refiner(GradientPlayer):
    """The paper's training: go forward softly, compare with the images, and push choices towards 0 and 1 (section 3.6)."""

    name = "refiner"
    algorithm = "adamw"

    def __init__(self, model: MarioNetteModel) -> None:
        self.model = model
        self.gradient_clip = model.config.gradient_clip

    def groups(self) -> tuple[ParameterGroup, ...]:
        model, c = self.model, self.model.config
        behind: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            (behind if name.startswith(("backdrop.", "backdrop_code")) else others).append(parameter)
        network = ParameterGroup("network", tuple(others), c.learning_rate, c.weight_decay)
        if not behind:
            return (network,)
        return network, ParameterGroup("background", tuple(behind), c.background_learning_rate, c.weight_decay)

    def learning_rate_factor(self, group: str, context: StepContext) -> float:
        return warmup_cosine(context.step, context.steps) if self.model.config.cosine else 1.0

    def order(self, rng: Generator) -> list[tuple[int, int]]:
        """Draw the order of sub-lattices: one for all images, and for all layers or across them."""
        c, count = self.model.config, self.model.lattice_side**2
        if c.shuffle_layers:
            drawn = torch.randperm(count * c.num_layers, generator=rng).tolist()
            return [divmod(place, count) for place in drawn]
        drawn = torch.randperm(count, generator=rng).tolist()
        return [(layer, lattice) for layer in range(c.num_layers) for lattice in drawn]

    def turn(self, images: Float[Tensor, "B 3 H W"], rng: Generator, context: StepContext) -> dict[str, Tensor]:
        found = self.model.soft(images, self.order(rng))
        return {"error": image_error(images, found.image).mean(), **self.prices(found)}

    def prices(self, found: Soft) -> dict[str, Tensor]:
        """What undecided choices cost, and switches that are on."""
        c = self.model.config
        if c.regularizer == "paper":
            # Summed over an image, averaged over images.
            chosen = (found.scores, found.switch, *found.offsets)
            total = torch.stack([log_density(each).sum() for each in chosen]).sum() / len(found.switch)
            return {"choices": -c.choice_weight * total}
        choices = (density(found.scores).mean() + density(found.switch).mean()) / 2
        prices = found.switch.new_tensor(c.sparsity_weights).view(1, -1, 1, 1)
        return {"choices": c.choice_weight * choices, "sparsity": (prices * found.switch).mean()}


def density(x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """Beta(2, 2): 6 x (1 - x), highest for x = 1/2. (Authors' code 2169016)"""
    x = x.clamp(EDGE, 1 - EDGE)
    return 6 * x * (1 - x)


def log_density(x: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """Log of Beta(0.5, 0.5): -log(pi) - log(x) / 2 - log(1 - x) / 2, highest at 0 and 1 (section 3.6)."""
    x = x.clamp(EDGE, 1 - EDGE)
    return -math.log(math.pi) - 0.5 * (x.log() + (1 - x).log())
