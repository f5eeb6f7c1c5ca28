"""Which classes and functions a file may name; nothing else is ever looked up."""

import importlib
from collections.abc import Hashable
from functools import cache

# By module; None is every class and function that it exports.
_PUBLIC = {
    "sklearn_l2cnn": ("L2CNNClassifier", "L2CNNClassifierCV", "L2CNNSearchCV"),
    "sklearn_l2cnn.augmentation": None,
    "sklearn_l2cnn.feature_extraction": None,
    "sklearn_l2cnn.feature_selection": None,
    "sklearn_l2cnn.penalties": None,
    "sklearn_l2cnn.preprocessing": None,
    "sklearn.compose": ("ColumnTransformer",),
    "sklearn.decomposition": ("PCA",),
    "sklearn.discriminant_analysis": ("LinearDiscriminantAnalysis",),
    "sklearn.frozen": ("FrozenEstimator",),
    "sklearn.linear_model": ("LogisticRegression", "RidgeClassifier"),
    "sklearn.metrics": None,
    "sklearn.model_selection": (
        *("GroupKFold", "KFold", "RepeatedStratifiedKFold", "ShuffleSplit"),
        *("StratifiedGroupKFold", "StratifiedKFold", "StratifiedShuffleSplit"),
    ),
    "sklearn.naive_bayes": ("GaussianNB",),
    "sklearn.pipeline": ("FeatureUnion", "Pipeline"),
    "sklearn.preprocessing": (
        *("MaxAbsScaler", "MinMaxScaler", "Normalizer", "RobustScaler"),
        "StandardScaler",
    ),
    "sklearn.svm": ("SVC",),
    "torch.optim": (
        *("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "NAdam"),
        *("RAdam", "RMSprop", "Rprop", "SGD"),
    ),
}

# What estimators are made of, by the name that files know it by: files are read by
# later releases, in which it may lie elsewhere.
_PARTS = {
    "backbone": "sklearn_l2cnn.feature_extraction._backbone.Backbone",
    "backbone net": "sklearn_l2cnn.feature_extraction._backbone.EvaluationNet",
    "frozen": "sklearn_l2cnn._training.freezing.Frozen",
    "info": "sklearn_l2cnn._data.validation.InputInfo",
    "net": "sklearn_l2cnn._training.net.Net",
    "objective": "sklearn_l2cnn._training.regularization.Objective",
    "place": "sklearn_l2cnn.feature_extraction._places.Place",
    "plan": "sklearn_l2cnn.augmentation.Plan",
    "scorer": "sklearn.metrics._scorer._Scorer",
    "score": "sklearn.metrics._scorer._PassthroughScorer",
    "summary": "sklearn_l2cnn._estimator.data.DataSummary",
    "timer": "skorch.callbacks.logging.EpochTimer",
}

# Those that hold a network.
NETS = "net", "backbone net"


def named(name):
    """Return the class or function of a name in a file, None if it is not allowed."""
    return _by_name().get(name)


def name_of(value):
    """Return the name of a class or function in files, None if it has none."""
    return _names().get(value) if isinstance(value, Hashable) else None


@cache
def _by_name():
    found = {name: _looked_up(path) for name, path in _PARTS.items()}
    for path, names in _PUBLIC.items():
        module = importlib.import_module(path)
        for name in module.__all__ if names is None else names:
            value = getattr(module, name)
            if callable(value):
                found[f"{path}.{name}"] = value
    return found


@cache
def _names():
    return {value: name for name, value in _by_name().items()}


def _looked_up(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def trusted():
    """List what skops has to trust for every estimator of the package.

    Returns
    -------
    names : list of str
        Of classes and functions, where they are defined.
    """
    values = _by_name().values()
    return sorted({f"{value.__module__}.{value.__qualname__}" for value in values})
