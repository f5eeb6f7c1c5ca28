"""Displays of images: their attributes, their images and their texts."""

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

from sklearn_l2cnn.inspection import (
    ActivationDisplay,
    FilterDisplay,
    MistakesDisplay,
    SaliencyDisplay,
    saliency,
)
from sklearn_l2cnn.inspection._grid import as_pictures, fitted, grid_shape
from sklearn_l2cnn.preprocessing import ImageReader, ImageResizer
from tests.conftest import quick

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("plt")


def two_layers(input_shape, n_classes):
    depth, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(depth, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 5, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * height * width, n_classes),
    )


NAMES = np.array([f"a digit, {k}" for k in range(10)])


@pytest.fixture(scope="module")
def grey(digits):
    X, y = digits
    return quick(architecture=two_layers, max_epochs=2).fit(X, NAMES[y])


@pytest.fixture(scope="module")
def colour(colours):
    return quick(architecture=two_layers, max_epochs=2).fit(*colours)


def drawn(axes):
    """Return the arrays drawn in visible axes."""
    return [
        np.ma.filled(image.get_array(), np.nan)
        for ax in np.ravel(axes)
        for image in ax.images
        if ax.get_visible()
    ]


def cut(display, shape):
    """Return the images that one picture holds side by side, a pixel apart."""
    [board] = drawn(display.axes_)
    assert np.isnan(board[3::4]).all() or not board[3::4].any()
    padded = np.zeros((shape[0] * 4, shape[1] * 4, *board.shape[2:]))
    padded[:-1, :-1] = board
    cells = padded.reshape(shape[0], 4, shape[1], 4, *board.shape[2:])
    return cells.swapaxes(1, 2)[:, :, :3, :3].reshape(-1, 3, 3, *board.shape[2:])


def words(display):
    """Return all texts in a figure, except those of invisible axes."""
    return [
        text.get_text()
        for text in display.figure_.findobj(matplotlib.text.Text)
        if text.get_text() and (text.axes is None or text.axes.get_visible())
    ]


def overlaps(display):
    """Return the pairs of titles that overlap."""
    display.figure_.canvas.draw()
    texts = [ax.title for ax in display.axes_.flat if ax.get_visible()]
    texts += [
        part._suptitle
        for part in [display.figure_, *display.figure_.subfigs]
        if part._suptitle is not None
    ]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    return [
        (k, j)
        for j in range(len(boxes))
        for k in range(j)
        if boxes[k].overlaps(boxes[j])
    ]


# -- saliency -------------------------------------------------------------------------


def test_saliency_is_drawn_under_the_images(grey, digits):
    X = digits[0]
    display = SaliencyDisplay.from_estimator(
        grey, X[:3], method=["gradient", "occlusion"], patch=2
    )
    assert display.axes_.shape == (3, 3)
    assert list(display.maps) == ["gradient", "occlusion"]
    expected = saliency(grey, X[:3], method="occlusion", patch=2)
    assert np.array_equal(display.maps["occlusion"], expected)
    for found, image in zip(drawn(display.axes_[0]), X, strict=False):
        np.testing.assert_allclose(found, image / 255)
    for found, values in zip(drawn(display.axes_[2]), expected, strict=True):
        assert np.array_equal(found, values)
    sure = grey.predict_proba(X[:3])
    assert display.labels == [
        f"{label}, {row.max():.2f}"
        for label, row in zip(grey.predict(X[:3]), sure, strict=True)
    ]
    # one scale for a method: from 0 where nothing is negative, else about 0
    rising, about = ([ax.images[0] for ax in row] for row in display.axes_[1:])
    assert {image.get_clim() for image in rising} == {rising[0].get_clim()}
    assert rising[0].get_clim()[0] == 0 and rising[0].cmap.name == "viridis"
    low, high = about[1].get_clim()
    assert low == -high < 0 and about[0].cmap.name == "RdBu_r"
    said = words(display)
    assert {"gradient", "occlusion", "slope", "logit lost"} <= set(said)
    assert len(display.colorbars_) == 2 and not overlaps(display)


