"""EmbeddingDisplay: the positions of the points and the styles of the labels."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from sklearn_l2cnn.inspection import EmbeddingDisplay
from tests.conftest import quick

pytestmark = pytest.mark.usefixtures("plt")


@pytest.fixture(scope="module")
def fitted(digits):
    return quick().fit(*digits)


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_logits_of_a_classifier_are_projected(fitted, digits):
    X, y = digits
    display = EmbeddingDisplay.from_estimator(fitted, X, y)
    expected = PCA(2).fit_transform(fitted.decision_function(X))
    np.testing.assert_array_equal(display.embedding, expected)
    assert len(display.scatters_) == 10
    for label, scatter in enumerate(display.scatters_):
        np.testing.assert_array_equal(scatter.get_offsets(), expected[y == label])
    assert texts(display.ax_) == [str(label) for label in range(10)]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("PCA 1", "PCA 2")
    looks = {
        (str(one.get_facecolor()), one.get_paths()[0].vertices.tobytes())
        for one in display.scatters_
    }
    assert len(looks) == 10, "two labels look the same"
    assert len({str(one.get_edgecolor()) for one in display.scatters_}) == 6
    hollow = [len(one.get_facecolor()) == 0 for one in display.scatters_]
    assert hollow == [False] * 6 + [True] * 4


def test_features_of_a_transformer_and_any_projection(digits, plt):
    X, y = digits[0].reshape(300, -1), digits[1]
    scaler = StandardScaler().fit(X)
    lda = LinearDiscriminantAnalysis(n_components=2)
    figure, ax = plt.subplots()
    display = EmbeddingDisplay.from_estimator(
        scaler, X, y, projection=lda, ax=ax, scatter_kw={"s": 3}
    )
    assert not hasattr(lda, "classes_"), "the projection itself was fitted"
    expected = lda.fit(scaler.transform(X), y).transform(scaler.transform(X))
    np.testing.assert_allclose(np.abs(display.embedding), np.abs(expected), atol=1e-8)
    assert display.ax_ is ax and display.figure_ is figure
    assert display.scatters_[0].get_sizes().tolist() == [3]


def test_labels_are_drawn_next_to_their_points_or_not_at_all():
    features = np.arange(24.0).reshape(6, 2, 2)
    y = np.array(["cat", "dog"] * 3)
    display = EmbeddingDisplay.from_features(features, y, label_style="direct")
    assert [text.get_text() for text in display.texts_] == ["cat", "dog"]
    assert display.texts_[0].get_position() == pytest.approx(display.embedding[2])
    assert display.ax_.get_legend() is None
    display = EmbeddingDisplay.from_features(features)
    assert len(display.scatters_) == 1 and display.ax_.get_legend() is None
    display = EmbeddingDisplay(embedding=features[:, 0], labels=y).plot()
    assert texts(display.ax_) == ["cat", "dog"]
    assert display.ax_.get_xlabel() == "dimension 1"


def test_features_that_cannot_be_projected_are_an_error(fitted, digits):
    X, y = digits
    features = X.reshape(300, -1)[:, :5]
    make = EmbeddingDisplay.from_features
    with pytest.raises(ValueError, match="one feature, but two dimensions need"):
        make(features[:, :1])
    two = quick(max_epochs=1).fit(X[y < 2], y[y < 2])
    with pytest.raises(ValueError, match="decision function of two classes"):
        EmbeddingDisplay.from_estimator(two, X[y < 2])
    with pytest.raises(ValueError, match="set its n_components to 2"):
        make(features, projection=PCA(3))
    with pytest.raises(ValueError, match="needs y"):
        make(features, projection=LinearDiscriminantAnalysis(n_components=2))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make(features, y[:7])
    with pytest.raises(ValueError, match="label_style='side'"):
        make(features, label_style="side")
    with pytest.raises(ValueError, match="response_method='apply'"):
        EmbeddingDisplay.from_estimator(fitted, X, response_method="apply")
    with pytest.raises(TypeError, match="L2CNNClassifier has no transform"):
        EmbeddingDisplay.from_estimator(fitted, X, response_method="transform")
    with pytest.raises(NotFittedError):
        EmbeddingDisplay.from_estimator(quick(), X)
