import os
from pathlib import Path

import numpy as np
import pytest
from helpers.maps import add_sprites, draw_map, drawn_tile, oriented
from PIL import Image

from delaminate.matching.tile_animations import tile_animations
from delaminate.matching.tile_cells import COMPOSE, INVERSE, colour_codes, colours_of, orient
from delaminate.matching.tiles import draw, find_tiles


def generator(seed):
    return np.random.Generator(np.random.PCG64(seed))


def phase(grid, number=0):
    return tuple(int(begin) % size for begin, size in zip(grid.origins[number], grid.size, strict=True))


def test_orientations_compose_as_a_group():
    probe = np.arange(12).reshape(3, 4)
    for a in range(8):
        assert (orient(orient(probe, a), int(INVERSE[a])) == probe).all()
        assert (orient(probe, a) == oriented(probe, a)).all()
        for b in range(8):
            assert (orient(orient(probe, a), b) == orient(probe, int(COMPOSE[a, b]))).all()


def test_colours_are_numbers_and_back():
    pictures = generator(0).integers(0, 256, (2, 5, 7, 3)).astype(np.uint8)
    assert (colours_of(colour_codes(pictures)) == pictures).all()


@pytest.mark.parametrize("seed", range(10))
def test_size_origin_tiles_and_palettes_of_a_map_are_found_and_it_is_drawn_exactly(seed):
    rng = generator(seed)
    side = int(rng.integers(16, 65))
    size = (side, side if seed % 3 else int(rng.integers(16, 65)))
    drawn = draw_map(rng, size, (15 * size[0], 15 * size[1]), runs=0.3 * (seed % 2))
    grid = find_tiles(drawn.picture[None])
    assert grid is not None
    assert grid.size == drawn.size
    assert phase(grid) == tuple(origin % side for origin, side in zip(drawn.origin, size, strict=True))
    assert (draw(grid)[0] == drawn.picture).all()
    # Fourteen tiles and the empty sky; cells that the border cuts may show what no whole cell shows.
    whole = grid.seen.all((1, 2))
    assert 15 <= whole.sum() <= 18
    assert len(grid.tiles) <= 15 + 15
    assert max(len(rows) for rows in grid.palettes) == 2


@pytest.mark.parametrize("seed", range(3))
def test_sprites_on_a_map_do_not_prevent_it(seed):
    rng = generator(20 + seed)
    drawn = draw_map(rng, (18, 18), (360, 540))
    picture = add_sprites(rng, drawn.picture, 10)
    grid = find_tiles(picture[None])
    assert grid is not None
    assert grid.size == (18, 18)
    assert (draw(grid)[0] == picture).all()


@pytest.mark.parametrize("seed", [65, 90, 1])
def test_a_map_that_is_mostly_bricks_lies_on_a_lattice(seed):
    """Bricks half as wide as tiles recur wherever a lattice begins; what else there is tells where it does."""
    rng = generator(seed)
    colours = rng.integers(0, 256, (7, 4, 3)).astype(np.uint8)
    brick = np.tile(colours[0][drawn_tile(rng, (8, 8), colours[0])], (2, 2, 1))
    halves = [own[drawn_tile(rng, (16, 8), own)] for own in colours[1:]]
    others = [np.concatenate([half, half[:, ::-1]], 1) for half in halves]
    picture = np.full((208, 960, 3), (92, 148, 252), np.uint8)
    for row in range(13):
        column = 0
        while column < 60:
            length = min(int(rng.integers(2, 9)), 60 - column)
            kind = rng.choice(3, p=(0.5, 0.4, 0.1))
            if kind:
                tile = brick if kind == 1 else others[rng.integers(6)]
                picture[16 * row : 16 * row + 16, 16 * column : 16 * (column + length)] = np.tile(tile, (1, length, 1))
            column += length
    for _ in range(60):  # figures stand before some cells
        own = rng.integers(0, 256, (5, 3)).astype(np.uint8)
        top, left = 16 * rng.integers(13), 16 * rng.integers(60)
        picture[top : top + 16, left : left + 16] = own[drawn_tile(rng, (16, 16), own)]
    grid = find_tiles(picture[None])
    assert grid is not None
    assert grid.size == (16, 16)
    assert phase(grid) == (0, 0)
    assert (draw(grid)[0] == picture).all()


def test_photos_noise_plain_pictures_and_sprites_at_free_places_have_no_lattice():
    rng = generator(3)
    noise = rng.integers(0, 256, (240, 320, 3)).astype(np.uint8)
    smooth = Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)).resize(
        (320, 240), Image.Resampling.BICUBIC
    )
    photo = np.asarray(smooth).astype(int) + rng.integers(-3, 4, (240, 320, 3))
    shade = np.linspace(0, 200, 240).astype(np.uint8)[:, None, None]
    plain = np.full((240, 320, 3), 90, np.uint8)
    pictures = [noise, photo.clip(0, 255).astype(np.uint8), plain, np.broadcast_to(shade, (240, 320, 3)).copy()]
    pictures += [add_sprites(rng, plain, count) for count in (5, 30, 100)]
    pictures.append(add_sprites(rng, pictures[3], 40, (16, 16)))
    for picture in pictures:
        assert find_tiles(picture[None]) is None


@pytest.mark.parametrize("spacing", [1, 3])
@pytest.mark.parametrize("tiles", [12, 300])
def test_spacing_of_tile_sheets_is_found(spacing, tiles):
    drawn = draw_map(
        generator(spacing), (17, 20), (240, 320), tiles=tiles, orientations=1, palettes=1, flat=0, spacing=spacing
    )
    grid = find_tiles(drawn.picture[None])
    assert grid is not None
    assert (grid.size, grid.spacing) == ((17, 20), (spacing, spacing))
    assert (draw(grid)[0] == drawn.picture).all()