def test_saliency_maps_are_drawn_over_images_in_blocks(colour, colours):
    X = colours[0][:5]
    display = SaliencyDisplay.from_estimator(
        colour, X, 2, n_columns=2, overlay=True, colorbar=False
    )
    assert display.axes_.shape == (3, 2) and display.colorbars_ == []
    seen = [ax.get_visible() for ax in display.axes_.flat]
    assert seen == [True] * 5 + [False]
    maps = display.maps["integrated_gradients"]
    assert np.array_equal(maps, saliency(colour, X, 2))
    assert display.labels[3] == f"2, {colour.predict_proba(X)[3, 2]:.2f}"
    below, above = (image.get_array() for image in display.axes_[1, 0].images)
    np.testing.assert_allclose(below, X[2].mean(axis=2))
    assert np.array_equal(above, maps[2])
    title = "integrated gradients\nred speaks for the class, blue against it"
    assert title in words(display)
    beside = display.plot(n_columns=3)
    assert beside.axes_.shape == (4, 3)
    assert np.array_equal(drawn(beside.axes_[3])[1], maps[4])


def test_saliency_needs_methods(grey, digits):
    with pytest.raises(ValueError, match="method='magic'; one or more of 'gradient'"):
        SaliencyDisplay.from_estimator(grey, digits[0][:1], method="magic")
    with pytest.raises(ValueError, match=r"method=\[\]"):
        SaliencyDisplay.from_estimator(grey, digits[0][:1], method=[])


# -- strips ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spectra():
    """Strips one pixel high, and a classifier with kernels as high."""
    rng = np.random.RandomState(0)
    X, y = rng.uniform(size=(60, 1, 12)), np.arange(60) % 3
    X[np.arange(60), 0, 4 * y] += 2

    def network(input_shape, n_classes):
        return nn.Sequential(
            nn.Conv2d(1, 4, (1, 3)),
            nn.ReLU(),
            nn.Conv2d(4, 3, (1, 3)),
            nn.Flatten(),
            nn.Linear(3 * 8, n_classes),
        )

    return X, y, quick(architecture=network).fit(X, y)


def curves(ax):
    """Return the values of the curves in axes, without the line at 0."""
    assert not ax.images
    return [line.get_ydata() for line in ax.lines if len(line.get_ydata()) > 2]


def test_strips_are_curves_of_mistakes_and_activations(spectra):
    X, y, clf = spectra
    display = MistakesDisplay.from_estimator(clf, X, np.roll(y, 1), n_images=5)
    for ax, picture in zip(display.axes_.flat, display.images[:5], strict=False):
        [curve] = curves(ax)
        assert np.array_equal(curve, picture[0]) and len(curve) == 12
        low, high = ax.get_ylim()
        assert low < 0 < 1 < high
    display = ActivationDisplay.from_estimator(clf, X, layer=0)
    image, *maps = [curves(ax)[0] for ax in display.axes_.flat[:5]]
    assert len(image) == 12 and np.array_equal(maps, display.activations[:, 0])
    assert display.colorbar_ is None
    scaled = [ax for ax in display.axes_.flat if len(ax.get_yticks())]
    assert scaled == [display.axes_.flat[1]]  # one scale for all maps
    largest = abs(display.activations).max()
    np.testing.assert_allclose(scaled[0].get_yticks(), [-largest, largest])
    # of a dense layer, lines of a map
    display = ActivationDisplay.from_estimator(clf, X, layer=-1)
    assert len(drawn(display.axes_)) == 1 and display.colorbar_ is not None
    display.figure_.canvas.draw()


def test_strips_in_colour_are_three_curves():
    strips = np.random.RandomState(0).uniform(size=(2, 1, 9, 3))
    display = MistakesDisplay.from_predictions([0, 1], [1, 0], images=strips)
    assert np.array_equal(curves(display.axes_[0, 0]), strips[0, 0].T)


