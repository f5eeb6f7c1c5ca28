"""PixelSelector: the pixels by which a network discriminates the classes."""

import warnings
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._classifier import L2CNNClassifier
from sklearn_l2cnn._data.arrays import give_back, on_host
from sklearn_l2cnn._data.canonical import canonical_set, survey
from sklearn_l2cnn._data.images import as_images, in_form, ndim_of
from sklearn_l2cnn._data.validation import check_targets, check_weight, encode_labels
from sklearn_l2cnn._data.weights import normalized_weights
from sklearn_l2cnn._estimator.wrapping import WrappingMixin
from sklearn_l2cnn._training.chunks import predict_logits
from sklearn_l2cnn._utils.devices import widest_float
from sklearn_l2cnn._utils.errors import check_finite
from sklearn_l2cnn._utils.estimators import all_or_nothing
from sklearn_l2cnn._utils.sklearn_compat import (
    HasMethods,
    Interval,
    RowsInFramesMixin,
    StrOptions,
    calculate_threshold,
    check_feature_names_in,
    fit_context,
    num_features,
)
from sklearn_l2cnn._utils.surroundings import undisturbed
from sklearn_l2cnn.feature_selection._contributions import contributions


class PixelSelector(RowsInFramesMixin, WrappingMixin, SelectorMixin, BaseEstimator):
    r"""Select the pixels by which a convolutional network discriminates the classes.

    The importance of pixel p is its contribution to the log odds :math:`m` of the true
    class in the output of the network: its integrated gradient on the line from the
    mean image :math:`b` to an image :math:`x`, averaged over the weighted training
    images,

    .. math::

        I_p = \frac{\sum_i s_i (x_{ip} - b_p)
        \int_0^1 \partial_p m(b + t (x_i - b))\,dt}{\sum_i s_i}.

    The sum of all importances is the mean of :math:`m(x) - m(b)`. The contributions of
    an uninformative pixel to different images cancel, so its importance is about zero,
    and may be negative.

    Parameters
    ----------
    estimator : estimator, default=None
        A classifier, :class:`~sklearn_l2cnn.L2CNNClassifier` or a search over one, of
        which a clone is trained. None is an ``L2CNNClassifier()``. A fitted one in a
        :class:`sklearn.frozen.FrozenEstimator` is not trained.

    threshold : str or float, default=None
        Smallest importance of a selected pixel: a number, ``"mean"``, ``"median"``, or
        a multiple of them such as ``"1.25*mean"``. None is no threshold with
        `max_features`, and ``"mean"`` without.

    max_features : int or callable, default=None
        Largest number of selected pixels, those of the greatest importance; or a
        function of X that returns this number.

    output : {"rows", "images"}, default="rows"
        The output of :meth:`transform`: rows of the selected values, or X in its own
        form with the other pixels replaced by `fill_value`.

    fill_value : float, default=0.0
        Value of the pixels that are not selected, with ``output="images"`` and in
        :meth:`inverse_transform`.

    n_steps : int, default=4
        Number of points at which the integral is evaluated.

    random_state : int, RandomState instance or None, default=None
        Replaces the `random_state` of the estimator that is trained; None keeps it.

    Attributes
    ----------
    estimator_ : estimator
        The fitted classifier.

    pixel_importances_ : ndarray of shape (height, width)
        Importances, summed over the channels: a pixel is selected with all its
        channels, or with none.

    threshold_ : float
        Smallest importance of a selected pixel.

    support_ : ndarray of bool of shape (height, width)
        Mask of the selected pixels.

    max_features_ : int or None
        Largest number of selected pixels.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X is a data frame whose names are all strings.

    image_shape_ : tuple of int
        ``(height, width, channels)``.

    See Also
    --------
    sklearn.feature_selection.SelectFromModel : The same for tabular data.
    sklearn_l2cnn.feature_extraction.CNNFeatures : Features computed by a network.

    Notes
    -----
    :meth:`get_support` is a mask over the values of a row, `support_` a mask over the
    pixels of an image. As in ``SelectFromModel``, `threshold` may be set after
    :meth:`fit`, without fitting again.

    Examples
    --------
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.datasets import load_digits_images
    >>> from sklearn_l2cnn.feature_selection import PixelSelector
    >>> X, y = load_digits_images(return_X_y=True)
    >>> clf = L2CNNClassifier(max_epochs=3, random_state=0)
    >>> selector = PixelSelector(clf, max_features=20).fit(X[:300], y[:300])
    >>> selector.transform(X).shape
    (1797, 20)
    >>> selector.support_.shape, bool(selector.support_[:, 0].any())
    ((8, 8), False)
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"]), None],
        "threshold": [Interval(Real, None, None, closed="both"), str, None],
        "max_features": [Interval(Integral, 0, None, closed="left"), callable, None],
        "output": [StrOptions({"rows", "images"})],
        "fill_value": [Interval(Real, None, None, closed="neither")],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        threshold=None,
        max_features=None,
        output="rows",
        fill_value=0.0,
        n_steps=4,
        random_state=None,
    ):
        self.estimator = estimator
        self.threshold = threshold
        self.max_features = max_features
        self.output = output
        self.fill_value = fill_value
        self.n_steps = n_steps
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)  # the estimator's are its own
    def fit(self, X, y=None, sample_weight=None, **fit_params):
        """Train the network and compute the importances of the pixels.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels), \
                (n, channels, height, width) or (n, n_features)
            Images, or rows that are images flattened.
        y : array-like of shape (n,), default=None
            Labels. They may be missing if nothing is trained; the predictions of the
            network replace them.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images, in the training and in the importances.
        **fit_params : dict
            Further arguments of the ``fit`` of the estimator, such as `X_val` and
            `y_val`. With metadata routing, those that it requests.

        Returns
        -------
        self : object
        """
        with all_or_nothing(self):
            calculate_threshold(None, np.zeros(1), self.threshold)  # validates it
            self.max_features_ = _check_max_features(self.max_features, X)
            clf = self._fit_estimator(X, y, sample_weight, fit_params)
            self._ndim_ = ndim_of(X)
            _, images = self._check_images(X, "fit", stored=True)
            importances = self._contributions(clf, X, y, sample_weight, images)
            self.pixel_importances_ = give_back(importances, X)
            self._on_host_ = {"importances": on_host(importances)}
        return self

    @undisturbed()
    def transform(self, X):
        """Return the selected pixels of images, or images with only these pixels.

        Parameters
        ----------
        X : array-like
            Images or rows of the same shape as in :meth:`fit`.

        Returns
        -------
        X : ndarray
            Of shape (n, n_selected) with ``output="rows"``, otherwise in the form of X.
        """
        check_is_fitted(self)
        clf, images = self._check_images(X, "transform")
        if not self.support_.any():
            message = (
                f"No pixels were selected: threshold={self.threshold!r} and "
                f"max_features={self.max_features!r} leave none."
            )
            warnings.warn(message, UserWarning, stacklevel=2)
        if self.output == "rows":
            rows = in_form(images, 2, clf.channels)
            return give_back(rows[:, self._support_of(rows)], X)
        others = ~torch.as_tensor(self.support_, device=images.device)[:, :, None]
        images = images.masked_fill(others, self._checked_fill_value(images))
        return give_back(in_form(images, ndim_of(X), clf.channels), X)

    @undisturbed()
    def inverse_transform(self, X):
        """Return images with the selected pixels, and `fill_value` in the others.

        Parameters
        ----------
        X : array-like of shape (n, n_selected)
            Output of :meth:`transform`. With ``output="images"`` these are images, and
            do not change.

        Returns
        -------
        X : ndarray
            Images or rows, in the form of X in :meth:`fit`.
        """
        check_is_fitted(self)
        images, channels = X, self._fitted_classifier().channels
        if self.output == "rows":
            chosen = self._check_selected(X)
            shape = len(chosen), self.n_features_in_
            images = chosen.new_full(shape, self._checked_fill_value(chosen))
            images[:, self._support_of(images)] = chosen
        form = {"channels": channels, "expected": self.image_shape_}
        images = as_images(images, **form, estimator=self)
        return give_back(in_form(images, self._ndim_, channels), X)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the output of :meth:`transform`.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; None for the names in :meth:`fit`.

        Returns
        -------
        names : ndarray of str
            Input names of the selected values, or of all with ``output="images"``.
        """
        check_is_fitted(self)
        names = check_feature_names_in(self, input_features)
        return names if self.output == "images" else names[self.get_support()]

    @property
    def threshold_(self):
        """Smallest importance of a selected pixel."""
        if self.threshold is None and self.max_features is not None:
            return -np.inf
        importances = self._on_host_["importances"]
        return calculate_threshold(None, importances, self.threshold)

    @property
    def support_(self):
        """Mask of the selected pixels, of shape (height, width)."""
        check_is_fitted(self)
        importances = self._on_host_["importances"].ravel()
        mask = importances >= self.threshold_
        if self.max_features_ is not None:
            # stable, so that the first of equal pixels are selected
            order = np.argsort(-importances, kind="stable")
            mask[order[self.max_features_ :]] = False
        return mask.reshape(self.image_shape_[:2])

    def get_metadata_routing(self):
        """Get the metadata routing: all metadata of :meth:`fit` go to the estimator.

        The selector itself may request sample weights as well, for the importances.

        Returns
        -------
        routing : MetadataRouter
        """
        return super().get_metadata_routing().add_self_request(self)

    # -- private ----------------------------------------------------------------------

    def _get_support_mask(self):
        """Return a mask over the values of a row."""
        mask = np.repeat(self.support_[:, :, np.newaxis], self.image_shape_[2], axis=2)
        if self._fitted_classifier().channels == "first":
            mask = mask.transpose(2, 0, 1)
        return mask.ravel()

    def _support_of(self, rows):
        """Return the mask over the values of a row as a tensor, where the rows are."""
        return torch.as_tensor(self.get_support(), device=rows.device)

    def _default_estimator(self):
        return L2CNNClassifier()

    def _contributions(self, clf, X, y, sample_weight, images):
        """Return the importance of each pixel, over validated images."""
        if y is None:
            labels = predict_logits(clf.net_, images, of=partial(torch.argmax, dim=1))
            labels = on_host(labels)
            weight = check_weight(sample_weight, images)
        else:
            y, weight = check_targets(self, y, sample_weight, images)
            labels = encode_labels(y, weight, clf._summary_.classes, "y")
        # so that the order of the rows, and repeats, have no effect on the sums
        data = canonical_set(survey(images, with_moments=False), labels, weight)
        weight = torch.tensor(normalized_weights(data.weight)).double()
        labels = torch.as_tensor(data.labels).long().to(clf.net_.device)
        device = torch.device(clf.net_.device)
        share = (weight / weight.sum()).to(device, widest_float(device))
        given = data.images, data.rows, labels, share
        importances = contributions(clf.net_, *given, self.n_steps).sum(dim=0)
        check_finite(importances, "The importances of the pixels")
        return importances

    def _checked_fill_value(self, images):
        """Return `fill_value`; raise if the dtype of the images cannot represent it."""
        byte = images.dtype == torch.uint8
        if byte and self.fill_value not in range(256):
            raise ValueError(
                f"fill_value={self.fill_value!r} is no value of uint8 images: pass an "
                "integer from 0 to 255, or images of floats."
            )
        return int(self.fill_value) if byte else self.fill_value

    def _check_selected(self, X):
        """Validate rows of selected values, and return them as a tensor."""
        expected, found = int(self.get_support().sum()), num_features(X)
        if found != expected:
            raise ValueError(
                f"X has {found} features, but {expected} values of selected pixels "
                "were expected, as transform returns them."
            )
        rows = as_images(X, image_shape=(1, expected), estimator=self)
        return rows.reshape(len(rows), -1)


def _check_max_features(max_features, X):
    """Return the largest number of selected pixels, None for no limit."""
    if not callable(max_features):
        return max_features
    limit = max_features(X)
    if not isinstance(limit, Integral) or limit < 0:
        raise ValueError(
            f"max_features, called with X, returned {limit!r}; a number of pixels was "
            "expected."
        )
    return int(limit)
