"""PixelSelector: importances by definition, and known informative pixels."""

import pickle
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.utils import estimator_checks
from torch import nn

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._training import chunks
from sklearn_l2cnn._training.runtime import torch_threads
from sklearn_l2cnn.datasets import make_shapes
from sklearn_l2cnn.feature_selection import PixelSelector, _contributions
from sklearn_l2cnn.feature_selection._contributions import _slope
from tests.conftest import SmallNet, double, quick
from tests.feature_extraction.test_features import assert_all_checks, network_input

pytestmark = pytest.mark.usefixtures("a_build_for_cuda_is_no_device")

TILE = slice(0, 8), slice(8, 16)


def four_shapes(n, seed, noise=0.1):
    """Make images of four shapes, of which the one at the upper right is the label.

    The other three quarters of the pixels have the same contrast, but no information.
    """
    rng = np.random.RandomState(seed)
    images = np.empty((n, 16, 16), dtype=np.uint8)
    for k, corner in enumerate(np.ndindex(2, 2)):
        shapes = make_shapes(n, size=8, noise=noise, random_state=rng.randint(10**6))
        place = tuple(slice(8 * c, 8 * c + 8) for c in corner)
        images[:, *place] = shapes.images[rng.permutation(n) if k != 1 else slice(n)]
        if k == 1:
            target = shapes.target
    return images, target


def informative():
    """Return a mask of the pixels whose share of shapes depends on the class."""
    shapes = make_shapes(4000, size=8, noise=0, random_state=0)
    often = [shapes.masks[shapes.target == k].mean(axis=0) for k in range(4)]
    mask = np.zeros((16, 16), dtype=bool)
    mask[TILE] = np.ptp(often, axis=0) > 0.15
    return mask


def selector(**parameters):
    own = ("threshold", "max_features", "output", "fill_value", "n_steps")
    mine = {name: parameters.pop(name) for name in own if name in parameters}
    return PixelSelector(quick(**parameters), **mine)


# -- conformance ----------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "parameters",
    [{}, {"output": "images", "threshold": "median"}, {"max_features": 1}],
    ids=str,
)
def test_check_estimator(parameters):
    assert_all_checks(selector(**parameters))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_check_estimator_of_the_default():
    assert_all_checks(PixelSelector())


@pytest.mark.parametrize(
    "check",
    [
        "check_param_validation",
        "check_dataframe_column_names_consistency",
        "check_inplace_ensure_writeable",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_set_output_transform_polars",
        "check_global_output_transform_pandas",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
    ],
)
@pytest.mark.parametrize("output", ["rows", "images"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_checks_outside_check_estimator(check, output):
    getattr(estimator_checks, check)("PixelSelector", selector(output=output))


@pytest.mark.parametrize("output", ["rows", "images"])
def test_set_output_makes_frames_of_rows_alone(digits, output):
    X, y = digits
    plain = selector(output=output, max_features=9, max_epochs=1, random_state=0)
    framed = clone(plain).set_output(transform="pandas")
    found, expected = framed.fit_transform(X, y), plain.fit_transform(X, y)
    assert np.array_equal(found, expected)
    assert type(found) is (pd.DataFrame if output == "rows" else np.ndarray)


def test_no_tag_relaxes_a_check():
    tags = PixelSelector().__sklearn_tags__()
    assert tags.requires_fit and not tags.no_validation and not tags._skip_test
    assert not tags.non_deterministic and not tags.input_tags.allow_nan
    assert tags.input_tags.two_d_array and tags.array_api_support
    assert tags.target_tags.required


# -- importances ----------------------------------------------------------------------


def log_odds(logits, label):
    others = np.delete(logits, label)
    return logits[label] - np.log(np.exp(others).sum())


def by_definition(clf, X, y, weight, n_steps):
    """Integrate one image after the other, the derivative by central differences."""
    network = copied_in_float64(clf.module_)
    images = network_input(clf, X).double().numpy()
    share = weight / weight.sum()
    mean = np.tensordot(share, images, axes=1)
    total = np.zeros_like(mean)
    for image, label, part in zip(images, y, share, strict=True):
        for step in range(n_steps):
            point = mean + (step + 0.5) / n_steps * (image - mean)
            for place in np.ndindex(mean.shape):
                sides = []
                for move in (1e-6, -1e-6):
                    moved = point.copy()
                    moved[place] += move
                    with torch.no_grad():
                        logits = network(torch.tensor(moved)[None])[0].numpy()
                    sides.append(log_odds(logits, label))
                slope = (sides[0] - sides[1]) / 2e-6
                total[place] += part * slope * (image - mean)[place] / n_steps
    return total.sum(axis=0)


def copied_in_float64(module):
    return pickle.loads(pickle.dumps(module)).eval().double()


@pytest.mark.long
@pytest.mark.parametrize("architecture", [double, SmallNet])
def test_importances_are_those_of_the_definition(colours, architecture):
    X, y = colours[0][:12, :3, :2], colours[1][:12]
    weight = np.arange(12) % 3 + 0.5
    found = selector(architecture=architecture, n_steps=3).fit(X, y, weight)
    # in bytes, as the formula of the input takes them
    expected = by_definition(found.estimator_, 255 * X, y, weight, n_steps=3)
    np.testing.assert_allclose(found.pixel_importances_, expected, rtol=1e-3, atol=1e-5)
    assert found.pixel_importances_.shape == (3, 2)


def linear(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), n_classes))


