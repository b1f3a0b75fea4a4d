"""A drawn clip: a side-scrolling game with known objects, frame by frame.

One seed is one clip of any length. A painted world stands still; the camera follows a player who runs, jumps, turns
and pauses; enemies patrol, coins spin and are taken, bats cross the sky. Sprites are Kenney's (CC0).
"""

from dataclasses import dataclass, field

import numpy as np

from delaminate.data.synthetic.drawing import Drawing, FramePainter, Map, Raster, Stamp, packaged

HEIGHT, WIDTH = 128, 192
WORLD = 7 * WIDTH
GROUND = HEIGHT - 18  # the row on which everybody stands
RATE = 30.0
TILE = 18

# Kinds in the order of the classes, each with the pictures of its animation.
KINDS: dict[str, tuple[str, ...]] = {
    "player": ("green-0", "green-1"),
    "rover": ("rover-0", "rover-1"),
    "bat": ("bat-0", "bat-1"),
    "coin": ("coin-0", "coin-1"),
    "block": ("block",),
}
ORDER = ("coin", "block", "rover", "bat", "player")  # back to front
COIN_RETURNS = 240  # frames until a new coin lies where one was taken


@dataclass
class Thing:
    """A moving thing; places are in pixels of the world.

    Attributes:
        kind: A key of `KINDS`.
        number: Its label through the clip.
        x, y: Left and top of its picture.
        speed: To the right, pixels a frame; its sign says where it looks.
        low, high: The stretch it patrols, or the rows between which it floats.
        phase: Shifts its animation and its floating, in frames.
    """

    kind: str
    number: int
    x: float
    y: float
    speed: float = 0.0
    low: float = 0.0
    high: float = 0.0
    phase: int = 0


@dataclass(frozen=True)
class Snapshot:
    """One frame: where the camera's left edge is, and what is put where, back to front."""

    camera: int
    stamps: tuple[tuple[Stamp, int, int, int, int], ...]  # top and left in the frame, number, kind


