"""Any transform of torchvision as a step of a pipeline."""

import torch
from sklearn.utils import check_random_state

from sklearn_l2cnn._data.arrays import as_tensor
from sklearn_l2cnn._utils.seeds import seeded
from sklearn_l2cnn.preprocessing._base import FORM, ImageTransformer


class TorchvisionTransformer(ImageTransformer):
    """Apply a transform of torchvision, or any callable on tensors, to images.

    What the transform draws comes from `random_state`: the same images are transformed
    in the same way every time, and the generators of torch, numpy and random are left
    as they were. To
    draw anew in every epoch of training, use `augment` of
    :class:`sklearn_l2cnn.L2CNNClassifier`.

    Parameters
    ----------
    func : callable, default=None
        Such as ``torchvision.transforms.v2.GaussianBlur(3)``: takes and returns a
        tensor ``(n, channels, height, width)`` of uint8, float32 or float64. None
        returns what comes.

    one_by_one : bool, default=False
        Whether the transform sees one image at a time, ``(1, channels, height,
        width)``: transforms of torchvision draw once for all that they see at once.

    random_state : int, RandomState instance or None, default=None
        Determines what the transform draws.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. None
        takes a row of k * k values as a grey image of k x k pixels and any other row as
        a strip one pixel high.

    channels : {"last", "first"}, default="last"
        Where the channels stand in images of four dimensions, and in the images that
        rows are flattened from.

    Attributes
    ----------
    seed_ : int
        What the generators are seeded with before every call.

    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    sklearn.preprocessing.FunctionTransformer : Any function of an array.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from torchvision.transforms.v2 import RandomHorizontalFlip
    >>> from sklearn_l2cnn.preprocessing import TorchvisionTransformer
    >>> mirror = TorchvisionTransformer(RandomHorizontalFlip(p=1))
    >>> X = load_digits().images
    >>> bool((mirror.fit_transform(X) == X[:, :, ::-1]).all())
    True
    """

    _keeps_pixels = False
    _parameter_constraints: dict = {
        "func": [callable, None],
        "one_by_one": ["boolean"],
        "random_state": ["random_state"],
        **FORM,
    }

    def __init__(
        self,
        func=None,
        *,
        one_by_one=False,
        random_state=None,
        image_shape=None,
        channels="last",
    ):
        self.func = func
        self.one_by_one = one_by_one
        self.random_state = random_state
        self.image_shape = image_shape
        self.channels = channels

    def _learn(self, images, weight, first):
        generator = check_random_state(self.random_state)
        return {"seed_": int(generator.randint(2**31 - 1))}

    def _send(self, change, images):
        # not piece by piece: what is drawn for all would be drawn for every piece
        images = as_tensor(images).permute(0, 3, 1, 2)
        # func may work in place
        images = images.clone(memory_format=torch.contiguous_format)
        with seeded(self.seed_, images.device):
            images = change(images)
        return images.permute(0, 2, 3, 1)

    def _change(self, images):
        if self.func is None:
            return images
        if not self.one_by_one:
            return _checked(self.func(images), images)
        parts = [_checked(self.func(image), image) for image in images.split(1)]
        if len({part.shape for part in parts}) > 1:
            raise ValueError(
                f"func={self.func!r} returned images of several shapes: "
                f"{sorted({tuple(part.shape[1:]) for part in parts})[:4]}. All must be "
                "alike; end it with a resize to one size."
            )
        return torch.cat(parts)


def _checked(result, images):
    """Raise unless a transform returned images, as many as it got."""
    if (
        isinstance(result, torch.Tensor)
        and result.ndim == 4
        and len(result) == len(images)
    ):
        return result
    kind = type(result).__name__
    if isinstance(result, torch.Tensor):
        kind = f"a tensor of shape {tuple(result.shape)}"
    raise ValueError(
        f"func returned {kind} for a tensor of shape {tuple(images.shape)}; one of "
        f"shape ({len(images)}, channels, height, width) was expected."
    )
