"""Estimators that hold another with a network, which they train or take as it is."""

from sklearn.base import MetaEstimatorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import validate_data

from sklearn_l2cnn._data.arrays import origin_of
from sklearn_l2cnn._data.images import as_images
from sklearn_l2cnn._data.pixels import warn_about_units
from sklearn_l2cnn._data.validation import check_namespace
from sklearn_l2cnn._utils.estimators import (
    DocumentationMixin,
    features_of,
    set_attributes,
)
from sklearn_l2cnn._utils.sklearn_compat import BaseSearchCV, routing_enabled


def held(estimator, who):
    """Return the classifier inside a search or a FrozenEstimator, fitted or not.

    Parameters
    ----------
    estimator : estimator
    who : str
        Name of the class that holds it, for the messages.

    Returns
    -------
    clf : estimator
        One that has a network, or will have one.
    """
    if isinstance(estimator, type):
        raise TypeError(
            f"estimator={estimator.__name__} is a class; an estimator was expected, "
            f"{estimator.__name__}()."
        )
    inner = estimator
    while True:
        if hasattr(inner, "best_estimator_"):
            inner = inner.best_estimator_
        elif isinstance(inner, FrozenEstimator | BaseSearchCV):
            inner = inner.estimator
        else:
            break
    if hasattr(type(inner), "module_"):
        return inner
    if isinstance(inner, Pipeline):
        first, last = inner.steps[0][0], type(inner.steps[-1][1]).__name__
        raise ValueError(
            f"estimator is a Pipeline, and {who} needs the network alone: what the "
            f"step {first!r} makes of the images it would not see. Put the steps in "
            f"front of this transformer: make_pipeline(..., {who}({last}()))."
        )
    raise TypeError(
        f"estimator={estimator!r} has no network: an L2CNNClassifier, a search over "
        "one, or sklearn.frozen.FrozenEstimator around one that is fitted was expected."
    )


class HoldingMixin(DocumentationMixin, MetaEstimatorMixin):
    """What estimators have in common that train a classifier and look into it.

    They have parameters `estimator` and `random_state` and supply `_to_fit`, which
    returns the estimator that is cloned and fitted; `_fit_held` fits it.
    """

    def get_metadata_routing(self):
        """Get the routing of metadata: what :meth:`fit` is given goes to the estimator.

        Returns
        -------
        routing : MetadataRouter
        """
        # pipelines ask for fit_transform, of which a router of 1.6 knows nothing
        mapping = MethodMapping().add(caller="fit", callee="fit")
        mapping.add(caller="fit_transform", callee="fit")
        router = MetadataRouter(owner=self.__class__.__name__)
        return router.add(estimator=self._to_fit(), method_mapping=mapping)

    def _to_fit(self):
        raise NotImplementedError

    def _takes_labels(self):
        """Say whether y is needed: not where nothing is trained."""
        return not isinstance(self.estimator, FrozenEstimator)

    def _seeded(self, estimator):
        """Give an estimator, and those inside it, the random state, if there is one."""
        if self.random_state is None or isinstance(estimator, FrozenEstimator):
            return estimator
        names = [
            name
            for name in estimator.get_params()
            if name == "random_state" or name.endswith("__random_state")
        ]
        return estimator.set_params(**dict.fromkeys(names, self.random_state))

    def _held(self):
        """Return the classifier that has the network."""
        return held(self.estimator_, type(self).__name__)

    def _fit_held(self, X, y, sample_weight, fit_params):
        """Fit a clone of the estimator and set what is known of the images.

        Returns
        -------
        clf : estimator
            The one with the network.
        """
        estimator = self._to_fit()
        held(estimator, type(self).__name__)
        params = dict(fit_params)
        if sample_weight is not None:
            params["sample_weight"] = sample_weight
        if isinstance(estimator, FrozenEstimator):
            params = {}  # nothing is trained
        elif routing_enabled():
            params = process_routing(self, "fit", **params).estimator.fit
        self.estimator_ = self._seeded(clone(estimator)).fit(X, y, **params)
        clf = self._held()
        set_attributes(self, features_of(clf))
        self.image_shape_ = clf.image_shape_
        self._origin_ = origin_of(X)
        return clf

    def _check_images(self, X, method):
        """Validate images for the network that is held, and return both."""
        clf = self._held()
        check_namespace(self, X, "_origin_", method)
        validate_data(self, X=X, reset=False, skip_check_array=True, ensure_2d=False)
        images = as_images(
            X, channels=clf.channels, expected=clf.image_shape_, estimator=self
        )
        warn_about_units(images, clf._summary_.unit)
        return clf, images

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.required = self._takes_labels()
        tags.array_api_support = True
        return tags
