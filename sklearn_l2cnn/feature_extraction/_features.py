"""CNNFeatures: the outputs of layers of a network as features."""

import math
import os
import warnings
from itertools import chain
from numbers import Integral

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._classifier import L2CNNClassifier
from sklearn_l2cnn._data.arrays import give_back, on_host
from sklearn_l2cnn._data.validation import read_images
from sklearn_l2cnn._estimator.network import new_network
from sklearn_l2cnn._estimator.wrapping import WrappingMixin
from sklearn_l2cnn._training.chunks import known_of, over_chunks
from sklearn_l2cnn._training.runtime import autocast, isolated
from sklearn_l2cnn._utils.errors import check_finite
from sklearn_l2cnn._utils.estimators import all_or_nothing
from sklearn_l2cnn._utils.sklearn_compat import (
    HasMethods,
    StrOptions,
    check_feature_names_in,
    fit_context,
)
from sklearn_l2cnn._utils.surroundings import undisturbed
from sklearn_l2cnn._utils.trace import blank_image
from sklearn_l2cnn.feature_extraction._backbone import Backbone
from sklearn_l2cnn.feature_extraction._places import (
    POOLS,
    feature_names,
    find_places,
    pooled,
    pooled_shape,
    recording_places,
)

# Parameters of the network for images, and their defaults: a classifier as `estimator`
# has its own.
_NETWORK_PARAMETERS = {
    "image_shape": None,
    "channels": "last",
    "standardize": True,
    "device": "auto",
}


