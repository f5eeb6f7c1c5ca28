"""Base class and mixins of the image transformers."""

import copy
from numbers import Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._data.arrays import give_back, origin_of
from sklearn_l2cnn._data.images import (
    as_images,
    in_form,
    ndim_of,
    pixel_names,
    traced_images,
)
from sklearn_l2cnn._data.pixels import (
    check_result,
    chunks,
    unit_of,
    warn_about_units,
)
from sklearn_l2cnn._data.validation import check_images, check_weight, read_images
from sklearn_l2cnn._utils.estimators import (
    ParametersMixin,
    all_or_nothing,
    set_attributes,
)
from sklearn_l2cnn._utils.onnx_graphs import GraphSource
from sklearn_l2cnn._utils.onnx_hooks import OnnxHooksMixin
from sklearn_l2cnn._utils.sklearn_compat import (
    Interval,
    RowsInFramesMixin,
    StrOptions,
    check_feature_names_in,
    check_same_namespace,
    fit_context,
)
from sklearn_l2cnn._utils.surroundings import usual_defaults

NUMBER = [Interval(Real, None, None, closed="neither")]
IMAGE_SHAPE = {"image_shape": [tuple, list, None]}
FORM = {**IMAGE_SHAPE, "channels": [StrOptions({"last", "first"})]}


