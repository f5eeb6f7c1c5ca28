"""What all transformers of images have in common: forms, pieces, names, manners."""

from numbers import Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._data.arrays import give_back, origin_of
from sklearn_l2cnn._data.images import as_images, in_form, ndim_of, pixel_names
from sklearn_l2cnn._data.pixels import chunks, unit_of, warn_about_units
from sklearn_l2cnn._data.validation import (
    check_images,
    check_namespace,
    check_weight,
    read_images,
)
from sklearn_l2cnn._utils.estimators import (
    ParametersMixin,
    all_or_nothing,
    set_attributes,
)
from sklearn_l2cnn._utils.sklearn_compat import (
    Interval,
    StrOptions,
    check_feature_names_in,
    fit_context,
)

NUMBER = [Interval(Real, None, None, closed="neither")]
IMAGE_SHAPE = {"image_shape": [tuple, list, None]}
FORM = {**IMAGE_SHAPE, "channels": [StrOptions({"last", "first"})]}


def changed(change, images):
    """Send images through a function piece by piece, so that little memory is needed.

    Parameters
    ----------
    change : callable
        Of a tensor ``(n, channels, height, width)``, returning such a tensor.
    images : ndarray or Tensor of shape (n, height, width, channels)

    Returns
    -------
    images : Tensor of shape (n, new height, new width, new channels)
    """
    result = None
    for part in chunks(len(images), images.shape[1:]):
        piece = change(images[part].clone().permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if result is None:
            shape = (len(images), *piece.shape[1:])
            result = torch.empty(shape, dtype=piece.dtype, device=piece.device)
        result[part] = piece
    return result


class ImageTransformer(ParametersMixin, TransformerMixin, BaseEstimator):
    """Base of the transformers: images of any form in, images of the same form out.

    A transformer supplies `_change`, which takes and returns a tensor of shape
    ``(n, channels, height, width)`` and, where it learns something, `_learn`.
    """

    # Whether value i of what goes out is value i of what came in, changed.
    _keeps_pixels = True
    # Whether images that are counted otherwise than those in fit come out wrong.
    _compares_units = False

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Learn the shape of images, and what else there is to learn.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels), \
                (n, channels, height, width) or (n, n_features)
            Images, or rows that are images flattened.
        y : None
            Ignored.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images, in whatever is learnt; an image of weight 0 plays no
            part.

        Returns
        -------
        self : object
        """
        with all_or_nothing(self):
            return self._take_in(X, sample_weight, first=True)

    def transform(self, X):
        """Transform images.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.

        Returns
        -------
        X : ndarray
            In the form that X has: rows for rows, images for images.
        """
        check_is_fitted(self)
        check_namespace(self, X, "_origin_", "transform")
        way_in, way_out = self._ways()
        images = check_images(self, X, channels=way_in)
        if self._compares_units:
            warn_about_units(images, self._unit_)
        ndim = self._ndim_out(ndim_of(X))
        return give_back(in_form(self._send(self._change, images), ndim, way_out), X)

    def get_feature_names_out(self, input_features=None):
        """Name the values of a transformed image, in the order that a row has them.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; None is those seen in :meth:`fit`.

        Returns
        -------
        names : ndarray of str
            Those of the input where every value stays in its place, else
            ``"pixel_<row>_<column>"``, with ``"_<channel>"`` where there are several.
        """
        check_is_fitted(self)
        names = check_feature_names_in(self, input_features)
        if self._keeps_pixels:
            return names
        return pixel_names(self.output_shape_, self._ways()[1])

    def _take_in(self, X, sample_weight, first):
        if first:
            images, info = read_images(self, X, channels=self._ways()[0])
            set_attributes(self, info.attributes())
        else:
            images = check_images(self, X, channels=self._ways()[0])
        weight = check_weight(sample_weight, images)
        self._learnt_ = self._learn(images, weight, first) or {}
        for name, value in self._learnt_.items():
            if isinstance(value, np.ndarray):
                value = give_back(torch.from_numpy(value), X)
            setattr(self, name, value)
        self._origin_ = origin_of(X)
        if first:
            if self._compares_units:
                self._unit_ = unit_of(images)
            self.output_shape_ = tuple(self._send(self._change, images[:1]).shape[1:])
        return self

    # -- what the transformers fill in ------------------------------------------------

    def _learn(self, images, weight, first):
        """Learn from images ``(n, height, width, channels)``, numpy's or torch's.

        Returns
        -------
        learnt : dict or None
            The fitted attributes by their names, arrays as numpy's. They stay as they
            are in `_learnt_`, and become attributes of the kind of the images.
        """

    def _change(self, images):
        raise NotImplementedError

    def _send(self, change, images):
        """Send ``(n, height, width, channels)`` through `_change` or `_undo`."""
        return changed(change, images)

    def _ways(self):
        """Say where the channels stand in what comes in, and in what goes out."""
        return self.channels, self.channels

    def _ndim_out(self, ndim):
        """Say how many dimensions go out where so many came in."""
        return ndim

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.array_api_support = True
        return tags


class InvertibleMixin:
    """`inverse_transform`, for transformers that supply `_undo`."""

    def inverse_transform(self, X):
        """Undo the transformation.

        Parameters
        ----------
        X : array-like
            Transformed images or rows.

        Returns
        -------
        X : ndarray
            In the form that X has: rows for rows, images for images. What was uint8 and
            became floats comes back as floats, in which it counts as [0, 1].
        """
        check_is_fitted(self)
        way_in, way_out = self._ways()
        images = as_images(
            X, channels=way_out, expected=self.output_shape_, estimator=self
        )
        ndim = self._ndim_in(ndim_of(X))
        return give_back(in_form(self._send(self._undo, images), ndim, way_in), X)

    def _undo(self, images):
        return images

    def _ndim_in(self, ndim):
        return ndim


class PartialFitMixin:
    """`partial_fit`, for transformers that learn in pieces."""

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Learn from some images, beside all that were seen before.

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
        with all_or_nothing(self):
            return self._take_in(X, sample_weight, first)
