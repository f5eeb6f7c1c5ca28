"""What all estimators share: pickles that say who wrote them."""

import pickle

import pytest

import sklearn_l2cnn
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.feature_extraction import CNNFeatures
from sklearn_l2cnn.preprocessing import PixelScaler


@pytest.mark.parametrize(
    "estimator", [L2CNNClassifier(), CNNFeatures(L2CNNClassifier()), PixelScaler()]
)
def test_a_pickle_says_which_release_wrote_it(estimator):
    state = estimator.__getstate__()
    assert state["_sklearn_l2cnn_version"] == sklearn_l2cnn.__version__
    again = pickle.loads(pickle.dumps(estimator))
    assert vars(again).keys() == vars(estimator).keys()


def test_parameters_that_an_earlier_release_had_not_take_their_defaults():
    state = L2CNNClassifier(alpha=0.5).__getstate__()
    del state["cuda_graph"], state["label_smoothing"]
    state["_sklearn_l2cnn_version"] = "0.0.9"
    clf = L2CNNClassifier.__new__(L2CNNClassifier)
    with pytest.warns(UserWarning, match=r"0\.0\.9.*label_smoothing, cuda_graph: th"):
        clf.__setstate__(state)
    assert clf.get_params() == L2CNNClassifier(alpha=0.5).get_params()


def test_a_net_of_another_release_says_what_to_do(digits):
    X, y = digits
    clf = L2CNNClassifier(max_epochs=1).fit(X[:20], y[:20])
    state = clf.net_.__getstate__()
    del state["network"]
    with pytest.raises(ValueError, match=r"another release.*persistence\.save"):
        clf.net_.__setstate__(state)