def test_importances_of_a_linear_network_are_weights_times_differences():
    X, y = load_digits(return_X_y=True)
    rows = (y < 2).nonzero()[0][:100]
    X, y = X[rows].reshape(-1, 8, 8), y[rows]
    found = selector(architecture=linear, n_steps=1).fit(X, y)
    weight = found.estimator_.module_[1].weight.detach().numpy()
    slope = (weight[1] - weight[0]) / found.estimator_.channel_scale_[0]
    signs = np.where(y == 1, 1, -1)[:, np.newaxis]
    expected = (signs * (X - X.mean(axis=0)).reshape(len(X), -1) * slope).mean(axis=0)
    np.testing.assert_allclose(
        found.pixel_importances_.ravel(), expected, rtol=1e-4, atol=1e-6
    )
    again = PixelSelector(FrozenEstimator(found.estimator_), n_steps=7).fit(X, y)
    np.testing.assert_allclose(
        again.pixel_importances_, found.pixel_importances_, rtol=1e-4, atol=1e-6
    )


def test_importances_sum_to_the_gain_of_the_images_over_their_mean(digits):
    X, y = digits
    found = PixelSelector(quick(max_epochs=20), n_steps=200).fit(X, y)
    clf, images = found.estimator_, network_input(found.estimator_, X)
    with torch.no_grad():
        logits = clf.module_(images).numpy()
        of_mean = clf.module_(images.mean(dim=0, keepdim=True)).numpy()[0]
    gains = [
        log_odds(row, label) - log_odds(of_mean, label)
        for row, label in zip(logits, y, strict=True)
    ]
    assert found.pixel_importances_.sum() == pytest.approx(np.mean(gains), rel=1e-3)
    assert np.mean(gains) > 1


def test_constant_pixels_contribute_nothing(digits):
    X, y = digits[0].copy(), digits[1]
    X[:, 2, 3:6] = 200
    found = selector(threshold=1e-6).fit(X, y)
    assert abs(found.pixel_importances_[2, 3:6]).max() < 1e-9
    assert found.support_.any() and not found.support_[2, 3:6].any()


def recall(seed, n, max_epochs):
    X, y = four_shapes(n, seed)
    wanted = informative()
    clf = L2CNNClassifier(alpha=0.1, max_epochs=max_epochs, random_state=seed)
    found = PixelSelector(clf, max_features=int(wanted.sum())).fit(X, y)
    assert found.support_.sum() == wanted.sum()
    return (found.support_ & wanted).sum() / wanted.sum()


@pytest.mark.long
def test_known_pixels_are_found_far_better_than_by_chance():
    assert informative().sum() == 58  # of 256
    assert recall(seed=0, n=400, max_epochs=5) >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_known_pixels_are_found(seed):
    assert recall(seed, n=1200, max_epochs=8) >= 0.9


def test_the_only_informative_pixel_comes_first():
    rng = np.random.RandomState(0)
    X = rng.randint(0, 256, size=(300, 6, 5, 3)).astype(np.uint8)
    y = np.where(X[:, 4, 1, 2] > 127, "high", "low")
    found = selector(architecture=linear, lr=0.01, max_epochs=30, max_features=1).fit(
        X, y
    )
    assert np.argwhere(found.support_).tolist() == [[4, 1]]
    assert found.get_support().sum() == 3  # with all its channels
    assert found.transform(X[:2]).tolist() == X[:2, 4, 1].tolist()


# -- weights, order, devices ----------------------------------------------------------


