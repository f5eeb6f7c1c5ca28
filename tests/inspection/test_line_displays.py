"""Line plots: their attributes are those of the estimator, and are drawn."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_l2cnn import L2CNNClassifierCV
from sklearn_l2cnn.inspection import (
    AlphaPathDisplay,
    ShrinkageDisplay,
    TrainingCurveDisplay,
)
from sklearn_l2cnn.inspection._drawing import alpha_places, alpha_ticks
from tests.conftest import quick, tiny

pytestmark = pytest.mark.usefixtures("plt")
NAN = float("nan")


@pytest.fixture(scope="module")
def fitted(digits):
    """A classifier with early stopping."""
    return quick(early_stopping=True, max_epochs=4).fit(*digits)


@pytest.fixture(scope="module")
def three(digits):
    """Classifiers of three alphas, not in order."""
    return [quick(alpha=alpha).fit(*digits) for alpha in (10.0, 0.0, 0.1)]


class Path(BaseEstimator):
    """An estimator with the attributes of a fitted L2CNNClassifierCV."""

    def __init__(self, alphas, n_folds=3, scoring=None, refit=True):
        self.alphas = alphas
        self.n_folds = n_folds
        self.scoring = scoring
        self.refit = refit

    def fit(self, X=None, y=None):
        rng = np.random.RandomState(0)
        self.alphas_ = np.asarray(self.alphas)
        shape = (len(self.alphas_), self.n_folds)
        self.cv_results_ = {}
        for name in self.scoring or ["score"]:
            scores = rng.uniform(0.5, 1, shape)
            for k, column in enumerate(scores.T):
                self.cv_results_[f"split{k}_test_{name}"] = column
            self.cv_results_[f"mean_test_{name}"] = scores.mean(axis=1)
        self.norms_path_ = rng.uniform(1, 2, (shape[0], 2))
        self.layer_names_ = ["conv", "dense"]
        self.losses_path_ = rng.uniform(0, 1, (*shape, 5))
        self.losses_path_[..., 3:] = NAN  # ended early
        self.validation_losses_path_ = self.losses_path_ + 1
        name = self.refit if isinstance(self.refit, str) else "score"
        self.best_index_ = int(self.cv_results_[f"mean_test_{name}"].argmax())
        self.alpha_ = self.alphas_[self.best_index_]
        return self


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# --- TrainingCurveDisplay


def test_curves_are_those_of_the_classifier(fitted):
    display = TrainingCurveDisplay.from_estimator(fitted)
    for line, curve in (
        (display.loss_line_, fitted.data_loss_curve_),
        (display.penalty_line_, fitted.penalty_curve_),
        (display.validation_line_, fitted.validation_scores_),
    ):
        assert line.get_xdata().tolist() == list(range(1, 1 + len(curve)))
        assert line.get_ydata().tolist() == curve
    assert display.best_epoch == fitted.best_epoch_
    assert texts(display.axes_[0])[:2] == ["data loss", "penalty"]
    assert f"best epoch: {fitted.best_epoch_}" in texts(display.axes_[1])
    assert {ax.get_xlabel() for ax in display.axes_} == {"epoch"}
    assert display.figure_ is display.axes_[0].figure


def test_epochs_of_earlier_fits_come_before_those_with_validation(digits):
    clf = quick(warm_start=True, max_epochs=3).fit(*digits)
    clf.set_params(early_stopping=True, max_epochs=2).fit(*digits)
    display = TrainingCurveDisplay.from_estimator(clf)
    assert display.loss_line_.get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert display.validation_line_.get_xdata().tolist() == [4, 5]
    assert display.best_epoch == 3 + clf.best_epoch_
    marks = [line for line in display.axes_[1].lines if line.get_linestyle() == ":"]
    assert [set(line.get_xdata()) for line in marks] == [{display.best_epoch}]


def test_without_validation_there_is_one_panel(three):
    display = TrainingCurveDisplay.from_estimator(three[1])
    assert len(display.axes_) == 1 and display.validation_line_ is None
    assert texts(display.axes_[0]) == ["data loss", "penalty (0 throughout)"]


@pytest.mark.parametrize(
    "losses, penalty, label",
    [
        ([2.0, 1.0, 0.1], [0.0, 0.0, 0.0], "penalty (0, not drawn)"),
        ([2.0, 1.0, 0.1], [0.0, 0.5, 0.0], "penalty (0s not drawn)"),
        ([2.0, 1.0, 0.1], [0.1, 0.5, 0.1], "penalty"),
        # a linear axis hides nothing
        ([1.2, 1.1, 1.0], [0.0, 0.5, 0.0], "penalty"),
        ([1.2, 1.1, 1.0], [0.0, 0.0, 0.0], "penalty (0 throughout)"),
        ([2.0, 1.0, 0.0], [0.0, 0.5, 0.0], "penalty"),
        ([2.0, 1.0, 0.1], [-0.1, 0.5, 0.0], "penalty"),
    ],
)
def test_what_a_logarithmic_axis_hides_is_said(losses, penalty, label):
    display = TrainingCurveDisplay(
        data_loss=np.array(losses), penalty=np.array(penalty)
    ).plot()
    assert texts(display.axes_[0])[1] == label
    assert (display.axes_[0].get_yscale() == "log") == ("not drawn" in label) or (
        min(losses + penalty) > 0
    )


def test_given_axes_are_used(fitted, plt):
    figure, axes = plt.subplots(2, 1)
    display = TrainingCurveDisplay.from_estimator(fitted, ax=axes)
    assert list(display.axes_) == list(axes) and display.figure_ is figure
    _, ax = plt.subplots()
    display.plot(ax=ax)
    assert list(display.axes_) == [ax] and display.validation_line_ is None
    assert len(plt.get_fignums()) == 2
    assert display.plot(line_kw={"linewidth": 5}).loss_line_.get_linewidth() == 5


@pytest.mark.parametrize(
    "around", ["pipeline", "search", "both", "threshold", "frozen"]
)
def test_classifiers_are_found_inside_of_wrappers(digits, around):
    X, y = digits
    scaler = StandardScaler()
    if around == "pipeline":
        model = make_pipeline(scaler, quick()).fit(X.reshape(len(X), -1), y)
        inner = model[-1]
    elif around == "search":
        model = GridSearchCV(quick(max_epochs=1), {"alpha": [0.1]}, cv=2).fit(X, y)
        inner = model.best_estimator_
    elif around == "threshold":
        model = FixedThresholdClassifier(quick(max_epochs=1)).fit(X[y < 2], y[y < 2])
        inner = model.estimator_
    elif around == "frozen":
        inner = quick(max_epochs=1).fit(X, y)
        model = FrozenEstimator(inner)
    else:
        pipeline = make_pipeline(scaler, quick(max_epochs=1))
        grid = {"l2cnnclassifier__alpha": [0.1]}
        model = GridSearchCV(pipeline, grid, cv=2).fit(X.reshape(len(X), -1), y)
        inner = model.best_estimator_[-1]
    display = TrainingCurveDisplay.from_estimator(model)
    assert display.data_loss.tolist() == inner.data_loss_curve_


def test_other_estimators_are_errors(digits):
    X, y = digits[0].reshape(300, -1), digits[1]
    with pytest.raises(NotFittedError):
        TrainingCurveDisplay.from_estimator(quick())
    other = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10, tol=1.0))
    message = "of a fitted L2CNNClassifier.*got Pipeline, which ends in LogisticRegress"
    with pytest.raises(TypeError, match=message):
        TrainingCurveDisplay.from_estimator(other.fit(X, y))
    kept = GridSearchCV(quick(max_epochs=1), {"alpha": [1]}, cv=2, refit=False)
    with pytest.raises(TypeError, match="refit=True"):
        TrainingCurveDisplay.from_estimator(kept.fit(X, y))


# --- an axis of alpha


@pytest.mark.parametrize(
    "alphas, places",
    [
        ([0, 1e-2, 1e-1], [1e-3, 1e-2, 1e-1]),
        ([0, 1, 1000], [0.1, 1, 1000]),
        ([0, 1, 10, 1e10], [10**-1.6, 1, 10, 1e10]),
        ([0, 1, 1.1], [0.5, 1, 1.1]),
        ([1e-1, 0, 1e-2], [1e-1, 1e-3, 1e-2]),
        ([0], [1]),
        ([3], [3]),
    ],
)
def test_zero_is_below_the_other_alphas(alphas, places):
    np.testing.assert_allclose(alpha_places(np.array(alphas)), places)


@pytest.mark.parametrize(
    "alphas, labels",
    [
        (np.logspace(-3, -1, 5), ["$10^{-3}$", "$10^{-2}$", "$10^{-1}$"]),
        (np.logspace(-8, 3, 12), [f"$10^{{{k}}}$" for k in range(-8, 4, 2)]),
        ([0, 0.02, 0.03], ["0", "0.02", "0.03"]),
        (
            [0, *np.logspace(-5, 2, 8)],
            ["0", *(f"$10^{{{k}}}$" for k in (-4, -2, 0, 2))],
        ),
        ([0], ["0"]),
    ],
)
def test_ticks_are_few_and_labelled(alphas, labels):
    places, found = alpha_ticks(alphas, most=6)
    assert found == labels
    assert len(places) == len(labels) and places == sorted(places)


@pytest.mark.parametrize("width", [6.5, 8, 13])
@pytest.mark.parametrize("alphas", [[0, *np.logspace(-5, 2, 8)], [1e-4, 1.5e-4, 2e-4]])
def test_tick_labels_do_not_overlap(plt, width, alphas):
    figure, axes = plt.subplots(1, 3, figsize=(width, 2.5), layout="constrained")
    AlphaPathDisplay.from_estimator(Path(alphas).fit(), ax=axes)
    figure.canvas.draw()
    for ax in axes:
        boxes = [text.get_window_extent() for text in ax.get_xticklabels()]
        assert len(boxes) >= 2
        for left, right in pairwise(boxes):
            assert left.x1 < right.x0


def test_a_figure_can_be_pickled(fitted):
    display = TrainingCurveDisplay.from_estimator(fitted)
    assert len(pickle.loads(pickle.dumps(display.figure_)).axes) == 2


# --- AlphaPathDisplay


def test_the_path_is_sorted_by_alpha_and_drawn():
    cv = Path([1.0, 0.0, 0.01]).fit()
    display = AlphaPathDisplay.from_estimator(cv)
    order = [1, 2, 0]
    folds = [cv.cv_results_[f"split{k}_test_score"][order] for k in range(3)]
    np.testing.assert_array_equal(display.alphas, [0, 0.01, 1])
    np.testing.assert_array_equal(display.scores, np.transpose(folds))
    np.testing.assert_array_equal(display.norms, cv.norms_path_[order])
    np.testing.assert_array_equal(display.train_losses, cv.losses_path_[order, :, 2])
    np.testing.assert_array_equal(
        display.validation_losses, cv.losses_path_[order, :, 2] + 1
    )
    places = alpha_places(display.alphas)
    for line, values in (
        (display.score_line_, np.mean(folds, axis=0)),
        (display.train_line_, display.train_losses.mean(axis=1)),
        (display.validation_line_, display.validation_losses.mean(axis=1)),
        (display.norm_lines_[0], display.norms[:, 0]),
        (display.norm_lines_[1], display.norms[:, 1]),
    ):
        np.testing.assert_array_equal(line.get_xdata(), places)
        np.testing.assert_allclose(line.get_ydata(), values, rtol=1e-15)
    [band] = display.score_band_.get_paths()
    spread = np.std(folds, axis=0)
    assert band.vertices[:, 1].max() == pytest.approx(
        (np.mean(folds, axis=0) + spread).max()
    )
    assert texts(display.axes_[1]) == ["conv", "dense"]
    assert texts(display.axes_[2]) == ["trained on", "held out"]
    assert [ax.get_xlabel() for ax in display.axes_] == ["alpha"] * 3
    assert display.axes_[0].get_ylabel() == "accuracy"


def test_a_fitted_search_is_drawn(digits):
    cv = L2CNNClassifierCV(
        [10.0, 0.01], cv=2, architecture=tiny, max_epochs=2, random_state=0
    ).fit(*digits)
    display = AlphaPathDisplay.from_estimator(cv)
    assert display.alphas.tolist() == [0.01, 10] and display.alpha == cv.alpha_
    np.testing.assert_allclose(
        display.mean_scores[::-1], cv.cv_results_["mean_test_score"], rtol=1e-15
    )
    np.testing.assert_array_equal(
        display.validation_losses[::-1], cv.validation_losses_path_[:, :, 1]
    )
    assert display.layer_names == ["0", "3"]
    assert texts(display.axes_[1]) == ["layer 0", "layer 3"]
    display = ShrinkageDisplay.from_estimator(cv)
    assert display.alpha == cv.alpha_
    relative = cv.norms_path_[0] / cv.norms_path_[1]
    np.testing.assert_allclose(display.layer_lines_[1].get_ydata(), relative)
    display = TrainingCurveDisplay.from_estimator(cv)
    assert display.data_loss.tolist() == cv.data_loss_curve_


def test_the_chosen_alpha_is_marked_and_the_best_if_it_differs():
    cv = Path([0.001, 0.01, 0.1]).fit()
    display = AlphaPathDisplay.from_estimator(cv)
    assert display.best == display.alpha == cv.alpha_
    assert texts(display.axes_[0]) == ["mean, 3 folds", f"chosen: {cv.alpha_:g}"]
    display.alpha = cv.alphas_[cv.best_index_ - 1]
    display.plot()
    words = texts(display.axes_[0])
    assert words[1:] == [f"chosen: {display.alpha:g}", f"best: {cv.alpha_:g}"]
    for ax in display.axes_:
        at = [set(line.get_xdata()) for line in ax.lines]
        assert {display.alpha} in at


def test_failed_folds_are_marked():
    cv = Path([0.001, 0.01, 0.5]).fit()
    cv.cv_results_["split1_test_score"][2] = NAN
    cv.losses_path_[2, 1] = NAN
    cv.alpha_ = 0.001
    display = AlphaPathDisplay.from_estimator(cv)
    assert np.isnan(display.mean_scores).tolist() == [False, False, True]
    assert display.best in (0.001, 0.01)
    assert "failed" in texts(display.axes_[0])
    [crosses] = [line for line in display.axes_[0].lines if line.get_marker() == "x"]
    assert crosses.get_xdata().tolist() == [0.5]
    limits = {ax.get_xlim() for ax in display.axes_}
    assert len(limits) == 1 and limits.pop()[1] > 0.5
    display.figure_.canvas.draw()
    for k in range(3):
        cv.cv_results_[f"split{k}_test_score"][:] = NAN
    assert AlphaPathDisplay.from_estimator(cv).best is None


def test_one_fold_has_no_band_and_missing_losses_have_no_line():
    cv = Path([0.5], n_folds=1).fit()
    cv.validation_losses_path_[:] = NAN
    display = AlphaPathDisplay.from_estimator(cv)
    assert display.score_band_ is None
    assert texts(display.axes_[0])[0] == "one fold"
    assert texts(display.axes_[2])[1] == "held out: not recorded"
    display.figure_.canvas.draw()


def test_one_of_several_scores_is_drawn():
    cv = Path([0.1, 1], scoring=["accuracy", "f1_macro"], refit="f1_macro").fit()
    display = AlphaPathDisplay.from_estimator(cv)
    assert display.score_name == display.axes_[0].get_ylabel() == "f1_macro"
    np.testing.assert_array_equal(
        display.mean_scores, cv.cv_results_["mean_test_f1_macro"]
    )
    display = AlphaPathDisplay.from_estimator(cv, metric="accuracy")
    np.testing.assert_array_equal(
        display.mean_scores, cv.cv_results_["mean_test_accuracy"]
    )
    with pytest.raises(ValueError, match="metric='loss' is none.*'accuracy', 'f1"):
        AlphaPathDisplay.from_estimator(cv, metric="loss")
    cv.refit = lambda results: 0
    with pytest.raises(ValueError, match="metric=None is none"):
        AlphaPathDisplay.from_estimator(cv)


def test_the_path_takes_three_axes(plt):
    cv = Path([0.1, 1]).fit()
    figure, axes = plt.subplots(3, 1)
    display = AlphaPathDisplay.from_estimator(make_pipeline(cv), ax=axes)
    assert list(display.axes_) == list(axes) and display.figure_ is figure
    with pytest.raises(ValueError, match="draws 3 panels, but ax holds 1"):
        display.plot(ax=axes[0])


def test_many_layers_have_a_legend_of_two():
    cv = Path([0.1, 1]).fit()
    cv.norms_path_, cv.layer_names_ = np.ones((2, 30)), [f"conv{k}" for k in range(30)]
    display = AlphaPathDisplay.from_estimator(cv)
    assert len(display.norm_lines_) == 30
    assert texts(display.axes_[1]) == ["conv0", "... conv29, 30 layers"]


@pytest.mark.parametrize("display", [AlphaPathDisplay, ShrinkageDisplay])
def test_estimators_without_a_path_are_errors(digits, display):
    search = GridSearchCV(quick(max_epochs=1), {"alpha": [0.1, 1]}, cv=2).fit(*digits)
    with pytest.raises(TypeError, match="GridSearchCV.*L2CNNClassifierCV\\(alphas\\)"):
        display.from_estimator(search)
    with pytest.raises(TypeError, match="got L2CNNClassifier"):
        display.from_estimator(search.best_estimator_)
    cv = Path([0.1, {"conv": 1}]).fit()
    with pytest.raises(TypeError, match="has no place on an axis"):
        display.from_estimator(cv)


# --- ShrinkageDisplay


def test_norms_and_weights_of_several_classifiers(three):
    display = ShrinkageDisplay.from_estimators(three)
    assert display.alphas.tolist() == [0, 0.1, 10]
    assert display.layer_names == ["0", "3"]
    for k, clf in enumerate((three[1], three[2], three[0])):
        squares = [
            sum(value**2 for value in layer.weight.flatten().tolist())
            for layer in (clf.module_[0], clf.module_[3])
        ]
        np.testing.assert_allclose(display.norms[k] ** 2, squares, rtol=1e-6)
        assert (display.weights[k] ** 2).sum() == pytest.approx(sum(squares))
    assert display.weight_alphas == [0, 0.1, 10]
    for line, norms in zip(display.norm_lines_, display.norms.T, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), norms)
    for patch, weights in zip(display.histograms_, display.weights, strict=True):
        shares, edges, _ = patch.get_data()
        assert shares.sum() == pytest.approx(1)
        small = (np.abs(weights) < edges[30]).mean()
        assert shares[:30].sum() == pytest.approx(small)
    assert texts(display.axes_[1]) == ["alpha 0", "alpha 0.1", "alpha 10"]


def test_at_most_four_histograms_are_drawn(digits):
    X, y = digits[0][:30], digits[1][:30]
    alphas = [0.5, 1, 2, 3, 4, 5, 6]
    fitted = [quick(alpha=alpha, max_epochs=1).fit(X, y) for alpha in alphas]
    display = ShrinkageDisplay.from_estimators(fitted)
    assert display.norms.shape == (7, 2)
    assert display.weight_alphas == [0.5, 2, 4, 6]


def test_alphas_of_a_search_are_compared_layer_by_layer(plt):
    cv = Path([1.0, 0.1, 0.0, 10.0, 0.01, 1e-3, 1e-4]).fit()
    cv.alpha_, order = 0.1, [2, 6, 5, 4, 1, 0, 3]
    cv.norms_path_[2, 0] = 0.0  # nothing to compare with
    display = ShrinkageDisplay.from_estimator(cv)
    norms = cv.norms_path_[order]
    np.testing.assert_array_equal(display.norms, norms)
    second = display.axes_[1]
    assert len(display.norm_lines_) == 2 and display.histograms_ == []
    shown = [0, 2, 4, 6]  # 0.1 is the chosen one
    for k, line in zip(shown, display.layer_lines_, strict=True):
        np.testing.assert_allclose(
            line.get_ydata(), [np.nan, norms[k, 1] / norms[0, 1]]
        )
    assert texts(second) == ["alpha 0", "alpha 0.001", "chosen: 0.1", "alpha 10"]
    assert [text.get_text() for text in second.get_xticklabels()] == ["conv", "dense"]
    cv.alpha_ = 0.01  # one more than four
    display = ShrinkageDisplay.from_estimator(cv)
    assert texts(display.axes_[1])[2:4] == ["chosen: 0.01", "alpha 0.1"]
    display.figure_.canvas.draw()
    _, ax = plt.subplots()
    assert list(display.plot(ax=ax).axes_) == [ax] and display.layer_lines_ == []
    assert len(ShrinkageDisplay.from_estimator(Path([0.1]).fit()).axes_) == 1


def test_classifiers_that_cannot_be_compared_are_errors(digits, three):
    other = quick(architecture="plain", max_epochs=1).fit(*digits)
    with pytest.raises(ValueError, match="0, 3 and conv1, conv2"):
        ShrinkageDisplay.from_estimators([three[0], other])
    with pytest.raises(ValueError, match="empty"):
        ShrinkageDisplay.from_estimators([])
    with pytest.raises(TypeError, match="takes a list.*got L2CNNClassifier"):
        ShrinkageDisplay.from_estimators(three[0])
    layered = quick(alpha={"0": 0.1}, max_epochs=1).fit(*digits)
    with pytest.raises(TypeError, match="has no place on an axis"):
        ShrinkageDisplay.from_estimators([layered])
