"""Meta-estimators around a classifier with a network, which they train or reuse."""

from sklearn.base import MetaEstimatorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from sklearn_l2cnn._data.arrays import origin_of
from sklearn_l2cnn._data.pixels import warn_about_units
from sklearn_l2cnn._data.validation import check_images
from sklearn_l2cnn._utils.estimators import EstimatorMixin, set_attributes
from sklearn_l2cnn._utils.sklearn_compat import check_same_namespace, routing_enabled
from sklearn_l2cnn._utils.unwrapping import SEARCHES, unwrap


def wrapped_classifier(estimator, caller):
    """Return the classifier inside a search or a FrozenEstimator, fitted or not.

    Parameters
    ----------
    estimator : estimator
    caller : str
        Class name of the meta-estimator, for error messages.

    Returns
    -------
    clf : estimator
        It has a network, or will have one once it is fitted.
    """
    if isinstance(estimator, type):
        raise TypeError(
            f"estimator={estimator.__name__} is a class; an estimator was expected, "
            f"{estimator.__name__}()."
        )
    _, inner = unwrap(estimator, _is_classifier_with_network, SEARCHES)
    if _is_classifier_with_network(inner):
        return inner
    if isinstance(inner, Pipeline):
        first, last = inner.steps[0][0], type(inner.steps[-1][1]).__name__
        raise ValueError(
            f"estimator is a Pipeline, but {caller} needs the network alone: it would "
            f"bypass the step {first!r}. Put the steps in front of this transformer: "
            f"make_pipeline(..., {caller}({last}()))."
        )
    raise TypeError(
        f"estimator={estimator!r} has no network: an L2CNNClassifier, a search over "
        "one, or sklearn.frozen.FrozenEstimator around a fitted one was expected."
    )


def _is_classifier_with_network(estimator):
    # a search that is a classifier itself still has the best one inside
    return hasattr(type(estimator), "module_") and not hasattr(
        estimator, "best_estimator_"
    )


class WrappingMixin(EstimatorMixin, MetaEstimatorMixin):
    """Methods of meta-estimators that train a classifier and use its network.

    Subclasses have the parameters `estimator` and `random_state`, define
    `_default_estimator`, and call `_fit_estimator` in their `fit`.
    """

    def get_metadata_routing(self):
        """Get the metadata routing: all metadata of :meth:`fit` go to the estimator.

        Returns
        -------
        routing : MetadataRouter
        """
        # pipelines ask for fit_transform, which a router of scikit-learn 1.6 omits
        mapping = MethodMapping().add(caller="fit", callee="fit")
        mapping.add(caller="fit_transform", callee="fit")
        router = MetadataRouter(owner=self.__class__.__name__)
        return router.add(estimator=self._estimator_to_fit(), method_mapping=mapping)

    def _estimator_to_fit(self):
        """Return the estimator of which :meth:`fit` fits a clone."""
        if self.estimator is not None and not isinstance(self.estimator, str):
            return self.estimator
        estimator = self._default_estimator()
        if routing_enabled():  # the user has no estimator to set the request of
            estimator.set_fit_request(sample_weight=True)
        return estimator

    def _default_estimator(self):
        """Return the estimator for None, or for a name, as `estimator`."""
        raise NotImplementedError

    def _requires_y(self):
        """Say whether :meth:`fit` needs y: only if it trains the network."""
        return not isinstance(self.estimator, FrozenEstimator | str)

    def _with_random_state(self, estimator):
        """Set `random_state`, unless None, in an estimator and those inside it."""
        if self.random_state is None or isinstance(estimator, FrozenEstimator):
            return estimator
        names = [
            name
            for name in estimator.get_params()
            if name == "random_state" or name.endswith("__random_state")
        ]
        return estimator.set_params(**dict.fromkeys(names, self.random_state))

    def _fitted_classifier(self):
        """Return the fitted classifier that has the network."""
        return wrapped_classifier(self.estimator_, type(self).__name__)

    def _fit_estimator(self, X, y, sample_weight, fit_params):
        """Fit a clone of the estimator and set the attributes that describe X.

        Returns
        -------
        clf : estimator
            The fitted classifier that has the network.
        """
        estimator = self._estimator_to_fit()
        wrapped_classifier(estimator, type(self).__name__)  # raises before training
        params = dict(fit_params)
        if sample_weight is not None:
            params["sample_weight"] = sample_weight
        if isinstance(estimator, FrozenEstimator):
            params = {}  # nothing is trained
        elif routing_enabled():
            params = process_routing(self, "fit", **params).estimator.fit
        self.estimator_ = self._with_random_state(clone(estimator)).fit(X, y, **params)
        clf = self._fitted_classifier()
        set_attributes(self, clf._summary_.info.attributes())
        self._origin_ = origin_of(X)
        return clf

    def _check_images(self, X, method, stored=False):
        """Validate images for the network; return the classifier and the images."""
        clf = self._fitted_classifier()
        check_same_namespace(X, self, attribute="_origin_", method=method)
        images = check_images(self, X, channels=clf.channels, stored=stored)
        warn_about_units(images, clf._summary_.unit)
        return clf, images

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = self._requires_y()
        tags.array_api_support = True
        return tags