class CNNFeatures(WrappingMixin, TransformerMixin, BaseEstimator):
    """Features of images: the output of a layer of a convolutional network.

    A classifier trains the network, or the network is used as it is, already fitted or
    with published weights. The features, a row for each image, are the input of any
    other estimator.

    Parameters
    ----------
    estimator : estimator or str, default=None
        The source of the network.

        - A classifier, :class:`~sklearn_l2cnn.L2CNNClassifier` or a search over one:
          :meth:`fit` trains a clone on X and y. None is an ``L2CNNClassifier()``.
        - :class:`sklearn.frozen.FrozenEstimator` around a fitted one: nothing is
          trained.
        - A name of :func:`sklearn_l2cnn.architectures.list_architectures`, or
          ``"timm:NAME"``: a backbone with the weights of `pretrained`, without its last
          layer. Nothing is trained, and y is not needed.

    layer : str, int or list of such, default="last"
        The layer whose output is the features. ``"last"`` is the last hidden layer,
        that is the input of the last layer with weights. A name as in
        ``named_modules``, of a layer or of a module made of layers; an index into the
        layers in the order in which they run, negative to count from the end; or a
        pattern of :mod:`fnmatch` for the names of layers, or of modules that they lie
        in. The columns of several layers are concatenated.

    pool : {"flatten", "mean", "max"}, default="flatten"
        How maps ``(channels, height, width)`` become features: all values, or the mean
        or maximum of each channel over its pixels. Other outputs are flattened.

    pretrained : bool, str or path, default=False
        Weights of a backbone: True for those that torchvision or timm publishes, or the
        path of a state dict, as for ``L2CNNClassifier``.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. This
        and the next three parameters are only for a name, or None, as `estimator`; a
        classifier has its own.

    channels : {"last", "first"}, default="last"
        The position of the channels in images of four dimensions, and in the images
        that were flattened to rows.

    standardize : bool, default=True
        Whether the input of the network is ``(x - mean) / standard deviation`` of each
        channel, both over the weighted images passed to :meth:`fit`, or for published
        weights those that they were trained with.

    device : str or torch.device, default="auto"
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...; ``"auto"`` is CUDA where
        there is one, else another accelerator that torch names, else the CPU.

    random_state : int, RandomState instance or None, default=None
        Replaces the `random_state` of the estimator that is trained; None keeps it.

    Attributes
    ----------
    estimator_ : estimator
        The fitted classifier, or an estimator around the backbone.

    module_ : torch.nn.Module
        The network.

    layers_ : list of str
        Names of the layers of the features, or ``"last"``.

    n_features_in_ : int
        Number of values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X is a data frame whose names are all strings.

    image_shape_ : tuple of int
        ``(height, width, channels)``.

    See Also
    --------
    sklearn_l2cnn.L2CNNClassifier : The classifier that trains the network.
    sklearn_l2cnn.feature_selection.PixelSelector : The pixels that a network uses.

    Notes
    -----
    Images go through the network in chunks of one size, so that the features of an
    image do not depend on the other images. The network is in evaluation mode, and the
    features have its dtype, usually float32.

    For ``layer="last"`` the features times the weights of the last layer, plus its
    bias, are the logits of the classifier, unless it averages over views (`tta`).

    Put steps that precede the network in front of this transformer:
    ``make_pipeline(ImageReader(), CNNFeatures(L2CNNClassifier()), SVC())``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_l2cnn import L2CNNClassifier
    >>> from sklearn_l2cnn.feature_extraction import CNNFeatures
    >>> digits = load_digits()
    >>> X, y = digits.images[:300], digits.target[:300]
    >>> features = CNNFeatures(L2CNNClassifier(max_epochs=3, random_state=0))
    >>> features.fit_transform(X, y).shape
    (300, 128)
    >>> features.get_feature_names_out()[:3].tolist()
    ['last_0', 'last_1', 'last_2']
    >>> model = make_pipeline(features, LogisticRegression()).fit(X, y)
    >>> model.score(digits.images[300:600], digits.target[300:600]) > 0.8
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"]), str, None],
        "layer": [str, Integral, list, tuple],
        "pool": [StrOptions(set(POOLS))],
        "pretrained": ["boolean", str, os.PathLike],
        "image_shape": [tuple, list, None],
        "channels": [StrOptions({"last", "first"})],
        "standardize": ["boolean"],
        "device": [str, torch.device],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        layer="last",
        pool="flatten",
        pretrained=False,
        image_shape=None,
        channels="last",
        standardize=True,
        device="auto",
        random_state=None,
    ):
        self.estimator = estimator
        self.layer = layer
        self.pool = pool
        self.pretrained = pretrained
        self.image_shape = image_shape
        self.channels = channels
        self.standardize = standardize
        self.device = device
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)  # the estimator's are its own
    def fit(self, X, y=None, sample_weight=None, **fit_params):
        """Train the network, if it is not fitted, and find the layer.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels), \
                (n, channels, height, width) or (n, n_features)
            Images, or rows that are images flattened.
        y : array-like of shape (n,), default=None
            Labels; ignored if nothing is trained.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images, for the training or for the standardisation of the
            pixels. Ignored if the estimator is frozen.
        **fit_params : dict
            Further arguments of the ``fit`` of the estimator, such as `X_val` and
            `y_val`. With metadata routing, those that it requests.

        Returns
        -------
        self : object
        """
        with all_or_nothing(self):
            self._check_parameters()
            self._check_layer(X, y)
            clf = self._fit_estimator(X, y, sample_weight, fit_params)
            if not self._requires_y():
                self._check_images(X, "fit", stored=True)  # no estimator validated X
            network, headless = clf.module_, self._is_backbone()
            image = blank_image(network, clf.image_shape_)
            self._places_ = find_places(network, image, self.layer, headless)
            self.layers_ = [place.label for place in self._places_]
        return self

    @undisturbed()
    def transform(self, X):
        """Return the features of images.

        Parameters
        ----------
        X : array-like
            Images or rows of the same shape as in :meth:`fit`.

        Returns
        -------
        features : ndarray of shape (n, n_features_out)
            In the dtype of the network; float32 if numpy does not have it.
        """
        check_is_fitted(self)
        clf, images = self._check_images(X, "transform", stored=True)
        net = clf.net_
        widths = [math.prod(pooled_shape(p, self.pool)) for p in self._places_]
        features = torch.empty(
            (len(images), sum(widths)),
            # numpy has no bfloat16
            dtype=torch.float64 if net.dtype == torch.float64 else torch.float32,
            device=images.device,
        )
        columns = features.split(widths, dim=1)

        def of_chunk(part, chunk):
            with torch.inference_mode():
                with autocast(net.lower, chunk.device):
                    values = values_of(chunk)
                for column, value in zip(columns, values, strict=True):
                    column[part] = pooled(value, self.pool)[: part.stop - part.start]

        known = known_of(net, images)  # before `recording_places` adds hooks
        with recording_places(self._places_, net.module_) as values_of:
            over_chunks(net, images, of_chunk, known=known)
        check_finite(features, "The features")
        return give_back(features, X)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the features: the layer and the index in its output.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; they have no effect.

        Returns
        -------
        names : ndarray of str
            ``"<layer>_<unit>"``, ``"<layer>_<channel>_<row>_<column>"`` for maps, and
            ``"<layer>_<channel>"`` for pooled maps.
        """
        check_is_fitted(self)
        check_feature_names_in(self, input_features)
        names = (feature_names(place, self.pool) for place in self._places_)
        return np.array(list(chain(*names)), dtype=object)

    @property
    def module_(self):
        """The network, a torch.nn.Module."""
        return self._fitted_classifier().module_

    # -- private ----------------------------------------------------------------------

    def _is_backbone(self):
        return isinstance(self.estimator, str)

    def _default_estimator(self):
        mine = {name: getattr(self, name) for name in _NETWORK_PARAMETERS}
        if self._is_backbone():
            return Backbone(self.estimator, pretrained=self.pretrained, **mine)
        return L2CNNClassifier(**mine)

    def _check_parameters(self):
        """Raise if parameters would be ignored, or the weights were random."""
        if self._is_backbone():
            if self.pretrained is False:
                raise ValueError(
                    f"estimator={self.estimator!r} with pretrained=False would be a "
                    "network with random weights. Give pretrained=True, or the path of "
                    "a state dict; to train this network, pass "
                    f"L2CNNClassifier(architecture={self.estimator!r})."
                )
            return
        if self.pretrained is not False:
            raise ValueError(
                f"pretrained={self.pretrained!r} is for a name as estimator, such as "
                "CNNFeatures('resnet18', pretrained=True). To go on training published "
                "weights, pass L2CNNClassifier(architecture='resnet18', "
                "pretrained=True)."
            )
        if self.estimator is None:
            return
        for name, default in _NETWORK_PARAMETERS.items():
            value = getattr(self, name)
            if value != default:
                raise ValueError(
                    f"{name}={value!r} is for a name, or None, as estimator, and would "
                    f"be ignored here. Set it in the estimator: "
                    f"{type(self.estimator).__name__}({name}={value!r})."
                )

    def _check_layer(self, X, y):
        """Raise if the network has no such layer, before it is trained.

        Other errors are left to the training.
        """
        clf = self._estimator_to_fit()
        if self.layer == "last" or type(clf) is not L2CNNClassifier:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _, info = read_images(clf, X)
            shape, n_classes = info.image_shape, len(np.unique(on_host(y)))
            with isolated(0, torch.device("cpu")):
                network = new_network(clf, shape, n_classes)
        except Exception:
            return
        find_places(network, blank_image(network, shape), self.layer)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # the dtype is the network's
        return tags
