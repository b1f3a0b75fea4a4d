"""Drawn captures: short clips as people record them, of every kind, with the truth about each.

A capture has a background of one kind (one colour, nothing at all, a still picture, several rooms, a scrolling panorama,
two planes that scroll at different speeds, a map of tiles) and things that move over it: drawn by chance or Kenney's
(CC0), facing both ways, some of them small, some blinking, some half transparent. A panel may stand still in front of a
scrolling background. Then it is captured: enlarged, cropped, compressed.

Capture `i` of a (seed, split) is the same everywhere.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int64, UInt8
from scipy import ndimage

from delaminate.data.synthetic.drawing import packaged
from delaminate.rng import numpy_stream

Background = Literal["solid", "transparent", "static", "rooms", "panorama", "parallax", "tiles"]
BACKGROUNDS: tuple[Background, ...] = ("solid", "transparent", "static", "rooms", "panorama", "parallax", "tiles")
CODECS = ("png", "gif", "jpeg", "h264")
ZOOMS = ((1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (4.0, 4.0), (2.0, 3.0), (3.5, 3.5))
KENNEY = ("bat-0", "block", "coin-0", "green-0", "heart", "key", "pink", "rover-0")
PANEL = 10
"""Pixels that a panel is high."""
LEAST_SHOWN = 4
"""Frames in which a sprite must be seen whole to be asked for."""

Picture = UInt8[np.ndarray, "_h _w 3"]
Raster = UInt8[np.ndarray, "_h _w 4"]


@dataclass(frozen=True, eq=False)
class Capture:
    """A clip, and what it was drawn from.

    Attributes:
        frames: As captured: enlarged and cropped, before compression; RGBA.
        clean: As drawn, at the pixels' own size.
        behind: The same without the things that move; a panel stands in front of it.
        durations: Milliseconds a frame.
        sprites: The pictures of all things that are seen whole in enough frames, once each: mirror images are one.
        background: The kind of background.
        codec: How the clip is to be stored: `png` (a folder), `gif`, `jpeg` (a folder) or `h264`.
        zoom: By how much rows and columns were enlarged.
        panel: A panel stands still in front.
        half_transparent: One of the sprites lets half of what is behind shine through.
    """

    frames: UInt8[np.ndarray, "N H W 4"]
    clean: UInt8[np.ndarray, "N h w 4"]
    behind: UInt8[np.ndarray, "N h w 4"]
    durations: tuple[int, ...]
    sprites: tuple[Raster, ...]
    background: Background
    codec: str
    zoom: tuple[float, float]
    panel: bool
    half_transparent: bool

    @property
    def is_lossy(self) -> bool:
        return self.codec in ("jpeg", "h264")


@dataclass(frozen=True, eq=False)
class _World:
    """What lies behind everything, frame by frame, and where the camera is."""

    frames: UInt8[np.ndarray, "N H W 4"]
    camera: Int64[np.ndarray, "N 2"]
    rooms: Int64[np.ndarray, " N"]


def draw_capture(
    index: int,
    seed: int = 0,
    split: str = "dev",
    background: Background | None = None,
    codec: str | None = None,
    zoom: tuple[float, float] | None = None,
) -> Capture:
    """Draw one capture.

    Args:
        index: Its number.
        seed, split: Which series.
        background, codec, zoom: Of this kind; None: by chance.
    """
    rng = numpy_stream("captures", split, seed, index)
    size = int(rng.integers(64, 129)), int(rng.integers(80, 161))
    count = int(rng.integers(40, 91))
    drawn_kind = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    drawn_codec = str(rng.choice(CODECS, p=(0.45, 0.25, 0.15, 0.15)))
    drawn_zoom = ZOOMS[int(rng.choice(len(ZOOMS), p=(0.5, 0.12, 0.12, 0.1, 0.08, 0.08)))]
    kind, codec, zoom = background or drawn_kind, codec or drawn_codec, zoom or drawn_zoom
    if kind == "transparent" and codec != "png":
        codec = "png"
    world = _draw_world(kind, count, size, rng)
    frames = world.frames.copy()
    half = kind in ("static", "rooms", "panorama", "tiles") and rng.random() < 0.2
    shown = _play(frames, world, _make_sprites(rng), half, rng)
    panel = kind in ("panorama", "parallax") and rng.random() < 0.5
    if panel:
        _draw_panel(frames, rng)
    durations = (100,) * count if rng.random() < 0.7 else tuple(int(n) for n in 20 * rng.integers(2, 30, count))
    captured = _enlarge(frames, zoom, rng)
    return Capture(captured, frames, world.frames, durations, shown, kind, codec, zoom, panel, half)


# Sprites --------------------------------------------------------------------------------------------------------------


def _make_sprites(rng: np.random.Generator) -> list[list[Raster]]:
    """Things, each with the pictures of its animation; the last one may be as small as a bullet."""
    things = []
    names = list(rng.permutation(KENNEY))
    for _ in range(int(rng.integers(2, 6))):
        if names and rng.random() < 0.4:
            stamp = packaged(str(names.pop()))
            alpha = np.where(stamp.mask, 255, 0).astype(np.uint8)
            things.append([_trimmed(np.dstack([stamp.rgb.transpose(1, 2, 0), alpha]))])
        else:
            first = _random_sprite(rng)
            things.append([first, _next_pose(first, rng)] if rng.random() < 0.35 else [first])
    if rng.random() < 0.4:
        bullet = np.full((int(rng.integers(2, 4)), int(rng.integers(2, 5)), 4), 255, np.uint8)
        bullet[..., :3] = rng.integers(60, 256, 3)
        things.append([bullet])
    return things


def _random_sprite(rng: np.random.Generator) -> Raster:
    """A blob with an outline and a few colours, left to right often alike but for an eye."""
    height, width = int(rng.integers(7, 22)), int(rng.integers(7, 22))
    y, x = np.mgrid[:height, :width]
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    noise = ndimage.gaussian_filter(rng.normal(size=(height, width)), 1.5)
    radius = np.hypot((y - middle[0]) / (height / 2), (x - middle[1]) / (width / 2))
    shape = ndimage.binary_opening(radius + 0.9 * noise / (noise.std() + 1e-6) * 0.25 < 0.95)
    labels, parts = ndimage.label(shape)
    if parts == 0 or shape.sum() < 20:
        shape = radius < 0.95
    else:
        shape = labels == 1 + np.argmax(ndimage.sum(shape, labels, range(1, parts + 1)))
    palette = rng.integers(40, 256, (4, 3)).astype(np.uint8)
    fields = np.argmax([ndimage.gaussian_filter(rng.normal(size=shape.shape), 1.2) for _ in range(3)], 0)
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[..., :3] = palette[fields]
    rim = shape & ~ndimage.binary_erosion(shape)
    if rng.random() < 0.7:
        rgba[rim, :3] = palette[3] // 4
    spots = np.argwhere(shape & ~rim)
    for row, column in spots[rng.permutation(len(spots))[:2]]:
        rgba[row, column, :3] = 255
    rgba[..., 3] = np.where(shape, 255, 0)
    return _trimmed(rgba)


def _trimmed(rgba: Raster) -> Raster:
    """The picture without its transparent margins."""
    rows, columns = np.flatnonzero(rgba[..., 3].any(1)), np.flatnonzero(rgba[..., 3].any(0))
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _next_pose(first: Raster, rng: np.random.Generator) -> Raster:
    """The lower third moves, as legs do."""
    pose, cut = first.copy(), 2 * len(first) // 3
    pose[cut:] = np.roll(first[cut:], int(rng.choice((-2, -1, 1, 2))), axis=1)
    return _trimmed(pose) if (pose != first).any() else np.ascontiguousarray(first[::-1])


# Worlds ---------------------------------------------------------------------------------------------------------------


def _draw_world(kind: Background, count: int, size: tuple[int, int], rng: np.random.Generator) -> _World:
    still = np.zeros((count, 2), np.int64)
    rooms = np.zeros(count, np.int64)
    if kind in ("solid", "transparent"):
        frame = np.zeros((*size, 4), np.uint8)
        if kind == "solid":
            frame[...] = (*rng.integers(0, 256, 3), 255)
        return _World(np.repeat(frame[None], count, 0), still, rooms)
    if kind in ("static", "rooms"):
        pictures = [_opaque(_landscape(size, rng)) for _ in range(1 if kind == "static" else int(rng.integers(2, 4)))]
        rooms = np.sort(rng.integers(0, len(pictures), count))
        return _World(np.stack([pictures[n] for n in rooms]), still, rooms)
    if kind == "tiles" and rng.random() < 0.5:
        picture = _opaque(_tile_map(size, rng))
        return _World(np.repeat(picture[None], count, 0), still, rooms)
    world = size[0], int(size[1] * rng.uniform(1.6, 3))
    camera = _camera_path(count, world[1] - size[1], rng)
    picture = _tile_map(world, rng) if kind == "tiles" else _landscape(world, rng)
    frames = np.stack([_opaque(picture[:, x : x + size[1]]) for _, x in camera])
    if kind == "parallax":
        near = _near_plane(world, rng)
        far = _landscape(world, rng)
        for frame, (_, x) in zip(frames, camera, strict=True):
            frame[..., :3] = far[:, x // 2 : x // 2 + size[1]]
            _paste(frame, near[:, x : x + size[1]], 0, 0)
    return _World(frames, camera, rooms)


def _camera_path(count: int, longest: int, rng: np.random.Generator) -> Int64[np.ndarray, "N 2"]:
    """Starts, stops and turns; covers what there is."""
    speed, x, path = 0.0, float(rng.uniform(0, longest)), []
    goal = float(rng.choice((1.0, 2.0, 3.0)) * rng.choice((-1, 1)))
    for step in range(count):
        if step % 25 == 24:
            goal = float(rng.choice((0.0, 1.0, 2.0, 3.0)) * np.sign(goal or 1))
        speed += float(np.clip(goal - speed, -0.5, 0.5))
        x += speed
        if not 0 <= x <= longest:
            x, goal, speed = float(np.clip(x, 0, longest)), -goal, 0.0
        path.append((0, int(x)))
    return np.array(path, np.int64)


def _opaque(picture: Picture) -> UInt8[np.ndarray, "H W 4"]:
    return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])


def _landscape(size: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Bands of sky, hills, and a floor with a texture."""
    height, width = size
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    top, low = rng.integers(40, 200, 3), rng.integers(80, 256, 3)
    bands = np.minimum(rows * 8 // height, 5) / 5
    picture = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        picture[..., channel] = np.rint(top[channel] + (low[channel] - top[channel]) * bands)
    for base in (0.45, 0.62):
        phase, length = rng.uniform(0, 6, 2), rng.uniform(20, 70, 2)
        hill = rows > height * base + 5 * np.sin(columns / length[0] + phase[0]) + 7 * np.sin(
            columns / length[1] + phase[1]
        )
        picture[hill] = rng.integers(30, 220, 3)
        for _ in range(width // 12):
            y, x = int(rng.uniform(base, 0.85) * height), int(rng.integers(width))
            picture[y : y + int(rng.integers(2, 5)), x : x + int(rng.integers(2, 9))] = rng.integers(30, 220, 3)
    floor = int(height * 0.85)
    texture = rng.integers(0, 3, ((height - floor) // 2 + 1, width // 2 + 1)).repeat(2, 0).repeat(2, 1)
    palette = rng.integers(30, 200, (3, 3)).astype(np.uint8)
    picture[floor:] = palette[texture[: height - floor, :width]]
    return picture


def _near_plane(size: tuple[int, int], rng: np.random.Generator) -> Raster:
    """Trees and a floor, with nothing between."""
    plane = np.zeros((*size, 4), np.uint8)
    floor = int(size[0] * 0.82)
    plane[floor:] = _opaque(_landscape(size, rng))[floor:]
    for left in range(4, size[1] - 16, 34):
        x, width, top = left + int(rng.integers(0, 14)), int(rng.integers(4, 9)), int(size[0] * rng.uniform(0.35, 0.6))
        plane[top:floor, x : x + width] = (*rng.integers(20, 120, 3), 255)
        plane[top : top + 6, max(x - 4, 0) : x + width + 4] = (*rng.integers(20, 160, 3), 255)
        for row in range(top + 7, floor, 5):
            plane[row : row + 2, x + 1 + row % 2 : x + 3 + row % 2] = (*rng.integers(20, 200, 3), 255)
    return plane


def _tile_map(size: tuple[int, int], rng: np.random.Generator) -> Picture:
    """A map of 8 or 16 pixels a tile: few tiles, in runs."""
    side = int(rng.choice((8, 16)))
    palette = rng.integers(20, 256, (6, 3)).astype(np.uint8)
    tiles = []
    for _ in range(int(rng.integers(4, 9))):
        few = rng.choice(6, 3, replace=False)
        tiles.append(palette[few[rng.integers(0, 3, (side // 2, side // 2))]].repeat(2, 0).repeat(2, 1))
    tiles[0] = np.broadcast_to(palette[0], (side, side, 3)).copy()
    rows, columns = -(-size[0] // side), -(-size[1] // side)
    cells = rng.choice(len(tiles), (rows, columns), p=_falling(len(tiles)))
    cells[:, 1::3] = cells[:, 0::3][:, : cells[:, 1::3].shape[1]]
    cells[-2:] = rng.integers(1, len(tiles))
    picture = np.concatenate([np.concatenate([tiles[n] for n in row], 1) for row in cells], 0)
    return np.ascontiguousarray(picture[: size[0], : size[1]])


def _falling(count: int) -> np.ndarray:
    shares = 1 / np.arange(1, count + 1)
    return shares / shares.sum()


# Play -----------------------------------------------------------------------------------------------------------------


@dataclass
class _Thing:
    poses: list[Raster]
    y: float
    x: float
    down: float
    right: float
    bob: float
    blinks: bool
    opacity: float
    faces_left: bool = False


def _play(
    frames: UInt8[np.ndarray, "N H W 4"], world: _World, kinds: list[list[Raster]], half: bool, rng: np.random.Generator
) -> tuple[Raster, ...]:
    """Let things move over the frames; return the pictures that are seen whole in enough of them."""
    (height, width), extent = frames.shape[1:3], int(world.camera[:, 1].max())
    things = []
    for number, poses in enumerate(kinds):
        for _ in range(int(rng.integers(1, 4)) * (1 + extent // width)):
            speed = rng.choice((0.0, 0.7, 1.0, 1.5, 2.0)) * rng.choice((-1, 1))
            fall = rng.choice((0.0, 0.0, 0.5, 1.0)) * rng.choice((-1, 1))
            place = rng.uniform(0, height - 8), rng.uniform(0, width + extent - 8)
            opacity = 0.5 if half and number == 0 else 1.0
            bob = float(rng.choice((0.0, 2.0)))
            if speed == fall == 0 and len(poses) == 1:
                bob = 2.0  # what never changes at all is background
            things.append(_Thing(poses, *place, fall, speed, bob, rng.random() < 0.1, opacity))
    seen: dict[tuple[int, int], int] = {}
    for now in range(len(frames)):
        covered = np.zeros((height, width), np.int64)
        whole: list[tuple[tuple[int, int], int, int]] = []
        for number, thing in enumerate(things):
            _move(thing, height, width + extent)
            if thing.blinks and now % 8 < 3:
                continue
            pose = thing.poses[now // 6 % len(thing.poses)]
            raster = np.ascontiguousarray(pose[:, ::-1]) if thing.faces_left else pose
            top = round(thing.y + thing.bob * np.sin(now / 3))
            left = round(thing.x) - int(world.camera[now, 1])
            area = _paste(frames[now], raster, top, left, thing.opacity, covered, number + 1)
            if area == (raster[..., 3] > 0).sum():
                kind = next(k for k, poses in enumerate(kinds) if poses is thing.poses)
                whole.append(((kind, now // 6 % len(thing.poses)), number + 1, area))
        for key, label, area in whole:
            if (covered == label).sum() == area:
                seen[key] = seen.get(key, 0) + 1
    pictures: list[Raster] = []
    for (number, which), count in sorted(seen.items()):
        if count < LEAST_SHOWN:
            continue
        raster = kinds[number][which]
        if half and number == 0:
            raster = np.dstack([raster[..., :3], raster[..., 3] // 2])
        pictures.append(raster)
    return tuple(pictures)


def _move(thing: _Thing, height: int, width: int) -> None:
    thing.y, thing.x = thing.y + thing.down, thing.x + thing.right
    if not -4 <= thing.y <= height - 6:
        thing.down, thing.y = -thing.down, float(np.clip(thing.y, -4, height - 6))
    if not -4 <= thing.x <= width - 6:
        thing.right, thing.x = -thing.right, float(np.clip(thing.x, -4, width - 6))
    thing.faces_left = thing.right < 0


def _paste(
    frame: UInt8[np.ndarray, "H W 4"],
    raster: Raster,
    top: int,
    left: int,
    opacity: float = 1.0,
    covered: Int64[np.ndarray, "H W"] | None = None,
    number: int = 0,
) -> int:
    """Put a picture on a frame; return how many of its pixels lie inside."""
    height, width = frame.shape[:2]
    rows = slice(max(top, 0), min(top + raster.shape[0], height))
    columns = slice(max(left, 0), min(left + raster.shape[1], width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return 0
    part = raster[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    there = part[..., 3] > 0
    behind = frame[rows, columns]
    mixed = np.rint(opacity * part[..., :3] + (1 - opacity) * behind[..., :3]).astype(np.uint8)
    behind[there, :3] = mixed[there]
    behind[there, 3] = 255
    if covered is not None:
        covered[rows, columns][there] = number
    return int(there.sum())


def _draw_panel(frames: UInt8[np.ndarray, "N H W 4"], rng: np.random.Generator) -> None:
    """A bar along the top, `PANEL` pixels high, with a number that counts up."""
    tint = rng.integers(0, 90, 3)
    number = int(rng.integers(0, 500))
    glyphs = rng.random((10, 5, 3)) < 0.6
    glyphs[:, 0, 0] = True
    for now, frame in enumerate(frames):
        frame[:PANEL] = (*tint, 255)
        frame[PANEL - 1] = (200, 200, 200, 255)
        for place, digit in enumerate(f"{number + now // 5:04d}"):
            frame[2:7, 6 + 5 * place : 9 + 5 * place][glyphs[int(digit)]] = (255, 240, 120, 255)


# Capture --------------------------------------------------------------------------------------------------------------


def _enlarge(
    frames: UInt8[np.ndarray, "N H W 4"], zoom: tuple[float, float], rng: np.random.Generator
) -> UInt8[np.ndarray, "N H W 4"]:
    """Enlarge by repeating pixels, and cut a few off where a window was grabbed by hand."""
    if zoom == (1.0, 1.0):
        return frames
    rows = (np.arange(int(frames.shape[1] * zoom[0])) / zoom[0]).astype(int)
    columns = (np.arange(int(frames.shape[2] * zoom[1])) / zoom[1]).astype(int)
    if rng.random() < 0.3:
        rows, columns = rows[int(rng.integers(0, int(zoom[0]))) :], columns[int(rng.integers(0, int(zoom[1]))) :]
    return np.ascontiguousarray(frames[:, rows[:, None], columns[None]])
