"""Pictures of the demo dataset, and their labels.

Insects, fruit and leaves overlap one another on cloth, wood, pebbles and other backgrounds. Classes
share their colours (ladybird with strawberry and bee, leaf with melon) and differ in shape and
texture. Backgrounds have any hue, and stripes, checks and dots too, so that colour alone does not
solve the task. Position, size, rotation, colours and light vary from picture to picture.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import cv2
import numpy as np

from ..voc import IGNORE_LABEL

__all__ = ["CLASSES", "draw_scene"]

CLASSES = ("background", "ladybird", "strawberry", "leaf", "melon", "bee", "butterfly")
"""Class names of the dataset; the position is the class id."""

# Width and height in pixels. Most are not multiples of 32, as VOC's are not; padded to multiples
# they have one of two sizes, which evaluation sorts into batches.
_SIZES = ((160, 128), (150, 120), (156, 112), (128, 160), (116, 148))
_OVERSAMPLING = 2  # drawn at this multiple of the size and averaged down, for smooth edges

_Rng: TypeAlias = np.random.RandomState
_Ground: TypeAlias = Callable[[_Rng, np.ndarray, np.ndarray], np.ndarray]
_Object: TypeAlias = Callable[[_Rng, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """Colour of a hue in degrees, saturation and value in 0…1: float32 array (3,), 0…1."""
    hsv = np.array([[[hue % 360, saturation, value]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]


def _noise(rng: _Rng, size: tuple[int, ...], cell: float, stretch: float = 1.0) -> np.ndarray:
    """Smooth noise with features of `cell` pixels: float32 array of size (H, W), about 0…1."""
    height, width = size
    rows = max(int(height / cell), 1) + 2
    columns = max(int(width / (cell * stretch)), 1) + 2
    coarse = rng.uniform(0, 1, (rows, columns)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _rotate(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


# Backgrounds: (rng, x, y) -> (H, W), 0…1, the share of the second of two colours. x and y are in
# pixels, rotated by a random angle.


def _gradient(rng: _Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x - x.min()) / np.ptp(x)


def _mottle(rng: _Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    layers = [_noise(rng, x.shape, cell) for cell in (48, 20, 8)]
    return np.clip(0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2], 0, 1)


def _stripes(rng: _Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    period = rng.uniform(24, 70)
    return 0.5 + 0.5 * np.tanh(3 * np.sin(2 * np.pi * x / period))


def _checks(rng: _Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    period = rng.uniform(36, 80)
    # Woven gingham has three shades: none, one or both threads coloured.
    return 0.5 * (np.sin(2 * np.pi * x / period) > 0) + 0.5 * (np.sin(2 * np.pi * y / period) > 0)


def _wood(rng: _Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    bend = _noise(rng, x.shape, 40, stretch=2.0)
    grain = np.sin(2 * np.pi * (y / rng.uniform(14, 26) + 2.5 * bend))
    return 0.5 + 0.4 * grain + 0.1 * _noise(rng, x.shape, 6)


def _pebbles(rng: _Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    height, width = x.shape
    cell = rng.uniform(20, 40)
    count = int(height * width / cell**2)
    seeds = np.ones((height, width), np.uint8)
    rows, columns = rng.randint(0, height, count), rng.randint(0, width, count)
    seeds[rows, columns] = 0
    distance, index = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    shade = rng.uniform(0.0, 0.8, index.max() + 1).astype(np.float32)[index]
    joint = cv2.morphologyEx(index.astype(np.uint16), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    joint = cv2.GaussianBlur(joint.astype(np.float32), (0, 0), 1.5)
    return np.clip(shade + 0.2 * distance / cell + joint, 0, 1)


def _dots(rng: _Rng, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    period = rng.uniform(30, 60)
    apart = np.hypot((x / period) % 1 - 0.5, (y / period) % 1 - 0.5)
    return np.clip(6 * (rng.uniform(0.2, 0.32) - apart) + 0.5, 0, 1)


_GROUNDS: tuple[_Ground, ...] = (_gradient, _mottle, _stripes, _checks, _wood, _pebbles, _dots)


def _draw_ground(rng: _Rng, height: int, width: int) -> np.ndarray:
    """Background of two colours of any hue: float32 array (H, W, 3), RGB, 0…1."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = _rotate(columns, rows, rng.uniform(0, math.pi))
    blend = _GROUNDS[rng.randint(len(_GROUNDS))](rng, x, y)[:, :, None]

    hue = rng.uniform(0, 360)
    value = rng.uniform(0.4, 0.9)
    first = _rgb(hue, rng.uniform(0.1, 0.95), value)
    second = _rgb(hue + rng.uniform(-60, 60), rng.uniform(0.1, 0.95), value * rng.uniform(0.4, 0.9))
    return ((1 - blend) * first + blend * second).astype(np.float32)


# Objects: (rng, u, v) -> colours (H, W, 3) and mask (H, W). u and v are coordinates of the object,
# which fills about -1…1.


