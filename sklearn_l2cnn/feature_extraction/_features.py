"""CNNFeatures: what a layer of a network makes of images, as columns for others."""

import os
import warnings
from numbers import Integral

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_l2cnn._classifier import L2CNNClassifier
from sklearn_l2cnn._data.arrays import give_back, on_host
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn._estimator.wrapping import HoldingMixin
from sklearn_l2cnn._training.chunks import chunk_threads, over_chunks
from sklearn_l2cnn._training.runtime import autocast, isolated
from sklearn_l2cnn._utils.estimators import all_or_nothing
from sklearn_l2cnn._utils.sklearn_compat import (
    HasMethods,
    StrOptions,
    check_feature_names_in,
    fit_context,
    routing_enabled,
)
from sklearn_l2cnn._utils.trace import blank_image
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.feature_extraction._backbone import Backbone
from sklearn_l2cnn.feature_extraction._places import (
    POOLS,
    feature_names,
    find_places,
    looking_at,
    n_features,
    pooled,
)

# What is said of the images where there is no estimator to say it.
_OF_A_NAME = {
    "image_shape": None,
    "channels": "last",
    "standardize": True,
    "device": "auto",
}


class CNNFeatures(HoldingMixin, TransformerMixin, BaseEstimator):
    """Features of images: what a layer of a convolutional network makes of them.

    The network is trained by a classifier, or taken as it is, fitted before or with
    published weights. Its values go to any other estimator, a row for every image.

    Parameters
    ----------
    estimator : estimator or str, default=None
        Where the network comes from.

        - A classifier, :class:`~sklearn_l2cnn.L2CNNClassifier` or a search over one: a
          clone is trained in :meth:`fit`, on X and y. None is an ``L2CNNClassifier()``.
        - :class:`sklearn.frozen.FrozenEstimator` around one that is fitted: nothing is
          trained.
        - A name of :func:`sklearn_l2cnn.architectures.list_architectures`: a backbone
          with the weights that `pretrained` says, without its last layer. Nothing is
          trained, and y is not needed.

    layer : str, int or list of such, default="last"
        Where the features are taken: what a layer gives out. ``"last"`` is the last
        hidden layer, that is what the last layer with weights is given. A name as in
        ``named_modules``, of a layer or of a part made of layers; an index into the
        layers in the order in which they run, from the end where it is negative; a
        pattern of :mod:`fnmatch`, which takes every layer that it means. Of several the
        columns stand side by side.

    pool : {"flatten", "mean", "max"}, default="flatten"
        What becomes of maps ``(channels, height, width)``: all their values, or one for
        every channel, over its pixels. What has no three dimensions is flattened.

    pretrained : bool, str or path, default=False
        Weights of a name: True those that torchvision publishes, or the path of a state
        dict, as for ``L2CNNClassifier``.

    image_shape : tuple of int, default=None
        ``(height, width)`` or ``(height, width, channels)``, for X given as rows. This
        and the next three are for a name, or for None, as `estimator`; a classifier
        has its own.

    channels : {"last", "first"}, default="last"
        Where the channels stand in images of four dimensions, and in the images that
        rows are flattened from.

    standardize : bool, default=True
        Whether the network sees ``(x - mean) / deviation`` of every channel, both over
        the weighted images that :meth:`fit` sees.

    device : str or torch.device, default="auto"
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...; ``"auto"`` takes CUDA where
        there is some.

    random_state : int, RandomState instance or None, default=None
        Replaces the `random_state` of the estimator that is trained; None leaves its
        own.

    Attributes
    ----------
    estimator_ : estimator
        The fitted classifier, or what holds the backbone.

    module_ : torch.nn.Module
        The network.

    layers_ : list of str
        What the features are called after: names of layers, and ``"last"``.

    n_features_in_ : int
        Values in an image: height x width x channels.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X is a data frame whose names are all strings.

    image_shape_ : tuple of int
        ``(height, width, channels)``.

    See Also
    --------
    sklearn_l2cnn.L2CNNClassifier : The classifier that trains the network.
    sklearn_l2cnn.feature_selection.PixelSelector : The pixels that a network looks at.

    Notes
    -----
    Images go through the network in chunks of one size, so that the features of an
    image do not depend on the images beside it. The network is in evaluation mode, and
    its features have the dtype that it computes in, float32 as a rule.

    For ``layer="last"`` the features times the weights of the last layer, plus its
    bias, are the logits of the classifier, unless it averages over views (`tta`).

    Steps in front of the network belong in front of this transformer:
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
        """Train the network, or look at what is there, and find the layer.

        Parameters
        ----------
        X : array-like of shape (n, height, width), (n, height, width, channels), \
                (n, channels, height, width) or (n, n_features)
            Images, or rows that are images flattened.
        y : array-like of shape (n,), default=None
            Labels; ignored where nothing is trained.
        sample_weight : array-like of shape (n,), default=None
            Weights of the images, for the classifier or for what pixels are
            standardised with. Ignored by what is frozen.
        **fit_params : dict
            What else the ``fit`` of the estimator takes, such as `X_val` and `y_val`.
            With metadata routing it gets what it requests.

        Returns
        -------
        self : object
        """
        with all_or_nothing(self):
            self._refuse_contradictions()
            self._try_layer(X, y)
            clf = self._fit_held(X, y, sample_weight, fit_params)
            if not self._takes_labels():
                self._check_images(X, "fit")  # what is frozen has not looked
            network = clf.module_
            self._places_ = find_places(
                network,
                blank_image(network, clf.image_shape_),
                self.layer,
                headless=self._is_backbone(),
            )
            self.layers_ = [place.label for place in self._places_]
        return self

    def transform(self, X):
        """Return the features of images.

        Parameters
        ----------
        X : array-like
            Images or rows of the shape that was fitted.

        Returns
        -------
        features : ndarray of shape (n, n_features_out)
            In the dtype that the network computes in.
        """
        check_is_fitted(self)
        clf, images = self._check_images(X, "transform")
        net = clf.net_
        widths = [n_features(place, self.pool) for place in self._places_]
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

        threads = chunk_threads(net.module_)  # before there is a hook of our own
        with looking_at(self._places_, net.module_) as values_of:
            over_chunks(net, images, of_chunk, threads=threads)
        return give_back(features, X)

    def get_feature_names_out(self, input_features=None):
        """Name the features: the layer, and where in it each one is.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; they play no part.

        Returns
        -------
        names : ndarray of str
            ``"<layer>_<unit>"``, ``"<layer>_<channel>_<row>_<column>"`` of maps, and
            ``"<layer>_<channel>"`` of maps that are pooled.
        """
        check_is_fitted(self)
        check_feature_names_in(self, input_features)
        names = [
            name for place in self._places_ for name in feature_names(place, self.pool)
        ]
        return np.array(names, dtype=object)

    @property
    def module_(self):
        """The network, a torch.nn.Module."""
        return self._held().module_

    # -- private ----------------------------------------------------------------------

    def _is_backbone(self):
        return isinstance(self.estimator, str)

    def _takes_labels(self):
        return not self._is_backbone() and super()._takes_labels()

    def _to_fit(self):
        mine = {name: getattr(self, name) for name in _OF_A_NAME}
        if self.estimator is None:
            estimator = L2CNNClassifier(**mine)
        elif self._is_backbone():
            estimator = Backbone(self.estimator, pretrained=self.pretrained, **mine)
        else:
            return self.estimator
        if routing_enabled():  # nobody else could ask for it
            estimator.set_fit_request(sample_weight=True)
        return estimator

    def _refuse_contradictions(self):
        """Raise where parameters would be ignored, or nothing be learnt at all."""
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
        for name, default in _OF_A_NAME.items():
            value = getattr(self, name)
            if value != default:
                raise ValueError(
                    f"{name}={value!r} is for a name, or None, as estimator, and would "
                    f"be ignored here. Set it in the estimator: "
                    f"{type(self.estimator).__name__}({name}={value!r})."
                )

    def _try_layer(self, X, y):
        """Look for `layer` in a network like the one to come, before it is trained.

        What else may be wrong is for the training to say.
        """
        clf = self._to_fit()
        if self.layer == "last" or type(clf) is not L2CNNClassifier:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                images = as_images(
                    X, image_shape=clf.image_shape, channels=clf.channels
                )
            height, width, depth = shape = images.shape[1:]
            with isolated(0, torch.device("cpu")):
                network = build_network(
                    clf.architecture,
                    (depth, height, width),
                    len(np.unique(on_host(y))),
                    dropout=clf.dropout,
                    pretrained=clf.pretrained,
                )
        except Exception:
            return
        find_places(network, blank_image(network, shape), self.layer)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # it is the network's
        return tags
