"""An estimator around a network with given weights, which is not trained."""

import numpy as np
from sklearn.base import BaseEstimator
from skorch.utils import get_map_location

from sklearn_l2cnn._data.canonical import canonical_set, survey
from sklearn_l2cnn._data.pixels import unit_of
from sklearn_l2cnn._data.validation import check_weight, read_images
from sklearn_l2cnn._estimator.data import (
    DataSummary,
    given_pixels,
    statistics_of,
)
from sklearn_l2cnn._estimator.prediction import PredictionMixin
from sklearn_l2cnn._training.net import Net
from sklearn_l2cnn._training.net_state import network_of_state, state_of_network
from sklearn_l2cnn._training.runtime import isolated
from sklearn_l2cnn._utils.devices import resolve_device
from sklearn_l2cnn._utils.estimators import set_attributes
from sklearn_l2cnn._utils.layers import compute_dtype
from sklearn_l2cnn.architectures import build_backbone
from sklearn_l2cnn.architectures._recipe import Recipe, recipe_of


class EvaluationNet:
    """A network that is only evaluated, with the attributes that `over_chunks` uses.

    Parameters
    ----------
    module : torch.nn.Module
    mean, scale : ndarray of shape (channels,)
        Mean and standard deviation that standardise each channel.
    device : torch.device
    recipe : Recipe or None
        What the module is made by.
    """

    lower = threads = None

    def __init__(self, module, mean, scale, device, recipe):
        self.module_ = module
        self.mean = mean
        self.scale = scale
        self.dtype = compute_dtype(module)
        self.device = str(device)
        self.recipe = recipe

    pixels, to_device = Net.pixels, Net.to_device

    def __getstate__(self):
        state = dict(vars(self))
        network = state_of_network(state.pop("module_"), self.recipe)
        return {**state, **network, "recipe": None, "dtype": None}

    def __setstate__(self, state):
        state = dict(state)
        recipe = state["weights"] and Recipe(*state["network"])
        network = network_of_state(state)
        vars(self).update(
            state, module_=network, recipe=recipe, dtype=compute_dtype(network)
        )
        self.device = str(get_map_location(self.device))


class Backbone(BaseEstimator):
    """A named network with given weights, without its last layer.

    Fitting only learns the mean and the standard deviation of each channel.

    Parameters
    ----------
    architecture, pretrained, image_shape, channels, standardize, device
        As for `CNNFeatures`.
    """

    def __init__(
        self,
        architecture,
        *,
        pretrained=True,
        image_shape=None,
        channels="last",
        standardize=True,
        device="auto",
    ):
        self.architecture = architecture
        self.pretrained = pretrained
        self.image_shape = image_shape
        self.channels = channels
        self.standardize = standardize
        self.device = device

    def fit(self, X, y=None, sample_weight=None):
        """Build the network for images of the shape of X."""
        device = resolve_device(self.device)
        images, info = read_images(self, X, stored=True)
        set_attributes(self, info.attributes())
        weight = check_weight(sample_weight, images)
        height, width, depth = self.image_shape_
        shape = depth, height, width
        with isolated(0, device):  # the given weights replace all that is drawn
            network = build_backbone(self.architecture, shape, self.pretrained)
        statistics = given = None
        if self.standardize:
            # merged and sorted, so that the order of the rows has no effect
            found = survey(images)
            data = canonical_set(found, np.zeros(len(images), dtype=int), weight)
            statistics = statistics_of(found.moments, data)
            given = given_pixels(self, info, found.moments)
        summary = DataSummary(info, None, unit_of(images), None, statistics, given)
        self._summary_ = summary
        pixels = self._summary_.pixels(self.standardize)
        recipe = recipe_of(network.eval(), self.architecture, None, shape, 2)
        self.net_ = EvaluationNet(network, *pixels, device, recipe)
        return self

    module_ = PredictionMixin.module_
    device_ = PredictionMixin.device_