def test_saliency_of_strips_is_a_curve_below_or_points_above(spectra):
    X, _, clf = spectra
    display = SaliencyDisplay.from_estimator(
        clf, X[:3], method="occlusion", patch=(1, 2)
    )
    maps = display.maps["occlusion"]
    assert display.colorbars_ == []
    for k in range(3):
        assert np.array_equal(curves(display.axes_[0, k])[0], display.images[k, 0])
        assert np.array_equal(curves(display.axes_[1, k])[0], maps[k, 0])
    assert len({ax.get_ylim() for ax in display.axes_[1]}) == 1
    assert display.axes_[1, 0].get_ylabel() == "logit lost"
    assert any("above 0 speaks for the class" in text for text in words(display))
    assert not overlaps(display)
    display = display.plot(overlay=True)
    points = display.axes_[0, 1].collections[0]
    assert np.array_equal(points.get_array(), maps[1, 0])
    assert np.array_equal(points.get_offsets()[:, 1], display.images[1, 0])
    assert len(display.colorbars_) == 1


@pytest.mark.parametrize("layer, shape", [(0, (2, 2)), (1, (3, 4))])
def test_kernels_of_strips_are_curves(spectra, layer, shape):
    clf = spectra[2]
    display = FilterDisplay.from_estimator(clf, layer=layer)
    kernels, [ax] = display.kernels, display.axes_.flat
    found = np.array(ax.collections[1].get_segments()).reshape(-1, 3, 2)
    limit = abs(kernels).max()
    rows = np.round(found[..., 1].mean(axis=1) / 1.15)
    values = (1.15 * rows[:, None] - found[..., 1]) * 2 * limit
    np.testing.assert_allclose(values, kernels.reshape(-1, 3), atol=1e-12)
    assert len(set(rows)) == shape[0] and display.colorbar_ is None
    assert any(f", {-limit:.2g} to {limit:.2g}" in text for text in words(display))


# -- layers ---------------------------------------------------------------------------


@pytest.mark.parametrize("layer, place", [("1", 2), (0, 1), ("4", 5), (-1, 6)])
def test_activations_are_the_outputs_of_the_layers(grey, digits, layer, place):
    X = digits[0]
    pixels = (X[7:8] / 255.0 - grey.channel_mean_[0]) / grey.channel_scale_[0]
    pixels = torch.tensor(pixels[:, None], dtype=torch.float32)
    with torch.no_grad():
        output = grey.module_[:place](pixels)
    display = ActivationDisplay.from_estimator(grey, X[:9], layer=layer, row=7)
    np.testing.assert_allclose(display.activations, output[0], atol=1e-6)
    image, *maps = drawn(display.axes_)
    np.testing.assert_allclose(image, X[7] / 255)
    shown = np.concatenate([values.ravel() for values in maps])
    shown = shown[~np.isnan(shown)]
    assert np.array_equal(shown, display.activations.ravel()[: len(shown)])
    assert len(shown) == display.activations.size
    signed = bool((display.activations < 0).any())
    limits = display.colorbar_.vmin, display.colorbar_.vmax
    largest = abs(display.activations).max()
    assert limits == pytest.approx((-largest if signed else 0, largest))
    assert not overlaps(display)


def test_maps_that_are_zero_or_left_out_are_labelled(digits):
    image, maps = digits[0][0] / 255.0, np.ones((5, 2, 2))
    maps[1] = 0
    display = ActivationDisplay(image, maps, "relu").plot(n_maps=3, n_columns=2)
    said = words(display)
    assert {"image", "0", "1: all 0", "2"} <= set(said) and "3" not in said
    assert "layer 'relu': the first 3 of 5 maps" in said
    assert len(drawn(display.axes_)) == 4


def test_missing_layers_are_errors(grey, digits):
    X = digits[0][:2]
    with pytest.raises(ValueError, match=r"layer='conv9'.*6 layers are '0' 6 x 8 x 8"):
        ActivationDisplay.from_estimator(grey, X, layer="conv9")
    with pytest.raises(ValueError, match="row=2, but there are 2 images in X"):
        ActivationDisplay.from_estimator(grey, X, row=2)
    with pytest.raises(
        ValueError, match=r"layer='1' is no convolution.*2 convolutions"
    ):
        FilterDisplay.from_estimator(grey, layer="1")
    dense = quick(
        architecture=lambda shape, k: nn.Sequential(nn.Flatten(), nn.Linear(64, k))
    ).fit(*digits)
    with pytest.raises(ValueError, match="no convolution.*layers are '0', '1'"):
        FilterDisplay.from_estimator(dense)