def test_weights_are_exact(digits):
    X, y = digits[0][:90], digits[1][:90]
    weight = np.arange(90) % 3
    expected = selector().fit(X, y, sample_weight=weight)
    order = np.random.RandomState(0).permutation(weight.sum())
    repeats = np.repeat(np.arange(90), weight)[order]
    for other in (
        selector().fit(X, y, sample_weight=7 * weight),
        selector().fit(X[repeats], y[repeats]),
    ):
        assert np.array_equal(other.pixel_importances_, expected.pixel_importances_)
    plain = selector().fit(X, y)
    assert not np.array_equal(plain.pixel_importances_, expected.pixel_importances_)
    # in the importances too, with the same network
    frozen = PixelSelector(FrozenEstimator(plain.estimator_))
    one, other = (frozen.fit(X, y, w).pixel_importances_ for w in (None, weight))
    assert not np.allclose(one, other)
    kept = frozen.fit(X[weight > 0], y[weight > 0], weight[weight > 0])
    assert np.array_equal(kept.pixel_importances_, other)


def test_importances_in_chunks_and_under_other_modes(digits, monkeypatch):
    X, y = digits
    expected = selector(architecture=SmallNet).fit(X, y)
    frozen = PixelSelector(FrozenEstimator(expected.estimator_))
    before = pickle.dumps(expected.estimator_.module_.state_dict())
    with torch.inference_mode():
        again = clone(frozen).fit(X, y).pixel_importances_
    assert np.array_equal(again, expected.pixel_importances_)
    with torch.no_grad():
        again = clone(frozen).fit(X, y).pixel_importances_
    assert np.array_equal(again, expected.pixel_importances_)
    monkeypatch.setattr(chunks, "_known", {})
    monkeypatch.setattr(chunks, "_MOST_ROWS", 8)
    again = clone(frozen).fit(X, y).pixel_importances_
    np.testing.assert_allclose(again, expected.pixel_importances_, rtol=1e-4, atol=1e-6)
    assert pickle.dumps(expected.estimator_.module_.state_dict()) == before
    assert all(p.grad is None for p in expected.estimator_.module_.parameters())


def test_importances_do_not_depend_on_the_number_of_threads(digits, monkeypatch):
    X, y = digits
    frozen = PixelSelector(FrozenEstimator(quick().fit(X, y)))
    monkeypatch.setattr(chunks, "_known", {})
    monkeypatch.setattr(chunks, "_MOST_ROWS", 32)
    monkeypatch.setattr(chunks, "_WORTH_A_THREAD", 1)
    found, used = {}, set()

    def recorded_slope(*args):
        used.add(threading.get_ident())
        return _slope(*args)

    monkeypatch.setattr(_contributions, "_slope", recorded_slope)
    for threads in (1, 2, 5):
        used.clear()
        with torch_threads(threads), torch.inference_mode(threads == 5):
            found[threads] = clone(frozen).fit(X, y).pixel_importances_
        # in the threads of a pool, or in this one
        assert (threading.get_ident() in used) is (threads == 1)
    assert np.array_equal(found[1], found[2]) and np.array_equal(found[1], found[5])


def test_devices_and_precisions(digits, device):
    X, y = digits
    expected = selector().fit(X, y).pixel_importances_
    for precision, tolerance in (("float32", 1e-3), ("bfloat16", 0.1)):
        clf = quick(device=device, precision=precision)
        found = PixelSelector(clf).fit(X, y).pixel_importances_
        assert abs(found - expected).max() < tolerance * abs(expected).max() + 0.05


# -- selection ------------------------------------------------------------------------


class Known(BaseEstimator):
    def __init__(self, importances):
        self.importances = importances

    def fit(self, X, y=None):
        self.feature_importances_, self.n_features_in_ = self.importances, X.shape[1]
        return self


