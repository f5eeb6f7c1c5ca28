"""Transforms of torchvision as steps of a pipeline."""

import torch

from sklearn_l2cnn._data.pixels import check_result
from sklearn_l2cnn._utils.seeds import draw_seeds, seeded
from sklearn_l2cnn.preprocessing._base import FORM, ImageTransformer


class TorchvisionTransformer(ImageTransformer):
    """Apply a transform of torchvision, or any callable on tensors, to images.

    Random transforms are seeded by `random_state`: the same images are transformed in
    the same way every time, and the states of the global generators of torch, numpy and
    random are restored. For new random transforms in every epoch of training, use
    `augment` of :class:`sklearn_l2cnn.L2CNNClassifier`.

    Parameters
    ----------
    func : callable, default=None
        The transform, such as ``torchvision.transforms.v2.GaussianBlur(3)``. It takes
        and returns a tensor ``(n, channels, height, width)`` of uint8, float32 or
        float64. None leaves the images unchanged.

    one_by_one : bool, default=False
        Whether to pass one image at a time, as ``(1, channels, height, width)``.
        Transforms of torchvision use the same random numbers for a whole batch.

    random_state : int, RandomState instance or None, default=None
        Determines the random numbers of the transform. Pass an int for reproducible
        output across multiple function calls.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. With
        None, a row of k * k values is a grey image of k x k pixels, any other row an
        image one pixel high.

    channels : {"last", "first"}, default="last"
        Position of the channel axis in images of four dimensions, and in the images
        that rows are flattened from.

    Attributes
    ----------
    seed_ : int
        Seed of the random generators in every call of `func`.

    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images before and after transformation.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    sklearn.preprocessing.FunctionTransformer : Apply any function to an array.

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

    _parameter_constraints: dict = {
        "func": [callable, None],
        "one_by_one": ["boolean"],
        "random_state": ["random_state"],
        **FORM,
    }
    _is_module = False

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
        super().__init__(image_shape=image_shape, channels=channels)

    def _learn(self, images, weight, first):
        [seed] = draw_seeds(self.random_state, 1)
        return {"seed_": seed}

    def _apply(self, change, images):
        # not in chunks, for which a transform would draw different random numbers
        images = images.permute(0, 3, 1, 2)
        # func may work in place, on a copy
        with seeded(self.seed_, images.device):
            changed = change(images.clone(memory_format=torch.contiguous_format))
        check_result(changed, images, type(self).__name__)
        return changed.permute(0, 2, 3, 1)

    def _transform(self, images):
        if self.func is None:
            return images
        if not self.one_by_one:
            return _checked(self.func(images), images)
        parts = [_checked(self.func(image), image) for image in images.split(1)]
        if len({part.shape for part in parts}) > 1:
            raise ValueError(
                f"func={self.func!r} returned images of several shapes: "
                f"{sorted({tuple(part.shape[1:]) for part in parts})[:4]}. All must "
                "have the same shape; let it end with a resize."
            )
        return torch.cat(parts)


def _checked(result, images):
    """Raise unless a transform returned as many images as were passed."""
    kind = type(result).__name__
    if torch.is_tensor(result):
        if result.ndim == 4 and len(result) == len(images):
            return result
        kind = f"a tensor of shape {tuple(result.shape)}"
    raise ValueError(
        f"func returned {kind} for a tensor of shape {tuple(images.shape)}; one of "
        f"shape ({len(images)}, channels, height, width) was expected."
    )