def test_grey_kernels_are_grey_about_zero(grey):
    display = FilterDisplay.from_estimator(grey)
    kernels = grey.module_[0].weight.detach().numpy()
    assert np.array_equal(display.kernels, kernels.astype(float))
    assert np.array_equal(cut(display, (2, 3)), display.kernels[:, 0])
    largest = abs(kernels).max()
    assert display.colorbar_.vmin == -display.colorbar_.vmax == pytest.approx(-largest)
    assert "layer '0': 6 filters" in words(display)
    assert not display.zero_.any()


def test_kernels_of_three_channels_are_in_colour(colour):
    display = FilterDisplay.from_estimator(colour)
    shown, kernels = cut(display, (2, 3)), display.kernels
    assert shown.shape == (6, 3, 3, 4) and display.colorbar_ is None
    assert (shown[..., 3] == 1).all()
    shown = shown[..., :3]
    assert shown.min() >= 0 and max(shown.max(), 1 - shown.min()) == 1
    np.testing.assert_allclose(
        2 * abs(kernels).max() * (shown - 0.5), kernels.transpose(0, 2, 3, 1)
    )


def test_kernels_of_many_channels_are_rows(grey):
    display = FilterDisplay.from_estimator(grey, layer=1, n_channels=4, n_filters=12)
    assert display.layer == "2" and len(display.figure_.axes) == 2  # and a colour bar
    found = cut(display, (3, 4)).reshape(3, 4, 3, 3)
    assert np.array_equal(found, display.kernels[:3, :4])
    [ax] = display.axes_.flat
    for axis, n in ((ax.yaxis, 3), (ax.xaxis, 4)):
        assert [text.get_text() for text in axis.get_ticklabels()] == [
            str(k) for k in range(n)
        ]
        assert axis.get_ticklocs().tolist() == [1 + 4 * k for k in range(n)]
    assert "layer '2': 3 of 5 filters (rows) of 4 of 6 channels" in words(display)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_zero_filters_are_crossed_out(depth):
    kernels = np.random.RandomState(0).normal(size=(4, depth, 3, 3))
    kernels[2] = 0
    kernels[1, 0] = 0
    display = FilterDisplay(kernels, "conv").plot()
    assert display.zero_.tolist() == [False, depth == 1, True, False]
    crosses = display.axes_[0, 0].lines[0].get_xydata()
    crosses = crosses[~np.isnan(crosses[:, 0])].reshape(-1, 4, 2).mean(axis=1)
    columns = 2 if depth == 2 else grid_shape(4)[1]
    zeros = np.flatnonzero(display.zero_)
    places = [divmod(k, columns) for k in zeros]
    if depth == 2:
        places = [(k, channel) for k in zeros for channel in range(2)]
    # the middles of these images, which are three pixels wide and one apart
    assert ((crosses[:, ::-1] - 1) / 4).tolist() == [list(place) for place in places]
    [title] = [text for text in words(display) if "layer" in text]
    assert title.endswith(f"{1 + (depth == 1)} zero (crossed out)")
    FilterDisplay(0 * kernels).plot()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_kernels_of_one_pixel_are_pixels(depth):
    kernels = np.random.RandomState(0).normal(size=(2, depth, 1, 1))
    [board] = drawn(FilterDisplay(kernels).plot().axes_)
    assert board.shape[:2] == ((3, 3) if depth == 2 else (1, 3))


# -- mistakes -------------------------------------------------------------------------