class ImageTransformer(
    OnnxHooksMixin, ParametersMixin, RowsInFramesMixin, BaseEstimator
):
    """Base class of the transformers, which return images in the form of X.

    Subclasses implement `_transform`, which takes and returns a tensor of shape
    ``(n, channels, height, width)``, and `_learn` if they have fitted attributes.
    """

    _parameter_constraints: dict = {**FORM}
    # Whether to warn about images in other units than those in fit.
    _checks_units = False
    # Whether `transform` is nothing but `_transform`, in torch, without randomness.
    _is_module = True
    _graph_advice = (
        "Let the steps of the pipeline up to it prepare the images, pipeline[:k], and "
        "convert those behind it, pipeline[k:]."
    )
    _off_advice = (
        "Of uint8 pixels, onnxruntime may round the means otherwise: make floats of "
        f"them first, with PixelScaler(). {_graph_advice}"
    )

    def __init__(self, *, image_shape=None, channels="last"):
        self.image_shape = image_shape
        self.channels = channels

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Learn the shape of the images and the parameters of the transformation.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels), \
                (n, channels, height, width) or (n, n_features)
            Images, or rows that are flattened images.
        y : None
            Ignored.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images; an image of weight 0 is ignored.

        Returns
        -------
        self : object
        """
        with usual_defaults(), all_or_nothing(self):
            return self._fit(X, sample_weight, first=True)

    def transform(self, X):
        """Transform images.

        Parameters
        ----------
        X : array-like
            Images or rows of the same shape as in :meth:`fit`.

        Returns
        -------
        X : ndarray
            In the form of X: rows for rows, images for images. ``set_output`` makes
            data frames of rows; images stay arrays.
        """
        with usual_defaults():
            check_is_fitted(self)
            check_same_namespace(X, self, attribute="_origin_", method="transform")
            channels_in, channels_out = self._channel_positions()
            images = check_images(self, X, channels=channels_in)
            if self._checks_units:
                warn_about_units(images, self._unit_)
            images = self._apply(self._transform, images)
            return give_back(
                in_form(images, self._ndim_out(ndim_of(X)), channels_out), X
            )

    def get_feature_names_out(self, input_features=None):
        """Get output feature names, in the order of the values in a flattened image.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X, which are only checked.

        Returns
        -------
        feature_names_out : ndarray of str
            ``"pixel_<row>_<column>"``, followed by ``"_<channel>"`` if there are
            several channels.
        """
        check_is_fitted(self)
        check_feature_names_in(self, input_features)
        return pixel_names(self.output_shape_, self._channel_positions()[1])

    def _fit(self, X, sample_weight, first):
        """Fit to X, or with ``first=False`` update the fitted attributes with X."""
        channels, _ = self._channel_positions()
        if first:
            images, info = read_images(self, X, channels=channels)
            set_attributes(self, info.attributes())
        else:
            images = check_images(self, X, channels=channels)
        weight = check_weight(sample_weight, images)
        self._learnt_ = self._learn(images, weight, first) or {}
        for name, value in self._learnt_.items():
            if isinstance(value, np.ndarray):
                value = give_back(torch.from_numpy(value), X)
            setattr(self, name, value)
        self._origin_ = origin_of(X)
        if first:
            if self._checks_units:
                self._unit_ = unit_of(images)
            images = self._apply(self._transform, images[:1])
            self.output_shape_ = tuple(images.shape[1:])
        return self

    # -- methods for subclasses to override -------------------------------------------

    def _learn(self, images, weight, first):
        """Compute fitted attributes from images ``(n, height, width, channels)``.

        Returns
        -------
        learnt : dict or None
            The fitted attributes by name, with arrays of numpy. They are kept as such
            in `_learnt_` and set as attributes in the array library of X.
        """

    def _transform(self, images):
        """Transform a tensor ``(n, channels, height, width)``."""
        return images

    def _apply(self, function, images):
        """Apply `_transform` or its inverse chunk by chunk, to limit the memory needed.

        Parameters
        ----------
        function : callable
            Takes and returns a tensor of shape ``(n, channels, height, width)``.
        images : Tensor of shape (n, height, width, channels)

        Returns
        -------
        images : Tensor of shape (n, new height, new width, new channels)
        """
        result = None
        for rows in chunks(len(images), images.shape[1:]):
            chunk = function(images[rows].clone().permute(0, 3, 1, 2))
            check_result(chunk, images[rows], type(self).__name__)
            chunk = chunk.permute(0, 2, 3, 1)
            if result is None:
                result = chunk.new_empty((len(images), *chunk.shape[1:]))
            result[rows] = chunk
        return result

    def _channel_positions(self):
        """Return the positions of the channels in the input and in the output."""
        return self.channels, self.channels

    def _ndim_out(self, ndim):
        """Return the number of dimensions of the output for that of the input."""
        return ndim

    def _as_module(self, device="cpu"):
        """Return the transformer as a torch module, from X to what becomes of it."""
        check_is_fitted(self)
        if not self._is_module:
            raise TypeError(
                f"{type(self).__name__} is no torch module: it reads files, or calls "
                f"a function that is not known. {self._graph_advice}"
            )
        return WholeTransformer(copy.deepcopy(self)).eval()

    def _graph_source(self):
        """Return what becomes an ONNX graph."""
        return GraphSource(self._as_module(), ("variable",))

    def _as_X(self, images, ndim):
        """Return images in the form of an X with so many dimensions."""
        return in_form(images, ndim, self._channel_positions()[0])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.array_api_support = True
        return tags


class WholeTransformer(torch.nn.Module):
    """What a transformer does to a batch, with nothing but torch.

    Parameters
    ----------
    transformer : ImageTransformer
        Fitted; it is taken, not copied.
    """

    def __init__(self, transformer):
        super().__init__()
        self.transformer = transformer

    def forward(self, X):
        """Return what becomes of a tensor of images, or of rows."""
        transformer = self.transformer
        channels_in, channels_out = transformer._channel_positions()
        images = traced_images(X, transformer.image_shape_, channels_in)
        # a copy, as `transform` makes it: `_transform` may work in place
        images = transformer._transform(images.clone().permute(0, 3, 1, 2))
        ndim = transformer._ndim_out(X.ndim)
        return in_form(images.permute(0, 2, 3, 1), ndim, channels_out)


class InvertibleMixin:
    """Mixin for transformers that implement `_inverse_transform`."""

    def inverse_transform(self, X):
        """Undo the transformation.

        Parameters
        ----------
        X : array-like
            Transformed images or rows.

        Returns
        -------
        X : ndarray
            In the form of X: rows for rows, images for images. Images that were uint8
            before they were transformed to floats are floats in [0, 1].
        """
        with usual_defaults():
            check_is_fitted(self)
            channels_in, channels_out = self._channel_positions()
            images = as_images(
                X, channels=channels_out, expected=self.output_shape_, estimator=self
            )
            images = self._apply(self._inverse_transform, images)
            return give_back(in_form(images, self._ndim_in(ndim_of(X)), channels_in), X)

    def _inverse_transform(self, images):
        return images

    def _ndim_in(self, ndim):
        """Return the number of dimensions of the input for that of the output."""
        return ndim


class PartialFitMixin(OneToOneFeatureMixin):
    """Mixin for transformers that learn from the values of the pixels, in batches."""

    _checks_units = True

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Update the fitted attributes with a batch of images.

        Parameters
        ----------
        X : array-like
            Images or rows, as for :meth:`fit`.
        y : None
            Ignored.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images.

        Returns
        -------
        self : object
        """
        first = not hasattr(self, "image_shape_")
        with usual_defaults(), all_or_nothing(self):
            return self._fit(X, sample_weight, first)