@dataclass
class World:
    """A world that runs forward, one frame at a time; what was is remembered."""

    rng: np.random.Generator
    picture: Raster = field(init=False)
    things: list[Thing] = field(default_factory=list)
    returns: list[tuple[int, float, float]] = field(default_factory=list)
    history: list[Snapshot] = field(default_factory=list)
    camera: float = 0.0
    plan: tuple[int, float] = (0, 0.0)  # the frame until which the player keeps a speed
    fall: float = 0.0
    next_bat: int = 15
    added: int = 0

    def __post_init__(self) -> None:
        rng = self.rng
        self.picture, ledges = paint_world(rng)
        self.player = self._add("player", float(rng.integers(60, WORLD - 84)), GROUND - 24)
        self.camera = float(np.clip(self.player.x + 12 - WIDTH / 2, 0, WORLD - WIDTH))
        for left in range(40, WORLD - 140, 130):
            low = left + float(rng.integers(0, 40))
            speed = float(rng.choice((-1, 1)) * rng.uniform(0.4, 1.3))
            high = low + float(rng.integers(30, 70))
            self._add("rover", float(rng.uniform(low, high)), GROUND - 24, speed, low, high)
        for left in range(90, WORLD - 60, 310):
            x = left + float(rng.integers(0, 80))
            self._add("block", x, 40.0, low=float(rng.integers(20, 40)), high=GROUND - 24.0)
        for row, begin, length in ledges:
            for column in range(length):
                self._add("coin", float(begin + column * TILE), float(row - 16))
        for left in range(20, WORLD - 40, 105):
            x, y = left + int(rng.integers(0, 50)), int(rng.choice((GROUND - 18, GROUND - 48)))
            for step in range(int(rng.integers(1, 4))):
                self._add("coin", float(x + 16 * step), float(y))

    def _add(self, kind: str, x: float, y: float, speed: float = 0.0, low: float = 0.0, high: float = 0.0) -> Thing:
        number = 1 + self.added
        thing = Thing(kind, number, x, y, speed, low, high, int(self.rng.integers(0, 64)))
        self.things.append(thing)
        self.added = number
        return thing

    def frame(self, index: int) -> Snapshot:
        """The frame of a number from 0; frames before it are played first."""
        while len(self.history) <= index:
            self._step(len(self.history))
            self.history.append(self._snapshot(len(self.history)))
        return self.history[index]

    def _step(self, now: int) -> None:
        self._move_player(now)
        for thing in self.things:
            if thing.kind == "rover":
                thing.x += thing.speed
                if not thing.low <= thing.x <= thing.high:
                    thing.x, thing.speed = float(np.clip(thing.x, thing.low, thing.high)), -thing.speed
            elif thing.kind == "bat":
                thing.x += thing.speed
                thing.y = thing.low + thing.high * np.sin((now + thing.phase) / 9)
            elif thing.kind == "block":
                swing = (1 - np.cos((now + thing.phase) / 22)) / 2
                thing.y = thing.low + (thing.high - thing.low) * swing
        self._take_coins(now)
        self._send_bats(now)
        # The camera leaves the player some room, then follows ever faster.
        ahead = self.player.x + 12 - WIDTH / 2 - self.camera
        if abs(ahead) > 14:
            self.camera += float(np.clip(0.07 * (ahead - 14 * np.sign(ahead)), -4, 4))
        self.camera = float(np.clip(self.camera, 0, WORLD - WIDTH))

    def _move_player(self, now: int) -> None:
        rng, player = self.rng, self.player
        if now >= self.plan[0]:
            pace = float(rng.choice((0.0, 1.5, 2.0, 3.0), p=(0.2, 0.2, 0.4, 0.2)))
            turn = -1 if rng.random() < 0.3 else 1
            self.plan = (now + int(rng.integers(20, 100)), pace)
            player.speed = turn * np.copysign(max(pace, 0.01), player.speed)
        ahead = player.x + player.speed
        if not 4 <= ahead <= WORLD - 28:
            player.speed, ahead = -player.speed, player.x
        player.x = ahead if self.plan[1] else player.x
        floor = GROUND - 24.0
        if player.y >= floor and rng.random() < (0.03 if self.plan[1] else 0.01):
            self.fall = -5.2
        player.y += self.fall
        self.fall += 0.35
        if player.y >= floor:
            player.y, self.fall = floor, 0.0

    def _take_coins(self, now: int) -> None:
        x, y = self.player.x + 12, self.player.y + 12
        taken = [t for t in self.things if t.kind == "coin" and abs(t.x + 9 - x) < 13 and abs(t.y + 9 - y) < 15]
        self.returns += [(now + COIN_RETURNS, coin.x, coin.y) for coin in taken]
        self.things = [thing for thing in self.things if thing not in taken]
        for _, left, top in [back for back in self.returns if back[0] == now]:
            self._add("coin", left, top)

    def _send_bats(self, now: int) -> None:
        gone = [t for t in self.things if t.kind == "bat" and not -80 < t.x - self.camera < WIDTH + 80]
        self.things = [thing for thing in self.things if thing not in gone]
        if now == self.next_bat:
            side = int(self.rng.choice((-1, 1)))
            x = self.camera - 40 if side > 0 else self.camera + WIDTH + 16
            speed, height = side * float(self.rng.uniform(1.0, 2.6)), float(self.rng.integers(8, 46))
            self._add("bat", x, height, speed, height, float(self.rng.integers(3, 9)))
            self.next_bat = now + int(self.rng.integers(35, 110))

    def _snapshot(self, now: int) -> Snapshot:
        camera = round(self.camera)
        stamps = []
        for kind_name in ORDER:
            kind = list(KINDS).index(kind_name) + 1
            for thing in self.things:
                left = round(thing.x) - camera
                if thing.kind == kind_name and -24 < left < WIDTH:
                    stamp = self._picture_of(thing, now)
                    stamps.append((stamp, round(thing.y), left, thing.number, kind))
        return Snapshot(camera, tuple(stamps))

    def _picture_of(self, thing: Thing, now: int) -> Stamp:
        pictures = KINDS[thing.kind]
        step = (now + thing.phase) // (12 if thing.kind == "coin" else 6) % len(pictures)
        if thing.kind == "player":
            flying = thing.y < GROUND - 24
            step = 1 if flying else (0 if self.plan[1] == 0 else step)
        stamp = packaged(pictures[step])
        return stamp.mirrored if thing.speed < 0 else stamp