def test_mistakes_are_the_most_confident_first(grey, digits):
    X, y = digits
    display = MistakesDisplay.from_estimator(grey, X, NAMES[y], n_images=5)
    probabilities = grey.predict_proba(X)
    predicted = grey.predict(X)
    wrong = sorted(
        np.flatnonzero(predicted != NAMES[y]), key=lambda k: -probabilities[k].max()
    )
    assert len(wrong) > 5
    assert display.indices.tolist() == wrong
    assert display.true_labels.tolist() == NAMES[y][wrong].tolist()
    assert display.predicted_labels.tolist() == predicted[wrong].tolist()
    np.testing.assert_allclose(drawn(display.axes_), X[wrong[:5]] / 255)
    first = wrong[0]
    sure = probabilities[first].max()
    assert display.confidences[0] == sure
    expected = f"true {NAMES[y][first]}\npred. {predicted[first]}, {sure:.2f}"
    assert display.axes_[0, 0].get_title() == expected
    title = f"5 of {len(wrong)} mistakes among 300 images, the most confident first"
    assert title in words(display)


def test_mistakes_of_predictions():
    images = np.arange(5 * 4, dtype=float).reshape(5, 2, 2)
    y = np.array(["b", "a", "b", "a", "b"])
    display = MistakesDisplay.from_predictions(
        y, ["b", "b", "a", "a", "a"], images=images
    )
    assert display.indices.tolist() == [1, 2, 4] and display.confidences is None
    assert display.axes_[0, 0].get_title() == "true a\npred. b"
    assert "3 mistakes among 5 images" in words(display)
    # four hundred numbers or four: what is drawn goes from 0 to 1
    np.testing.assert_allclose(display.images, images[[1, 2, 4]] / 19)
    probabilities = np.array([[0.4, 0.6], [0.1, 0.9], [0.9, 0.1], [1, 0], [0.95, 0.05]])
    display = MistakesDisplay.from_predictions(y, probabilities, images=images)
    assert display.indices.tolist() == [4, 1, 2]
    colours = np.random.RandomState(0).uniform(size=(5, 3, 6, 7))
    display = MistakesDisplay.from_predictions(y, probabilities, images=colours)
    assert np.array_equal(display.images, colours.transpose(0, 2, 3, 1)[[4, 1, 2]])
    none = MistakesDisplay.from_predictions(y, y, images=images)
    assert "no mistakes among 5 images" in words(none) and not drawn(none.axes_)
    with pytest.raises(ValueError, match="2 columns, but there are 3 classes: x, y, z"):
        MistakesDisplay.from_predictions(
            y, probabilities, images=images, classes=["x", "y", "z"]
        )
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MistakesDisplay.from_predictions(y, probabilities[:4], images=images)
    with pytest.raises(ValueError, match=r"images has shape \(5, 4\)"):
        MistakesDisplay.from_predictions(y, y, images=images.reshape(5, 4))
    message = "True labels like 'b' .* like 1: .*Mix of label input types"
    with pytest.raises(ValueError, match=message):
        MistakesDisplay.from_predictions(y, [1, 0, 1, 0, 1], images=images)
    empty = MistakesDisplay.from_predictions(y[:0], y[:0], images=images[:0])
    assert "no mistakes among 0 images" in words(empty)


def test_images_of_mistakes_are_found_for_any_input(grey, digits, folder):
    X, y = digits
    labels = np.roll(y, 1)  # so that nearly all are mistakes
    # rows are drawn as the images that the network gets
    named = NAMES[labels]
    display = MistakesDisplay.from_estimator(grey, X.reshape(300, -1), named)
    np.testing.assert_allclose(display.images, X[display.indices] / 255)
    # images are drawn as passed, not as a step of the pipeline transforms them
    small = make_pipeline(ImageResizer((4, 4)), quick()).fit(X, y)
    display = MistakesDisplay.from_estimator(small, X, labels)
    assert display.images.shape[1:] == (8, 8)
    # paths as the images that are read
    paths, truth = folder
    read = make_pipeline(ImageReader(size=(6, 7)), quick(max_epochs=1))
    read.fit(np.array(paths)[:, None], truth)
    wrong = ~read.predict(np.array(paths)[:, None])
    display = MistakesDisplay.from_estimator(read, np.array(paths)[:, None], wrong)
    assert display.images.shape == (12, 6, 7, 3)
    # for a classifier without a network, X or the parameter images
    flat = FunctionTransformer(lambda X: np.reshape(X, (len(X), -1)))
    other = make_pipeline(flat, GaussianNB()).fit(X / 255, y)
    assert MistakesDisplay.from_estimator(other, X / 255, labels).images.shape[1:] == (
        8,
        8,
    )
    rows = X.reshape(300, -1) / 255
    with pytest.raises(TypeError, match="no array of images.*Pass images="):
        MistakesDisplay.from_estimator(other, rows, y)
    display = MistakesDisplay.from_estimator(other, rows, labels, images=X)
    np.testing.assert_allclose(display.images, X[display.indices] / 255)