def test_screens_that_scroll_have_an_origin_each_and_share_their_tiles():
    rng = generator(5)
    level = draw_map(rng, (16, 16), (320, 960), tiles=20, palettes=1, runs=0.3)
    corners = [(int(rng.integers(0, 120)), int(rng.integers(0, 640))) for _ in range(6)]
    screens = np.stack([level.picture[top : top + 200, left : left + 320] for top, left in corners])
    grid = find_tiles(screens)
    assert grid is not None
    assert grid.size == (16, 16)
    for number, (top, left) in enumerate(corners):
        assert phase(grid, number) == ((level.origin[0] - top) % 16, (level.origin[1] - left) % 16)
    assert (draw(grid) == screens).all()
    assert grid.seen.all((1, 2)).sum() == 21


def test_cells_that_the_border_cuts_show_the_tile_they_are_part_of():
    drawn = draw_map(generator(7), (24, 24), (300, 300), palettes=1, origin=(-20, -5))
    grid = find_tiles(drawn.picture[None])
    assert grid is not None
    assert (grid.cells >= 0).all()
    assert grid.seen.all((1, 2)).sum() >= len(grid.tiles) - 4
    assert (draw(grid)[0] == drawn.picture).all()


def test_flat_tiles_of_other_colours_are_other_tiles():
    rng = generator(8)
    drawn = draw_map(rng, (16, 16), (320, 320), palettes=1, flat=0, origin=(0, 0))
    picture = drawn.picture.copy()
    colours = rng.integers(0, 256, (3, 3)).astype(np.uint8)
    for number in range(120):
        row, column = divmod(int(rng.integers(400)), 20)
        picture[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = colours[number % 3]
    grid = find_tiles(picture[None])
    assert grid is not None
    flat = (grid.tiles == grid.tiles[:, :1, :1]).all((1, 2, 3))
    assert {tuple(tile[0, 0]) for tile in grid.tiles[flat]} == {tuple(colour) for colour in colours}
    assert (draw(grid)[0] == picture).all()


def animated(frames=8):
    """A map whose two kinds of water change every two frames, with a sprite that walks over it."""
    rng = generator(9)
    drawn = draw_map(rng, (16, 16), (240, 320), palettes=1, origin=(0, 0), orientations=1)
    water = rng.integers(0, 256, (2, 4, 16, 16, 3)).astype(np.uint8)
    places = [(13, column) for column in range(20)] + [(14, column) for column in range(0, 20, 2)]
    pictures = []
    for frame in range(frames):
        picture = drawn.picture.copy()
        for row, column in places:
            picture[16 * row :, 16 * column :][:16, :16] = water[row - 13, frame // 2 % (4 if row == 13 else 2)]
        picture[60:72, 20 + 5 * frame : 30 + 5 * frame] = 7
        pictures.append(picture)
    return np.stack(pictures)


def test_cells_that_cycle_together_share_one_animation():
    pictures = animated()
    grid = find_tiles(pictures)
    assert grid is not None
    assert (draw(grid) == pictures).all()
    found = tile_animations(grid)
    assert [(animation.durations, len(animation.cells)) for animation in found] == [((2, 2, 2, 2), 20), ((2, 2), 10)]
    assert set(found[0].cells[:, 0].tolist()) == {13}
    for animation in found:
        for frame, (tile, _, palette) in enumerate(animation.tiles):
            row, column = animation.cells[0]
            shown = pictures[2 * frame, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            turn = int(grid.orientation[0, row, column])
            assert (
                oriented(grid.coloured(tile, palette), int(COMPOSE[animation.tiles[frame][1], turn])) == shown
            ).all()


def test_one_picture_has_no_animations():
    grid = find_tiles(animated()[:1])
    assert grid is not None
    assert tile_animations(grid) == ()


@pytest.mark.skipif("DELAMINATE_DATA" not in os.environ, reason="DELAMINATE_DATA is not set")
def test_platforms_of_drawn_tiles_are_found():
    folder = Path(os.environ["DELAMINATE_DATA"]) / "kenney_pixel_platformer"
    if not folder.is_dir():
        pytest.skip("no kenney_pixel_platformer in DELAMINATE_DATA")
    files = sorted(folder.rglob("tile_*.png"))
    rng = generator(11)
    tiles = [
        np.asarray(Image.open(files[index]).convert("RGBA")) for index in rng.choice(len(files), 40, replace=False)
    ]
    tiles = [tile for tile in tiles if tile.shape[:2] == (18, 18)]
    picture = np.empty((18 * 20, 18 * 40, 3), np.uint8)
    picture[:] = (120, 180, 220)
    for row in range(20):
        for column in range(40):
            if row > 14 or rng.random() < 0.15:
                tile = oriented(tiles[int(rng.integers(len(tiles)))], 4 * int(rng.integers(2)))
                window = picture[18 * row : 18 * row + 18, 18 * column : 18 * column + 18]
                window[tile[..., 3] > 127] = tile[tile[..., 3] > 127, :3]
    picture = np.ascontiguousarray(picture[7:, 4:])
    grid = find_tiles(picture[None])
    assert grid is not None
    assert grid.size == (18, 18)
    assert phase(grid) == (11, 14)
    assert (draw(grid)[0] == picture).all()