def _fill(mask: np.ndarray, colour: np.ndarray | Sequence[float]) -> np.ndarray:
    return np.broadcast_to(np.asarray(colour, np.float32), (*mask.shape, 3)).copy()


def _ellipse(
    u: np.ndarray,
    v: np.ndarray,
    centre_u: float,
    centre_v: float,
    radius_u: float,
    radius_v: float,
) -> np.ndarray:
    return ((u - centre_u) / radius_u) ** 2 + ((v - centre_v) / radius_v) ** 2 < 1


def _colour(rng: _Rng, first_hue: float, last_hue: float) -> np.ndarray:
    return _rgb(rng.uniform(first_hue, last_hue), rng.uniform(0.65, 0.95), rng.uniform(0.65, 0.95))


def _draw_ladybird(rng: _Rng, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wings = _ellipse(u, v, -0.08, 0, 0.9, 0.84)
    head = _ellipse(u, v, 0.72, 0, 0.28, 0.42)
    colours = _fill(wings, _colour(rng, -15, 42))
    dark = head | (u > 0.58) | (np.abs(v) < 0.05)
    size = rng.uniform(0.15, 0.19)
    for spot_u, spot_v in ((0.32, 0.36), (-0.08, 0.56), (-0.1, 0.23), (-0.52, 0.32)):
        for side in (-1, 1):
            dark |= _ellipse(u, v, spot_u, side * spot_v, size, size)
    colours[dark] = (0.07, 0.06, 0.07)
    for side in (-1, 1):
        colours[_ellipse(u, v, 0.72, side * 0.24, 0.09, 0.1)] = (0.95, 0.93, 0.9)
    return colours, wings | head


def _draw_strawberry(rng: _Rng, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    depth = np.clip((v + 0.72) / 1.7, 0, 1)
    width = np.sin(np.pi * depth**0.6)
    fruit = (np.abs(u) < 0.9 * np.clip(width, 0, 1) ** 0.7) & (depth > 0) & (depth < 1)
    colours = _fill(fruit, _colour(rng, -15, 25))
    period = rng.uniform(0.27, 0.33)
    row = np.floor(v / period)
    seed_u = (u / period + 0.5 * (row % 2)) % 1 - 0.5
    seed_v = (v / period) % 1 - 0.5
    colours[_ellipse(seed_u, seed_v, 0, 0, 0.2, 0.3)] = (0.98, 0.88, 0.5)
    angle = np.arctan2(v + 0.68, u)
    calyx = np.hypot(u, 1.3 * (v + 0.68)) < 0.38 + 0.16 * np.cos(7 * angle)
    colours[calyx] = _colour(rng, 75, 140)
    return colours, fruit | calyx


def _draw_leaf(rng: _Rng, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    blade = np.abs(v) < 0.56 * np.clip(1 - u**2, 0, 1) ** 0.85
    stalk = (np.abs(v) < 0.05) & (u > -1.25) & (u < 0)
    colours = _fill(blade, _colour(rng, 40, 150))
    period = rng.uniform(0.26, 0.32)
    veins = ((u - 0.9 * np.abs(v)) / period) % 1 < 0.26
    colours[veins | (np.abs(v) < 0.05)] = (0.86, 0.93, 0.6)
    return colours, blade | stalk


def _draw_melon(rng: _Rng, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rind = u**2 + v**2 < 1
    colours = _fill(rind, _colour(rng, 60, 150))
    meridian = np.arcsin(np.clip(v / np.sqrt(np.clip(1 - u**2, 1e-4, 1)), -1, 1))
    wave = 0.25 * np.sin(9 * u + rng.uniform(0, 6)) + 0.12 * np.sin(23 * u)
    dark = np.sin(rng.uniform(5.5, 7) * meridian + 2 * wave + rng.uniform(0, 6)) > 0.05
    colours[dark] = (0.05, 0.24, 0.1)
    return colours, rind


def _draw_bee(rng: _Rng, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    body = _ellipse(u, v, 0, 0.12, 0.95, 0.56)
    wings = np.zeros_like(body)
    for lean in (-0.5, 0.35):
        along, across = _rotate(u, v + 0.55, lean)
        wings |= _ellipse(along, across, -0.25 * np.sign(lean), 0, 0.5, 0.24)
    colours = _fill(body, (0.86, 0.92, 0.97))
    stripes = (u / rng.uniform(0.36, 0.44) + 0.25) % 1 < 0.5
    colours[body] = _colour(rng, 32, 58)
    colours[body & (stripes | (u > 0.68))] = (0.09, 0.07, 0.06)
    colours[_ellipse(u, v, 0.8, 0.02, 0.06, 0.08)] = (0.95, 0.95, 0.95)
    return colours, body | wings


def _draw_butterfly(rng: _Rng, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    side = np.abs(u)
    upper = np.hypot((side - 0.5) / 0.5, (v + 0.34 + 0.3 * (side - 0.5)) / 0.5)
    lower = np.hypot((side - 0.38) / 0.42, (v - 0.42) / 0.48)
    depth = np.minimum(upper, lower)
    wings = depth < 1
    colours = _fill(wings, _colour(rng, 170, 340))
    colours[depth > 0.72] = (0.08, 0.07, 0.16)
    colours[depth < 0.34] = (0.98, 0.8, 0.45)
    body = _ellipse(u, v, 0, 0, 0.12, 0.72)
    colours[body] = (0.1, 0.08, 0.1)
    return colours, wings | body


# In the order of CLASSES, each with the radius at which its area is about that of the others.
_OBJECTS: tuple[tuple[_Object, float], ...] = (
    (_draw_ladybird, 0.95),
    (_draw_strawberry, 0.98),
    (_draw_leaf, 1.25),
    (_draw_melon, 0.87),
    (_draw_bee, 1.08),
    (_draw_butterfly, 1.02),
)


def _place(
    rng: _Rng, centres: Sequence[tuple[float, float]], height: int, width: int
) -> tuple[float, float]:
    """Centre (x, y) at which an object leaves those at the other centres partly visible."""
    tries = np.stack([rng.uniform(0.1, 0.9, 6) * width, rng.uniform(0.1, 0.9, 6) * height], axis=1)
    x, y = tries[0]
    if centres:
        gaps = np.linalg.norm(tries[:, None] - np.asarray(centres)[None], axis=2).min(axis=1)
        x, y = tries[gaps.argmax()]
    return x, y


def _add_object(
    rng: _Rng,
    picture: np.ndarray,
    instances: np.ndarray,
    number: int,
    class_id: int,
    centre: tuple[float, float],
    radius: float,
    light: tuple[float, float],
) -> None:
    """Draws an object and its shadow over the picture and the map of instances, in place."""
    draw, size = _OBJECTS[class_id - 1]
    radius = radius * size
    angle = rng.uniform(0, 2 * np.pi)
    height, width = instances.shape
    reach = int(1.4 * radius)
    left, top = max(int(centre[0]) - reach, 0), max(int(centre[1]) - reach, 0)
    right, bottom = min(int(centre[0]) + reach, width), min(int(centre[1]) + reach, height)
    rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
    x, y = (columns - centre[0]) / radius, (rows - centre[1]) / radius
    stretch = rng.uniform(0.88, 1.14)
    u, v = _rotate(x, y, angle)
    colours, mask = draw(rng, u * stretch, v / stretch)

    shadow = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.1 * radius)
    shift = np.array(
        [[1, 0, -0.12 * radius * light[0]], [0, 1, -0.12 * radius * light[1]]], np.float32
    )
    shadow = cv2.warpAffine(shadow, shift, shadow.shape[::-1])
    region = picture[top:bottom, left:right]
    region *= 1 - 0.45 * shadow[:, :, None]
    shading = 1 + 0.22 * (x * light[0] + y * light[1])
    region[mask] = (colours * shading[:, :, None])[mask]
    instances[top:bottom, left:right][mask] = number


def _light(rng: _Rng, picture: np.ndarray) -> np.ndarray:
    """Varies brightness, tint and direction of the light, and adds a camera's noise."""
    height, width = picture.shape[:2]
    slope = rng.uniform(-0.15, 0.15, 2)
    rows = slope[0] * np.linspace(-1, 1, height)[:, None, None]
    columns = slope[1] * np.linspace(-1, 1, width)[None, :, None]
    tint = rng.uniform(0.9, 1.1, 3)
    noise = rng.normal(0, rng.uniform(0, 0.02), (height, width, 1))
    return picture * (rng.uniform(0.75, 1.1) * tint * (1 + rows + columns)) + noise


def draw_scene(
    rng: np.random.RandomState, class_ids: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a picture.

    Args:
        rng: source of all random draws.
        class_ids: class of each object, from the one at the back to the one in front.

    Returns:
        The picture, RGB, uint8 (H, W, 3), and its label, uint8 (H, W).
    """
    width, height = _SIZES[rng.randint(len(_SIZES))]
    big_height, big_width = height * _OVERSAMPLING, width * _OVERSAMPLING
    picture = _draw_ground(rng, big_height, big_width)
    instances = np.zeros((big_height, big_width), np.uint8)
    light_angle = rng.uniform(0, 2 * np.pi)
    light = (math.cos(light_angle), math.sin(light_angle))
    centres: list[tuple[float, float]] = []
    for number, class_id in enumerate(class_ids, start=1):
        centres.append(_place(rng, centres, big_height, big_width))
        radius = rng.uniform(0.2, 0.32) * min(big_height, big_width)
        _add_object(rng, picture, instances, number, class_id, centres[-1], radius, light)

    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    instances = np.ascontiguousarray(instances[::_OVERSAMPLING, ::_OVERSAMPLING])
    label = np.array((0, *class_ids), np.uint8)[instances]
    square = np.ones((3, 3), np.uint8)
    label[cv2.dilate(instances, square) != cv2.erode(instances, square)] = IGNORE_LABEL
    return np.clip(255 * _light(rng, picture), 0, 255).astype(np.uint8), label