# -- all displays ---------------------------------------------------------------------


def displays_of(grey, digits):
    X, y = digits
    yield lambda ax: SaliencyDisplay.from_estimator(
        grey, X[:4], method=["gradient", "grad_cam"], ax=ax
    )
    yield lambda ax: ActivationDisplay.from_estimator(grey, X, layer="1", ax=ax)
    yield lambda ax: FilterDisplay.from_estimator(grey, layer=1, ax=ax)
    yield lambda ax: MistakesDisplay.from_estimator(grey, X, NAMES[y], ax=ax)


@pytest.mark.long
@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize(
    "size, layout, style",
    [
        ((4, 2.5), None, "default"),
        ((4, 2.5), "constrained", "dark_background"),
        ((12, 8), "constrained", "default"),
    ],
)
def test_displays_fit_into_the_place_of_axes(
    grey, digits, which, size, layout, style, plt
):
    with plt.style.context(style):
        figure, axes = plt.subplots(1, 2, figsize=size, layout=layout)
        display = list(displays_of(grey, digits))[which](axes[0])
        assert display.figure_ is figure
        figure.canvas.draw()
        place = axes[0].get_subplotspec().get_position(figure)
        for ax in display.axes_.flat:
            box = ax.get_position()
            assert ax.title.get_color() == matplotlib.rcParams[
                "axes.titlecolor"
            ].replace("auto", matplotlib.rcParams["text.color"])
            inside = ax.figure.transSubfigure.transform(box)
            left, right = figure.transFigure.inverted().transform(inside)[:, 0]
            assert left >= -0.01 and right <= max(place.x1, 0.5) + 0.01
        assert not overlaps(display)
        axes[1].plot([1, 2])


@pytest.mark.long
def test_displays_fit_into_figures(grey, digits, plt):
    for make in displays_of(grey, digits):
        figure = plt.figure(layout="constrained")
        part = figure.subfigures(1, 2)[1]
        display = make(part)
        assert display.figure_ is figure
        assert all(ax.figure is part for ax in display.axes_.flat)
    figure = plt.figure()
    with pytest.raises(ValueError, match="does not lie in a grid"):
        FilterDisplay.from_estimator(grey, ax=figure.add_axes((0, 0, 1, 1)))


def test_images_become_pictures():
    rng = np.random.RandomState(0)
    bytes_ = rng.randint(0, 256, size=(4, 5, 6)).astype(np.uint8)
    for images in (bytes_, bytes_ / 255, bytes_[..., None]):
        found = as_pictures(images)
        np.testing.assert_allclose(found.reshape(bytes_.shape), bytes_ / 255)
    wide = rng.normal(size=(4, 5, 6, 3))
    found = as_pictures(wide)
    assert found.min() == 0 and found.max() == 1
    np.testing.assert_allclose(found * np.ptp(wide) + wide.min(), wide)
    many = rng.uniform(size=(2, 5, 6, 4))
    assert np.array_equal(as_pictures(many), many[..., :3])
    np.testing.assert_allclose(as_pictures(many[..., :2]), many[..., :2].mean(axis=3))
    assert as_pictures(np.zeros((0, 3, 3))).shape == (0, 3, 3)


def test_texts_fit():
    for inches in (0.3, 1, 3):
        for text in ("cat", "an armadillo", "x" * 200, "two\nlines of words", ""):
            size, [short] = fitted([text], inches)
            assert 5.5 <= size <= 9 and short.count("\n") == text.count("\n")
            longest = max(map(len, short.split("\n")))
            assert longest * 0.6 * size / 72 <= max(inches, 3 * 0.66 * 5.5 / 72) + 1e-9
    assert all(1 <= grid_shape(n)[1] <= max(n, 1) for n in range(40))
