"""Layout: where the channels stand, and rows that are images."""

from sklearn_l2cnn.preprocessing._base import (
    FORM,
    IMAGE_SHAPE,
    ImageTransformer,
    InvertibleMixin,
)


class ChannelsLast(InvertibleMixin, ImageTransformer):
    """Move the channels of images to the end, where the classifier expects them.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows, whose
        channels follow one another. None takes a row of k * k values as a grey image of
        k x k pixels and any other row as a strip one pixel high.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images, whatever their layout.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    ChannelsFirst : The opposite.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn.preprocessing import ChannelsLast
    >>> ChannelsLast().fit_transform(np.zeros((5, 3, 32, 24))).shape
    (5, 32, 24, 3)
    """

    _keeps_pixels = False
    _parameter_constraints: dict = {**IMAGE_SHAPE}

    def __init__(self, *, image_shape=None):
        self.image_shape = image_shape

    def _ways(self):
        return "first", "last"

    def _change(self, images):
        return images


class ChannelsFirst(InvertibleMixin, ImageTransformer):
    """Move the channels of images to the front, as torch has them.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. None
        takes a row of k * k values as a grey image of k x k pixels and any other row as
        a strip one pixel high.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images, whatever their layout.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    ChannelsLast : The opposite.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn.preprocessing import ChannelsFirst
    >>> ChannelsFirst().fit_transform(np.zeros((5, 32, 24, 3))).shape
    (5, 3, 32, 24)
    """

    _keeps_pixels = False
    _parameter_constraints: dict = {**IMAGE_SHAPE}

    def __init__(self, *, image_shape=None):
        self.image_shape = image_shape

    def _ways(self):
        return "last", "first"

    def _change(self, images):
        return images


class RowsToImages(InvertibleMixin, ImageTransformer):
    """Turn rows into images.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)`` of the images. None takes a
        row of k * k values as a grey image of k x k pixels and any other row as a strip
        one pixel high.

    channels : {"last", "first"}, default="last"
        Where the channels stand in the images, and in the images that the rows are
        flattened from.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images.

    n_features_in_ : int
        Values in a row: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    ImagesToRows : The opposite.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import RowsToImages
    >>> RowsToImages().fit_transform(load_digits().data).shape
    (1797, 8, 8)
    """

    _parameter_constraints: dict = {**FORM}

    def __init__(self, image_shape=None, *, channels="last"):
        self.image_shape = image_shape
        self.channels = channels

    def _change(self, images):
        return images

    def _ndim_out(self, ndim):
        if ndim > 2:
            return ndim  # they are images already
        alone = self.image_shape is None or len(self.image_shape) == 2
        return 3 if alone else 4

    def _ndim_in(self, ndim):
        return 2


class ImagesToRows(InvertibleMixin, ImageTransformer):
    """Flatten images to rows, which any estimator of scikit-learn takes.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X that is rows
        already. None takes a row of k * k values as a grey image of k x k pixels and
        any other row as a strip one pixel high.

    channels : {"last", "first"}, default="last"
        Where the channels stand in images of four dimensions, and in the rows.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    See Also
    --------
    RowsToImages : The opposite.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import ImagesToRows
    >>> ImagesToRows().fit_transform(load_digits().images).shape
    (1797, 64)
    """

    _keeps_pixels = False
    _parameter_constraints: dict = {**FORM}

    def __init__(self, *, image_shape=None, channels="last"):
        self.image_shape = image_shape
        self.channels = channels

    def _change(self, images):
        return images

    def _ndim_out(self, ndim):
        return 2

    def _ndim_in(self, ndim):
        return 3 if self.image_shape_[2] == 1 else 4
