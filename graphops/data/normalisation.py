"""Named normalisations: what turns stored pixels into the floats a network was trained on.

    x = (pixels / scale - mean) / std        per channel, in float32, in this order

The same function serves training and evaluation, so both see the same bits. A name is either one of
:func:`names` or spells the numbers out: ``"255:0.5,0.5,0.5:0.25,0.25,0.25"`` is scale, means, stds.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

import numpy as np

from passes.errors import UserError


@dataclass(frozen=True)
class Normalisation:
    """A normalisation with its name; call it on images.

    Attributes:
        name: what a model file remembers (metadata ``graphops.normalisation``) and :func:`by_name` reads.
        scale: what pixels are divided by first.
        mean: one number a channel, or a single one for all channels.
        std: as ``mean``.
    """

    name: str
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Normalise ``images`` [N, C, H, W] of any number type into float32 of the same shape.

        Raises:
            UserError: when the number of channels is not that of the means.
        """
        channels = images.shape[1]
        if len(self.mean) not in (1, channels):
            raise UserError(
                f"The normalisation {self.name!r} is for {len(self.mean)} channels and the images have "
                f"{channels}; choose another, e.g. 'unit'."
            )
        x = images.astype(np.float32)
        x /= np.float32(self.scale)
        x -= np.array(self.mean, np.float32)[:, None, None]
        x /= np.array(self.std, np.float32)[:, None, None]
        return x


_KNOWN = {
    known.name: known
    for known in (
        # ImageNet's statistics, as torchvision's models use them; the published CIFAR ResNets do too.
        Normalisation("imagenet", 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        # Mean and standard deviation over all pixels of the 50,000 training images.
        Normalisation("cifar10", 255, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        Normalisation("cifar100", 255, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        # The same over the 73,257 training images of SVHN.
        Normalisation("svhn", 255, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        Normalisation("symmetric", 255, (0.5,), (0.5,)),
        Normalisation("unit", 255),
        Normalisation("digits", 16),
        Normalisation("none"),
    )
}


def names() -> list[str]:
    """The names that :func:`by_name` knows."""
    return list(_KNOWN)


def by_name(name: str) -> Normalisation:
    """The normalisation called ``name``, or spelled by it as ``scale:means:stds``.

    Raises:
        UserError: when ``name`` is neither.
    """
    if name in _KNOWN:
        return _KNOWN[name]
    if ":" in name:
        return _spelled(name)
    near = difflib.get_close_matches(name, _KNOWN, n=1)
    hint = f"did you mean {near[0]!r}" if near else f"there are {', '.join(_KNOWN)}"
    raise UserError(f"There is no normalisation called {name!r}; {hint}, or spell it 'scale:means:stds'.")


def check(name: str | None) -> None:
    """Say that there is no normalisation ``name``; None stands for whatever fits.

    Raises:
        UserError: as :func:`by_name`.
    """
    if name is not None:
        by_name(name)


def _spelled(text: str) -> Normalisation:
    try:
        scale, means, stds = text.split(":")
        parsed = Normalisation(
            text,
            float(scale),
            tuple(float(number) for number in means.split(",")),
            tuple(float(number) for number in stds.split(",")),
        )
    except ValueError as error:
        raise UserError(f"Cannot read the normalisation {text!r}; write e.g. '255:0.5,0.5,0.5:0.2,0.2,0.2'.") from error
    numbers = (parsed.scale, *parsed.mean, *parsed.std)
    if not all(math.isfinite(number) for number in numbers) or 0 in (parsed.scale, *parsed.std):
        raise UserError(f"The normalisation {text!r} would divide by zero or by no number; give finite, non-zero ones.")
    if len(parsed.mean) != len(parsed.std):
        raise UserError(f"The normalisation {text!r} has {len(parsed.mean)} means but {len(parsed.std)} stds.")
    return parsed
