"""Layout of images: position of the channels, and images as rows."""

from sklearn.base import OneToOneFeatureMixin

from sklearn_l2cnn.preprocessing._base import (
    IMAGE_SHAPE,
    ImageTransformer,
    InvertibleMixin,
)


class _ChannelMover(InvertibleMixin, ImageTransformer):
    """Base class of the transformers that move the channel axis."""

    _parameter_constraints: dict = {**IMAGE_SHAPE}

    def __init__(self, *, image_shape=None):
        self.image_shape = image_shape


class ChannelsLast(_ChannelMover):
    """Move the channels of images to the last axis, where the classifier expects them.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows, in
        which the channels follow one another. With None, a row of k * k values is a
        grey image of k x k pixels, any other row an image one pixel high.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images, in this order for any layout.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    ChannelsFirst : Move the channels to the axis in front of height and width.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn.preprocessing import ChannelsLast
    >>> ChannelsLast().fit_transform(np.zeros((5, 3, 32, 24))).shape
    (5, 32, 24, 3)
    """

    def _channel_positions(self):
        return "first", "last"


class ChannelsFirst(_ChannelMover):
    """Move the channels of images in front of height and width, as in torch.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. With
        None, a row of k * k values is a grey image of k x k pixels, any other row an
        image one pixel high.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images, in this order for any layout.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    ChannelsLast : Move the channels to the last axis.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_l2cnn.preprocessing import ChannelsFirst
    >>> ChannelsFirst().fit_transform(np.zeros((5, 32, 24, 3))).shape
    (5, 3, 32, 24)
    """

    def _channel_positions(self):
        return "last", "first"


class RowsToImages(InvertibleMixin, OneToOneFeatureMixin, ImageTransformer):
    """Reshape rows to images.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)`` of the images. With None, a
        row of k * k values is a grey image of k x k pixels, any other row an image one
        pixel high.

    channels : {"last", "first"}, default="last"
        Position of the channel axis in the images, and in the images that the rows are
        flattened from.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images.

    n_features_in_ : int
        Number of values in a row: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    ImagesToRows : Flatten images to rows.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import RowsToImages
    >>> RowsToImages().fit_transform(load_digits().data).shape
    (1797, 8, 8)
    """

    def __init__(self, image_shape=None, *, channels="last"):
        super().__init__(image_shape=image_shape, channels=channels)

    def _ndim_out(self, ndim):
        if ndim > 2:
            return ndim  # X is images already
        grey = self.image_shape is None or len(self.image_shape) == 2
        return 3 if grey else 4

    def _ndim_in(self, ndim):
        return 2


class ImagesToRows(InvertibleMixin, ImageTransformer):
    """Flatten images to rows, as expected by the estimators of scikit-learn.

    Of rows ``set_output(transform="pandas")`` makes data frames. Images have no index:
    these count from 0. In a :class:`~sklearn.compose.ColumnTransformer` with other
    columns of a frame, give it ``frame.reset_index(drop=True)``.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. With
        None, a row of k * k values is a grey image of k x k pixels, any other row an
        image one pixel high.

    channels : {"last", "first"}, default="last"
        Position of the channel axis in images of four dimensions, and in the rows.

    Attributes
    ----------
    image_shape_, output_shape_ : tuple of int
        ``(height, width, channels)`` of the images.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Defined only if X is a data frame whose column names
        are all strings.

    See Also
    --------
    RowsToImages : Reshape rows to images.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_l2cnn.preprocessing import ImagesToRows
    >>> ImagesToRows().fit_transform(load_digits().images).shape
    (1797, 64)
    """

    def _ndim_out(self, ndim):
        return 2

    def _ndim_in(self, ndim):
        return 3 if self.image_shape_[2] == 1 else 4
