"""Random people: bodies, faces and clothes that go together."""

import colorsys

import numpy as np

from .clothes import Look
from .fabric import Fabric
from .face import FaceLook
from .skeleton import Physique
from .transforms import Array

_SKIN = np.array(
    [
        (0.93, 0.77, 0.68),
        (0.90, 0.72, 0.61),
        (0.84, 0.65, 0.53),
        (0.76, 0.57, 0.44),
        (0.64, 0.46, 0.34),
        (0.50, 0.34, 0.25),
        (0.37, 0.25, 0.19),
    ]
)
_HAIR = np.array(
    [
        (0.07, 0.06, 0.06),
        (0.12, 0.09, 0.07),
        (0.22, 0.15, 0.10),
        (0.34, 0.23, 0.14),
        (0.50, 0.36, 0.20),
        (0.68, 0.54, 0.32),
        (0.48, 0.22, 0.12),
        (0.55, 0.54, 0.53),
        (0.80, 0.79, 0.77),
    ]
)
_EYES = np.array([(0.16, 0.10, 0.06), (0.26, 0.17, 0.09), (0.28, 0.36, 0.42), (0.25, 0.32, 0.20)])
# Everyday clothes: muted darks, jeans, greys, a few strong colours.
_CLOTH = np.array(
    [
        (0.10, 0.10, 0.12),
        (0.17, 0.18, 0.22),
        (0.14, 0.19, 0.32),
        (0.30, 0.32, 0.36),
        (0.52, 0.53, 0.55),
        (0.80, 0.79, 0.77),
        (0.90, 0.89, 0.86),
        (0.68, 0.15, 0.16),
        (0.45, 0.10, 0.18),
        (0.80, 0.42, 0.16),
        (0.86, 0.70, 0.24),
        (0.20, 0.38, 0.26),
        (0.36, 0.40, 0.26),
        (0.20, 0.48, 0.56),
        (0.28, 0.45, 0.72),
        (0.55, 0.66, 0.80),
        (0.74, 0.56, 0.62),
        (0.50, 0.36, 0.55),
        (0.66, 0.54, 0.40),
        (0.40, 0.29, 0.20),
    ]
)
_LEGS = np.array(
    [
        (0.20, 0.28, 0.44),
        (0.15, 0.20, 0.32),
        (0.34, 0.44, 0.58),
        (0.11, 0.11, 0.13),
        (0.24, 0.25, 0.27),
        (0.42, 0.42, 0.43),
        (0.60, 0.53, 0.42),
        (0.34, 0.33, 0.24),
        (0.36, 0.25, 0.20),
        (0.80, 0.78, 0.72),
    ]
)


def _pick(rng: np.random.Generator, palette: Array, jitter: float = 0.04) -> Array:
    base = palette[rng.integers(len(palette))]
    h, s, v = colorsys.rgb_to_hsv(*base)
    h, s, v = h + rng.normal(0, jitter * 0.4), s * rng.uniform(0.85, 1.15), v * rng.uniform(0.88, 1.1)
    return np.array(colorsys.hsv_to_rgb(h % 1.0, min(s, 1.0), min(v, 0.95)))


def _contrast(rng: np.random.Generator, colour: Array, palette: Array) -> Array:
    """A second colour that stands out from the first."""
    options = [_pick(rng, palette) for _ in range(6)]
    return max(options, key=lambda c: float(np.abs(c - colour).sum()))


def random_physique(rng: np.random.Generator, *, children: float = 0.08) -> Physique:
    """A body: adults of both sexes, now and then a child (`children` is the share)."""
    femininity = float(np.clip(rng.normal(0.9, 0.15), 0, 1.1)) if rng.random() < 0.5 else float(rng.uniform(0, 0.15))
    if rng.random() < children:
        return Physique(rng.uniform(1.15, 1.5), rng.uniform(0.88, 1.05), 0.3 * femininity, 0.0, rng.uniform(0.96, 1.0))
    height = float(np.clip(rng.normal(1.77 - 0.12 * femininity, 0.065), 1.5, 1.98))
    girth = float(np.clip(rng.normal(1.0, 0.09), 0.86, 1.25))
    belly = max(0.0, float(rng.normal(0.0, 0.025)) + 0.22 * max(0.0, girth - 1.04))
    return Physique(height, girth, femininity, belly, float(rng.uniform(0.97, 1.03)))