@pytest.mark.parametrize("threshold", ["mean", "median", "1.25*mean", 0.01, -np.inf])
@pytest.mark.parametrize("max_features", [None, 0, 5, 64, lambda X: len(X) // 50])
@pytest.mark.filterwarnings("ignore:No")
def test_selection_is_that_of_scikit_learn(
    digits, threshold, max_features, monkeypatch
):
    known = np.random.RandomState(0).randint(0, 9, size=(8, 8)) / 100.0  # with ties
    monkeypatch.setattr(PixelSelector, "_contributions", lambda *_: torch.tensor(known))
    X, y = digits
    parameters = {"threshold": threshold, "max_features": max_features}
    found = selector(**parameters, max_epochs=1).fit(X, y)
    rows = X.reshape(len(X), -1)
    peer = SelectFromModel(Known(known.ravel()), **parameters).fit(rows)
    assert np.array_equal(found.get_support(), peer.get_support())
    assert np.array_equal(found.get_support(indices=True), peer.get_support(True))
    assert np.array_equal(found.transform(X), peer.transform(rows))
    assert found.threshold_ == peer.threshold_
    names = peer.get_feature_names_out()
    assert list(found.get_feature_names_out()) == list(names)


def test_without_a_threshold_max_features_is_the_number(digits):
    X, y = digits
    found = selector(max_features=40).fit(X, y)
    assert found.support_.sum() == 40 and found.threshold_ == -np.inf
    assert found.max_features_ == 40
    default = PixelSelector(FrozenEstimator(found.estimator_)).fit(X, y)
    importances = default.pixel_importances_
    assert np.array_equal(default.support_, importances >= importances.mean())
    assert default.max_features_ is None
    default.threshold = "median"  # without fitting again
    assert default.transform(X).shape == (300, 32)


@pytest.mark.parametrize("channels", ["last", "first"])
@pytest.mark.parametrize("form", ["rows", "images"])
def test_values_are_in_the_order_of_rows_and_can_be_inverted(colours, channels, form):
    X, y = colours
    last = selector(max_features=7).fit(X, y)
    if channels == "first":
        X = X.transpose(0, 3, 1, 2)
    rows = X.reshape(len(X), -1)
    given = rows if form == "rows" else X
    shape = (6, 5, 3) if form == "rows" else None
    found = selector(max_features=7, channels=channels, image_shape=shape)
    chosen = found.fit(given, y).transform(given)
    assert np.array_equal(found.pixel_importances_, last.pixel_importances_)
    assert chosen.shape == (60, 21)
    assert np.array_equal(chosen, rows[:, found.get_support()])
    back = found.inverse_transform(chosen)
    assert np.array_equal(
        back.reshape(60, -1), np.where(found.get_support(), rows, 0.0)
    )
    assert back.shape == given.shape
    blanked = found.set_params(output="images", fill_value=0.25).transform(given)
    expected = np.where(found.get_support(), rows, 0.25).reshape(given.shape)
    assert np.array_equal(blanked, expected)
    assert np.array_equal(found.inverse_transform(blanked), blanked)
    assert len(found.get_feature_names_out()) == 90


def test_bytes_stay_bytes(digits):
    X, y = digits
    for output in ("rows", "images"):
        found = selector(output=output, fill_value=9).fit(X, y)
        assert found.transform(X).dtype == np.uint8
        assert found.inverse_transform(found.transform(X)).dtype == np.uint8
        assert (found.inverse_transform(found.transform(X)) == 9).any()
    with pytest.raises(ValueError, match="pass an integer from 0 to 255"):
        selector(output="images", fill_value=0.5).fit(X, y).transform(X)


def test_names_are_those_of_the_columns(digits):
    X, y = digits
    frame = pd.DataFrame(X.reshape(300, -1), columns=[f"p{k}" for k in range(64)])
    found = selector(max_features=3).set_output(transform="pandas")
    chosen = found.fit_transform(frame, y)
    wanted = [f"p{k}" for k in found.get_support(indices=True)]
    assert list(chosen.columns) == wanted
    assert np.array_equal(chosen.to_numpy(), frame[wanted].to_numpy())


def test_a_selection_without_pixels_is_a_warning(digits):
    X, y = digits
    found = selector(threshold=1e9).fit(X, y)
    with pytest.warns(UserWarning, match="No pixels were selected: threshold="):
        assert found.transform(X).shape == (300, 0)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"threshold": "middle"}, "threshold='median'"),
        ({"threshold": "2*best"}, "Unknown reference"),
        ({"max_features": lambda X: -1}, "returned -1; a number of pixels was"),
        ({"max_features": lambda X: 0.5}, "returned 0.5; a number of pixels was"),
    ],
)
def test_wrong_parameters_are_errors_before_training(digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        selector(max_epochs=10**6, **parameters).fit(*digits)


def test_a_wrong_number_of_values_cannot_be_inverted(digits):
    found = selector(max_features=20).fit(*digits)
    with pytest.raises(ValueError, match="19 features, but 20 values of selected"):
        found.inverse_transform(np.zeros((3, 19)))


def test_copies_pickles_and_tensors(digits):
    X, y = digits
    found = selector().fit(X, y)
    expected = found.transform(X)
    assert vars(clone(found)).keys() == found.get_params(deep=False).keys()
    assert np.array_equal(pickle.loads(pickle.dumps(found)).transform(X), expected)
    with config_context(array_api_dispatch=True), warnings.catch_warnings():
        chosen = selector().fit_transform(torch.tensor(X), torch.tensor(y))
    assert isinstance(chosen, torch.Tensor) and np.array_equal(chosen, expected)
