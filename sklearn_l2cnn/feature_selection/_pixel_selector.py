"""PixelSelector: the pixels that a network tells the classes apart by."""

import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._classifier import L2CNNClassifier
from sklearn_l2cnn._data.arrays import as_tensor, give_back, on_host, same_kind
from sklearn_l2cnn._data.canonical import canonical_set, normalized_weights
from sklearn_l2cnn._data.images import as_images, in_form, ndim_of
from sklearn_l2cnn._data.validation import check_targets, check_weight, encode_labels
from sklearn_l2cnn._estimator.wrapping import WrappingMixin
from sklearn_l2cnn._training.batches import predict_logits
from sklearn_l2cnn._utils.estimators import all_or_nothing
from sklearn_l2cnn._utils.sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    calculate_threshold,
    check_feature_names_in,
    fit_context,
    num_features,
    routing_enabled,
)
from sklearn_l2cnn.feature_selection._contributions import contributions


class PixelSelector(WrappingMixin, SelectorMixin, BaseEstimator):
    r"""Select the pixels that a convolutional network tells the classes apart by.

    The importance of pixel p is what it contributes to the log odds :math:`m` that the
    network gives the right class: its integrated gradient on the way from the mean
    image :math:`b` to an image :math:`x`, averaged over the weighted training images,

    .. math::

        I_p = \frac{\sum_i s_i (x_{ip} - b_p)
        \int_0^1 \partial_p m(b + t (x_i - b))\,dt}{\sum_i s_i}.

    All importances together are the mean of :math:`m(x) - m(b)`. What a pixel without a
    meaning adds for some images it takes from others, so that its importance is about
    zero, and may be below.

    Parameters
    ----------
    estimator : estimator, default=None
        A classifier, :class:`~sklearn_l2cnn.L2CNNClassifier` or a search over one: a
        clone is trained. None is an ``L2CNNClassifier()``. With
        :class:`sklearn.frozen.FrozenEstimator` around one that is fitted nothing is
        trained.

    threshold : str or float, default=None
        Pixels of this importance or more are selected: a number, ``"mean"``,
        ``"median"``, or a multiple of them such as ``"1.25*mean"``. None is no
        threshold with `max_features`, and ``"mean"`` without.

    max_features : int or callable, default=None
        How many pixels are selected at most, those of the greatest importance; a
        callable gets X and returns the number.

    output : {"rows", "images"}, default="rows"
        What :meth:`transform` returns: rows of the selected values, or X in the form
        that it has, with the others blanked.

    fill_value : float, default=0.0
        What stands in pixels that are blanked, by ``output="images"`` or
        :meth:`inverse_transform`.

    n_steps : int, default=4
        Points at which the integral is evaluated.

    random_state : int, RandomState instance or None, default=None
        Replaces the `random_state` of the estimator that is trained; None leaves its
        own.

    Attributes
    ----------
    estimator_ : estimator
        The fitted classifier.

    pixel_importances_ : ndarray of shape (height, width)
        Summed over the channels: a pixel is selected with all its channels, or with
        none.

    threshold_ : float
        The importance that is asked for.

    support_ : ndarray of bool of shape (height, width)
        Which pixels are selected.

    max_features_ : int or None
        How many pixels are selected at most.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    image_shape_ : tuple of int
        ``(height, width, channels)``.

    See Also
    --------
    sklearn.feature_selection.SelectFromModel : The same for tabular data.
    sklearn_l2cnn.feature_extraction.CNNFeatures : What a network makes of the pixels.

    Notes
    -----
    :meth:`get_support` is a mask over the values of a row, in the order that rows have;
    `support_` is one over the pixels of an image. As in ``SelectFromModel``,
    `threshold` may be set after :meth:`fit`, without fitting again.

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
        """Train the network, and find what each pixel contributes.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels), \
                (n, channels, height, width) or (n, n_features)
            Images, or rows that are images flattened.
        y : array-like of shape (n,), default=None
            Labels. Where nothing is trained they may be missing: then what the network
            predicts takes their place.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images, in the training and in the importances.
        **fit_params : dict
            What else the ``fit`` of the estimator takes, such as `X_val` and `y_val`.
            With metadata routing it gets what it requests.

        Returns
        -------
        self : object
        """
        with all_or_nothing(self):
            calculate_threshold(None, np.zeros(1), self.threshold)  # or it raises
            self.max_features_ = _limit(self.max_features, X)
            clf = self._fit_estimator(X, y, sample_weight, fit_params)
            self._ndim_ = ndim_of(X)
            _, images = self._check_images(X, "fit")
            importances = self._contributions(clf, X, y, sample_weight, images)
            self.pixel_importances_ = give_back(importances, X)
            self._on_host_ = {"importances": on_host(importances)}
        return self

    def transform(self, X):
        """Return the selected pixels of images, or images without the others.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.

        Returns
        -------
        X : ndarray
            Of shape (n, n_selected) with ``output="rows"``, else in the form of X.
        """
        check_is_fitted(self)
        clf, images = self._check_images(X, "transform")
        images, support = as_tensor(images), self.support_
        if not support.any():
            warnings.warn(
                f"No pixels were selected: threshold={self.threshold!r} and "
                f"max_features={self.max_features!r} leave none.",
                UserWarning,
                stacklevel=2,
            )
        support = torch.as_tensor(support, device=images.device)
        if self.output == "rows":
            chosen = images[:, support]
            if clf.channels == "first":
                chosen = chosen.swapaxes(1, 2)
            return give_back(chosen.reshape(len(chosen), -1), X)
        blank = torch.full_like(images[:1], self._blank(images))
        images = torch.where(support[:, :, None], images, blank)
        return give_back(in_form(images, ndim_of(X), clf.channels), X)

    def inverse_transform(self, X):
        """Put selected pixels back where they were, `fill_value` in the others.

        Parameters
        ----------
        X : array-like of shape (n, n_selected)
            What :meth:`transform` returns; with ``output="images"`` images, which come
            back as they are.

        Returns
        -------
        X : ndarray
            Images or rows, in the form that X had in :meth:`fit`.
        """
        check_is_fitted(self)
        channels = self._fitted_classifier().channels
        if self.output == "images":
            images = as_images(
                X, channels=channels, expected=self.image_shape_, estimator=self
            )
            return give_back(in_form(as_tensor(images), self._ndim_, channels), X)
        chosen, support = self._chosen(X), self.support_
        n_chosen, depth = int(support.sum()), self.image_shape_[2]
        if channels == "first":
            chosen = chosen.reshape(-1, depth, n_chosen).swapaxes(1, 2)
        else:
            chosen = chosen.reshape(-1, n_chosen, depth)
        shape = (len(chosen), *self.image_shape_)
        images = chosen.new_full(shape, self._blank(chosen))
        images[:, torch.as_tensor(support, device=chosen.device)] = chosen
        return give_back(in_form(images, self._ndim_, channels), X)

    def get_feature_names_out(self, input_features=None):
        """Name the values that :meth:`transform` returns, by the names of the input.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; None is those seen in :meth:`fit`.

        Returns
        -------
        names : ndarray of str
            Of the selected values, or of all with ``output="images"``.
        """
        check_is_fitted(self)
        names = check_feature_names_in(self, input_features)
        return names if self.output == "images" else names[self.get_support()]

    @property
    def threshold_(self):
        """The importance that is asked for."""
        if self.threshold is None and self.max_features is not None:
            return -np.inf
        importances = self._on_host_["importances"]
        return calculate_threshold(None, importances, self.threshold)

    @property
    def support_(self):
        """Which pixels are selected, a mask of shape (height, width)."""
        check_is_fitted(self)
        importances = self._on_host_["importances"].ravel()
        mask = importances >= self.threshold_
        if self.max_features_ is not None:
            # of equals the first
            order = np.argsort(-importances, kind="stable")
            mask[order[self.max_features_ :]] = False
        return mask.reshape(self.image_shape_[:2])

    def get_metadata_routing(self):
        """Get the routing of metadata: what :meth:`fit` is given goes to the estimator.

        Sample weights are of use here as well.

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

    def _estimator_to_fit(self):
        if self.estimator is not None:
            return self.estimator
        estimator = L2CNNClassifier()
        if routing_enabled():  # nobody else could ask for it
            estimator.set_fit_request(sample_weight=True)
        return estimator

    def _contributions(self, clf, X, y, sample_weight, images):
        """Return the importance of every pixel for images that are validated."""
        if y is None:
            labels = same_kind(predict_logits(clf.net_, images).argmax(dim=1), images)
            weight = check_weight(sample_weight, images)
        else:
            y, weight = check_targets(self, X, y, sample_weight, images=images)
            labels = encode_labels(y, weight, clf._seen_.classes, "y")
        # one order of the sums, whatever the order and the repeats of the rows
        data = canonical_set(images, labels, weight)
        weight = torch.as_tensor(normalized_weights(data.weight)).double()
        device = torch.device(clf.net_.device)
        with torch.inference_mode(False), torch.enable_grad():
            parts = contributions(
                clf.net_,
                data.images,
                data.rows,
                torch.as_tensor(data.labels).to(device),
                (weight / weight.sum()).to(device),
                self.n_steps,
            )
        return parts.sum(dim=0)

    def _blank(self, images):
        """Return `fill_value`, if images can hold it."""
        byte = images.dtype == torch.uint8
        if byte and self.fill_value not in range(256):
            raise ValueError(
                f"fill_value={self.fill_value!r} cannot stand in images of uint8: an "
                "integer from 0 to 255 can, or give images of floats."
            )
        return int(self.fill_value) if byte else self.fill_value

    def _chosen(self, X):
        """Validate rows of selected values."""
        wanted, found = int(self.get_support().sum()), num_features(X)
        if found != wanted:
            raise ValueError(
                f"X has {found} features, but {wanted} values of selected pixels were "
                "expected, as transform returns them."
            )
        rows = as_images(X, image_shape=(1, wanted), estimator=self)
        return as_tensor(rows).reshape(len(rows), -1)


def _limit(max_features, X):
    """Return how many pixels are selected at most, None for no limit."""
    if not callable(max_features):
        return max_features
    limit = max_features(X)
    if not isinstance(limit, Integral) or limit < 0:
        raise ValueError(
            f"max_features, called with X, returned {limit!r}; a number of pixels was "
            "expected."
        )
    return int(limit)