def random_look(rng: np.random.Generator, physique: Physique) -> Look:
    """Clothes and a face for a body."""
    female, child = physique.femininity > 0.45, physique.height < 1.5
    face = _random_face(rng, female=female, child=child)
    season = rng.choice(["summer", "mild", "cool"], p=[0.35, 0.4, 0.25])
    top, sleeve, hem, loose, hood = _random_top(rng, str(season), female=female)
    leg_colour = _pick(rng, _LEGS)
    pattern = "denim" if leg_colour[2] > leg_colour[0] * 1.25 else "plain"
    bottom = Fabric(leg_colour, np.clip(leg_colour * 1.45 + 0.05, 0, 0.9), pattern, rng.uniform(0.10, 0.2), 0.7)
    leg_cover, skirt = 1.0, None
    hose: Array | None = np.full(3, rng.choice([0.08, 0.3, 0.85]))
    width = float(rng.choice([0.001, 0.006, 0.012, 0.022], p=[0.25, 0.3, 0.3, 0.15]))
    if female and rng.random() < 0.30:
        skirt, leg_cover = float(rng.uniform(0.22, 0.38)), 0.0
        cloth = _pick(rng, _CLOTH)
        kind = str(rng.choice(["plain", "floral", "checks", "dots", "plain"]))
        bottom = Fabric(cloth, _contrast(rng, cloth, _CLOTH), kind, 0.16, 0.3)
        hose = None if season == "summer" or rng.random() < 0.4 else _pick(rng, _LEGS)
        # What ends over a skirt is tucked in; a coat goes over it.
        hem = 0.56 if hem > 0.40 else hem
        if rng.random() < 0.4:
            top = bottom
    elif season == "summer" and rng.random() < 0.45:
        leg_cover, width, hose = float(rng.uniform(0.36, 0.6)), float(rng.uniform(0.012, 0.03)), None
    shoe = _pick(
        rng,
        np.array(
            [(0.9, 0.9, 0.9), (0.1, 0.1, 0.1), (0.3, 0.2, 0.14), (0.2, 0.25, 0.4), (0.7, 0.2, 0.2), (0.45, 0.45, 0.47)]
        ),
    )
    sole = np.full(3, rng.choice([0.92, 0.9, 0.08, 0.35]))
    collar = float(rng.uniform(0.02, 0.055)) if (season == "cool" and rng.random() < 0.5) else 0.0
    if top.pattern in ("suit", "buttons") and collar == 0.0:
        collar = 0.022
    scarf = top.accent if top.pattern == "suit" else (top.colour * 0.92 if collar < 0.03 else _pick(rng, _CLOTH))
    bag = str(rng.choice(["none", "backpack", "shoulder"], p=[0.62, 0.2, 0.18]))
    return Look(
        face,
        top,
        sleeve,
        hem,
        loose,
        bottom,
        leg_cover,
        width,
        skirt,
        hose,
        shoe,
        sole,
        hood,
        collar,
        scarf,
        bag,
        _pick(rng, _CLOTH),
    )


def _random_face(rng: np.random.Generator, *, female: bool, child: bool) -> FaceLook:
    tone = int(rng.integers(len(_SKIN)))
    skin = np.clip(_SKIN[tone] * rng.uniform(0.95, 1.05), 0, 0.96)
    grey_allowed = 7 if child else 9
    hair = _HAIR[rng.integers(3 if tone >= 4 else grey_allowed)] * rng.uniform(0.9, 1.1)
    if female:
        styles, chances = (
            ["long", "bob", "ponytail", "bun", "short", "curly", "beanie", "cap"],
            [0.26, 0.18, 0.18, 0.12, 0.08, 0.08, 0.05, 0.05],
        )
    else:
        styles, chances = (
            ["short", "crop", "parted", "bald", "curly", "cap", "beanie", "bun"],
            [0.32, 0.22, 0.15, 0.09, 0.07, 0.08, 0.06, 0.01],
        )
    if child:
        styles, chances = (
            (["ponytail", "long", "bob"], [0.4, 0.3, 0.3]) if female else (["short", "crop", "cap"], [0.5, 0.25, 0.25])
        )
    beard = 0.0 if female or child else float(rng.choice([0.0, 0.35, 0.9], p=[0.55, 0.25, 0.20]))
    glasses = "none" if child else str(rng.choice(["none", "glasses", "sunglasses"], p=[0.72, 0.18, 0.10]))
    eyes = _EYES[rng.integers(2 if tone >= 3 else 4)]
    style = str(rng.choice(styles, p=chances))
    return FaceLook(
        skin, hair, eyes, style, beard, glasses, 1.0 if female else (0.5 if child else 0.0), _pick(rng, _CLOTH)
    )


def _random_top(rng: np.random.Generator, season: str, *, female: bool) -> tuple[Fabric, float, float, float, bool]:
    """(cloth, sleeve, hem, looseness, hood)."""
    colour = _pick(rng, _CLOTH)
    accent = _contrast(rng, colour, _CLOTH)
    if season == "summer":
        pattern = str(
            rng.choice(
                ["plain", "stripes", "print", "block", "checks", "dots", "floral"],
                p=[0.34, 0.18, 0.2, 0.08, 0.08, 0.06, 0.06],
            )
        )
        sleeve = 0.0 if female and rng.random() < 0.3 else float(rng.uniform(0.36, 0.55))
        return (
            Fabric(colour, accent, pattern, rng.uniform(0.10, 0.2), 0.25),
            sleeve,
            float(rng.uniform(0.48, 0.53)),
            float(rng.uniform(0.004, 0.02)),
            False,
        )
    if season == "mild":
        pattern = str(
            rng.choice(
                ["buttons", "checks", "plain", "stripes", "zip", "pinstripes", "open"],
                p=[0.18, 0.16, 0.22, 0.12, 0.14, 0.06, 0.12],
            )
        )
        hood = pattern in ("zip", "plain") and rng.random() < 0.5
        sleeve = float(rng.choice([1.0, 1.0, 0.72]))
        return (
            Fabric(colour, accent, pattern, rng.uniform(0.12, 0.2), 0.45),
            sleeve,
            float(rng.uniform(0.48, 0.52)),
            float(rng.uniform(0.008, 0.026)),
            hood,
        )
    dark = _pick(rng, np.concatenate([_CLOTH[:4], _CLOTH[[8, 11, 18, 19]]]))
    pattern = str(rng.choice(["open", "suit", "zip", "plain", "block"], p=[0.3, 0.2, 0.25, 0.15, 0.1]))
    hem = float(rng.choice([0.49, 0.46, 0.36, 0.30], p=[0.4, 0.25, 0.2, 0.15])) if pattern != "suit" else 0.465
    inner = np.array([0.9, 0.9, 0.9]) if pattern == "suit" else accent
    return (
        Fabric(dark, inner, pattern, rng.uniform(0.08, 0.16), 0.8),
        1.0,
        hem,
        float(rng.uniform(0.012, 0.03)),
        bool(pattern == "zip" and rng.random() < 0.5),
    )