def paint_world(rng: np.random.Generator) -> tuple[Raster, list[tuple[int, int, int]]]:
    """Sky in bands, clouds, two ranges of hills, ground and ledges.

    Returns:
        The picture, and each ledge as the row of its top, its left edge and its length in tiles.
    """
    rows, columns = np.arange(HEIGHT)[:, None], np.arange(WORLD)[None]
    bands = np.minimum(rows // 12, 8) / 8
    picture = np.empty((3, HEIGHT, WORLD), dtype=np.uint8)
    for channel, (high, low) in enumerate(((104, 206), (176, 232), (224, 246))):
        picture[channel] = np.rint(high + (low - high) * bands)
    for _ in range(26):
        x, y = rng.uniform(0, WORLD), rng.uniform(8, 44)
        for _ in range(int(rng.integers(3, 6))):
            dx, dy, radius = rng.uniform(-16, 16), rng.uniform(-3, 3), rng.uniform(5, 10)
            puff = ((columns - x - dx) / 1.6) ** 2 + (rows - y - dy) ** 2 < radius**2
            picture[:, puff] = np.array([[248], [250], [252]])
    for colour, base, swing in (((122, 186, 170), 62, 15), ((92, 158, 106), 84, 10)):
        waves = sum(
            np.sin(columns * 2 * np.pi * rate / WORLD + rng.uniform(0, 2 * np.pi)) / weight
            for rate, weight in ((int(rng.integers(4, 9)), 1), (int(rng.integers(11, 19)), 2), (31, 6))
        )
        hill = rows > base + swing * waves
        picture[:, hill] = np.array(colour, dtype=np.uint8)[:, None]
        stripe = hill & ((rows - np.rint(swing * waves)) % 14 < 2) & ((columns + 3 * rows) % 37 < 19)
        picture[:, stripe] = (np.array(colour) * 0.92).astype(np.uint8)[:, None]
    maps = np.zeros((2, HEIGHT, WORLD), dtype=np.int64)
    for left in range(0, WORLD, TILE):
        packaged("grass").onto(picture, maps[0], maps[1], GROUND, left, 1, 1)
    ledges = []
    for left in range(50, WORLD - 120, 150):
        row, begin, length = int(rng.integers(44, 66)), left + int(rng.integers(0, 60)), int(rng.integers(2, 5))
        ledges.append((row, begin, length))
        for column in range(length):
            packaged("crate").onto(picture, maps[0], maps[1], row, begin + column * TILE, 1, 1)
    return picture, ledges


def _film(rng: np.random.Generator) -> FramePainter:
    world = World(rng)

    def paint(index: int, pixels: Raster, instances: Map, classes: Map) -> None:
        shot = world.frame(index)
        pixels[:] = world.picture[:, :, shot.camera : shot.camera + WIDTH]
        for stamp, top, left, number, kind in shot.stamps:
            stamp.onto(pixels, instances, classes, top, left, number, kind)

    return paint


def _sprites() -> tuple[Stamp, ...]:
    return tuple(packaged(name) for names in KINDS.values() for name in names)


CLIPS = {
    "side-scroller": Drawing(
        (HEIGHT, WIDTH),
        "a clip of a side-scrolling game, one world a seed, 128 x 192 at 30 frames a second",
        film=_film,
        rate=RATE,
        sprites=_sprites,
        replica=False,
    ),
}
