"""Random people: bodies, faces and clothes that go together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .clothes import Look
from .fabric import Fabric
from .face import FaceLook
from .palettes import CLOTH, COATS, EYES, HAIR, SHOES, SKIN, TROUSERS, pick, pick_contrast
from .skeleton import Physique
from .transforms import Array

Season = Literal["summer", "mild", "cool"]
SEASONS: Mapping[Season, float] = {"summer": 0.35, "mild": 0.40, "cool": 0.25}

_SHARE_OF_CHILDREN = 0.08
_TALLEST_CHILD = 1.5
_WOMEN = {
    "long": 0.26,
    "bob": 0.18,
    "ponytail": 0.18,
    "bun": 0.12,
    "short": 0.08,
    "curly": 0.08,
    "beanie": 0.05,
    "cap": 0.05,
}
_MEN = {
    "short": 0.32,
    "crop": 0.22,
    "parted": 0.15,
    "bald": 0.09,
    "curly": 0.07,
    "cap": 0.08,
    "beanie": 0.06,
    "bun": 0.01,
}
_GIRLS, _BOYS = {"ponytail": 0.4, "long": 0.3, "bob": 0.3}, {"short": 0.5, "crop": 0.25, "cap": 0.25}
_PATTERNS: Mapping[Season, Mapping[str, float]] = {
    "summer": {
        "plain": 0.34,
        "stripes": 0.18,
        "print": 0.20,
        "block": 0.08,
        "checks": 0.08,
        "dots": 0.06,
        "floral": 0.06,
    },
    "mild": {
        "plain": 0.22,
        "buttons": 0.18,
        "checks": 0.16,
        "zip": 0.14,
        "stripes": 0.12,
        "open": 0.12,
        "pinstripes": 0.06,
    },
    "cool": {"open": 0.3, "zip": 0.25, "suit": 0.2, "plain": 0.15, "block": 0.1},
}


def weighted(rng: np.random.Generator, chances: Mapping[str, float]) -> str:
    """One key, by its share."""
    return str(rng.choice(list(chances), p=list(chances.values())))


def random_physique(rng: np.random.Generator) -> Physique:
    """A body: adults of both sexes, now and then a child."""
    femininity = float(np.clip(rng.normal(0.9, 0.15), 0, 1.1)) if rng.random() < 0.5 else rng.uniform(0, 0.15)
    if rng.random() < _SHARE_OF_CHILDREN:
        height, girth = rng.uniform(1.15, _TALLEST_CHILD), rng.uniform(0.88, 1.05)
        return Physique(height, girth, 0.3 * femininity, leg_ratio=rng.uniform(0.96, 1.0))
    height = float(np.clip(rng.normal(1.77 - 0.12 * femininity, 0.065), _TALLEST_CHILD, 1.98))
    girth = float(np.clip(rng.normal(1.0, 0.09), 0.86, 1.25))
    belly = max(0.0, rng.normal(0.0, 0.025) + 0.22 * max(0.0, girth - 1.04))
    return Physique(height, girth, femininity, belly, rng.uniform(0.97, 1.03))


def random_look(rng: np.random.Generator, physique: Physique) -> Look:
    """Clothes and a face for a body."""
    female = physique.femininity > (0.15 if physique.height <= _TALLEST_CHILD else 0.45)
    season: Season = rng.choice(np.array(list(SEASONS)), p=list(SEASONS.values()))
    top = _random_top(rng, season, female=female)
    legs = _random_legs(rng, season, top, skirt=female and rng.random() < 0.30)
    collar = rng.uniform(0.02, 0.055) if season == "cool" and rng.random() < 0.5 else 0.0
    if top.cloth.pattern in ("suit", "buttons") and collar == 0.0:
        collar = 0.022
    scarf = top.cloth.colour * 0.92 if collar < 0.03 else pick(rng, CLOTH)
    return Look(
        face=_random_face(rng, female=female, child=physique.height <= _TALLEST_CHILD),
        top=legs.top,
        sleeve=top.sleeve,
        hem=legs.top_hem,
        looseness=top.looseness,
        bottom=legs.cloth,
        leg_cover=legs.cover,
        leg_width=legs.width,
        skirt=legs.skirt,
        hose=legs.hose,
        shoe=pick(rng, SHOES),
        sole=np.full(3, rng.choice([0.92, 0.9, 0.08, 0.35])),
        hood=top.hood,
        collar=collar,
        scarf=top.cloth.accent if top.cloth.pattern == "suit" else scarf,
        bag=weighted(rng, {"none": 0.62, "backpack": 0.20, "shoulder": 0.18}),
        bag_colour=pick(rng, CLOTH),
    )


def _random_face(rng: np.random.Generator, *, female: bool, child: bool) -> FaceLook:
    tone = int(rng.integers(len(SKIN)))
    # Dark skin goes with dark hair and eyes; children are not grey.
    hairs = 3 if tone >= 4 else (7 if child else len(HAIR))
    styles = (_GIRLS if child else _WOMEN) if female else (_BOYS if child else _MEN)
    bare = female or child
    return FaceLook(
        skin=np.clip(SKIN[tone] * rng.uniform(0.95, 1.05), 0, 0.96),
        hair=HAIR[rng.integers(hairs)] * rng.uniform(0.9, 1.1),
        eyes=EYES[rng.integers(2 if tone >= 3 else len(EYES))],
        style=weighted(rng, styles),
        beard=0.0 if bare else float(rng.choice([0.0, 0.35, 0.9], p=[0.55, 0.25, 0.20])),
        glasses="none" if child else weighted(rng, {"none": 0.72, "glasses": 0.18, "sunglasses": 0.10}),
        femininity=1.0 if female else (0.5 if child else 0.0),
        cap=pick(rng, CLOTH),
    )


@dataclass(frozen=True)
class _Top:
    """The part of a `Look` that concerns the upper body."""

    cloth: Fabric
    sleeve: float
    hem: float
    looseness: float
    hood: bool = False


def _random_top(rng: np.random.Generator, season: Season, *, female: bool) -> _Top:
    """A T-shirt in summer, a shirt or pullover in mild weather, a jacket or coat when it is cool."""
    pattern = weighted(rng, _PATTERNS[season])
    colour = pick(rng, COATS if season == "cool" else CLOTH)
    accent = np.array([0.9, 0.9, 0.9]) if pattern == "suit" else pick_contrast(rng, CLOTH, colour)
    if season == "summer":
        sleeve = 0.0 if female and rng.random() < 0.3 else rng.uniform(0.36, 0.55)
        cloth = Fabric(colour, accent, pattern, rng.uniform(0.10, 0.2), 0.25)
        return _Top(cloth, sleeve, rng.uniform(0.48, 0.53), rng.uniform(0.004, 0.02))
    if season == "mild":
        hood = pattern in ("zip", "plain") and rng.random() < 0.5
        cloth = Fabric(colour, accent, pattern, rng.uniform(0.12, 0.2), 0.45)
        sleeve = float(rng.choice([1.0, 0.72], p=[0.7, 0.3]))
        return _Top(cloth, sleeve, rng.uniform(0.48, 0.52), rng.uniform(0.008, 0.026), hood)
    hem = 0.465 if pattern == "suit" else float(rng.choice([0.49, 0.46, 0.36, 0.30], p=[0.4, 0.25, 0.2, 0.15]))
    hood = pattern == "zip" and rng.random() < 0.5
    cloth = Fabric(colour, accent, pattern, rng.uniform(0.08, 0.16), 0.8)
    return _Top(cloth, 1.0, hem, rng.uniform(0.012, 0.03), hood)


@dataclass(frozen=True)
class _Legs:
    """The part of a `Look` that concerns the legs, and what it changes of the top."""

    cloth: Fabric
    cover: float
    width: float
    skirt: float | None
    hose: Array | None
    top: Fabric
    top_hem: float


def _random_legs(rng: np.random.Generator, season: Season, top: _Top, *, skirt: bool) -> _Legs:
    """Trousers, shorts in summer, or a skirt; sometimes skirt and top are one dress."""
    if skirt:
        colour = pick(rng, CLOTH)
        pattern = weighted(rng, {"plain": 0.4, "floral": 0.2, "checks": 0.2, "dots": 0.2})
        cloth = Fabric(colour, pick_contrast(rng, CLOTH, colour), pattern, 0.16, 0.3)
        bare = season == "summer" or rng.random() < 0.4
        # What ends over a skirt is tucked in; a coat goes over it.
        hem = 0.56 if top.hem > 0.40 else top.hem
        worn = cloth if rng.random() < 0.4 else top.cloth
        return _Legs(cloth, 0.0, 0.0, rng.uniform(0.22, 0.38), None if bare else pick(rng, TROUSERS), worn, hem)
    colour = pick(rng, TROUSERS)
    jeans = colour[2] > 1.25 * colour[0]
    pale = np.clip(colour * 1.45 + 0.05, 0, 0.9)
    cloth = Fabric(colour, pale, "denim" if jeans else "plain", rng.uniform(0.10, 0.2), 0.7)
    if season == "summer" and rng.random() < 0.45:
        return _Legs(cloth, rng.uniform(0.36, 0.6), rng.uniform(0.012, 0.03), None, None, top.cloth, top.hem)
    width = float(rng.choice([0.001, 0.006, 0.012, 0.022], p=[0.25, 0.3, 0.3, 0.15]))
    socks = np.full(3, rng.choice([0.08, 0.3, 0.85]))
    return _Legs(cloth, 1.0, width, None, socks, top.cloth, top.hem)
