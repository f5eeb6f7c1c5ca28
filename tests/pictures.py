"""Pictures for tests, and how far they are apart."""

import numpy as np
from PIL import Image

from sklearn_l2cnn.preprocessing import ImageResizer


def picture(side=(20, 30), seed=0, depth=3):
    """A smooth picture as an array of uint8."""
    rng = np.random.RandomState(seed)
    small = rng.randint(0, 256, size=(4, 5, depth)).astype(np.uint8)
    return ImageResizer(side, interpolation="bicubic").fit_transform(small[None])[0]


def far(one, other):
    return abs(one.astype(int) - np.asarray(other).astype(int)).max()


RGB = Image.fromarray(picture())
