"""The canonical form: what it merges, in which order, and that nothing else matters."""

import numpy as np
import pytest

from sklearn_l2cnn._data import canonical as _canonical
from sklearn_l2cnn._data.arrays import as_tensor
from sklearn_l2cnn._data.canonical import survey
from sklearn_l2cnn._data.weights import normalized_weights

RNG = np.random.RandomState(0)
DTYPES = ["uint8", "float32", "float64"]


def weighted_images(dtype, n=40):
    """Images with many repeats, labels, and weights with zeros."""
    distinct = (RNG.uniform(0, 255, size=(n // 4, 3, 3, 1))).astype(dtype)
    which = RNG.randint(len(distinct), size=n)
    labels = which % 2 ^ (RNG.uniform(size=n) < 0.2)
    return distinct[which], labels.astype(int), RNG.randint(0, 4, size=n).astype(float)


def canonical_set(images, labels, weight, **options):
    """Call the function with a tensor of images; return its images as numpy's."""
    found = _canonical.canonical_set(
        survey(as_tensor(images)), labels, weight, **options
    )
    return found._replace(images=images)


def canonical_form(images, labels, weight):
    found = canonical_set(images, labels, weight)
    return found.rows, found.weight


def value_ranks(images):
    return survey(as_tensor(images)).ranks


def as_dict(images, labels, weight):
    """The same by definition: a dictionary from (image, label) to its total weight."""
    total = {}
    for image, label, w in zip(images, labels, weight, strict=True):
        if w > 0:
            key = (image.tobytes(), int(label))
            total[key] = total.get(key, 0.0) + w
    return total


@pytest.mark.parametrize("dtype", DTYPES)
def test_merges_as_a_dictionary_would(dtype):
    images, labels, weight = weighted_images(dtype)
    rows, merged = canonical_form(images, labels, weight)
    found = as_dict(images[rows], labels[rows], merged)
    assert len(found) == len(rows) < np.count_nonzero(weight)
    assert found == as_dict(images, labels, weight)


@pytest.mark.parametrize("layout", ["C", "transposed"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_neither_order_nor_repeats_nor_zeros_show(dtype, layout):
    images, labels, weight = weighted_images(dtype)
    once = canonical_set(images, labels, weight)
    repeat = RNG.permutation(np.repeat(np.arange(len(weight)), weight.astype(int)))
    other = images[repeat]
    if layout == "transposed":  # the same values, another order in memory
        other = np.asfortranarray(other)
    again = canonical_set(other, labels[repeat], np.ones(len(repeat)))
    assert once.images[once.rows].tobytes() == again.images[again.rows].tobytes()
    assert np.array_equal(once.labels, again.labels)
    assert np.array_equal(once.weight, again.weight)


def test_a_constant_factor_leaves_no_trace_in_normalized_weights():
    weight = RNG.uniform(0.1, 3, size=1000)
    plain = normalized_weights(weight)
    for factor in (3, 0.1, 1e-200, 1e200, np.pi):
        assert np.array_equal(normalized_weights(weight * factor), plain)
    assert plain.dtype == np.float32
    assert plain.mean(dtype=float) == pytest.approx(1, abs=1e-7)


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match="class_weight must leave at least one class"):
        normalized_weights(np.zeros(3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_sign_of_zero_is_nothing(dtype):
    images = np.zeros((2, 2, 2, 1), dtype=dtype)
    images[1] = -0.0
    rows, weight = canonical_form(images, np.zeros(2, int), np.ones(2))
    assert len(rows) == 1 and weight[0] == 2


@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 8, 1), (3, 5, 3), (1, 7, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("levels", [2, 256])
def test_ranks_are_those_of_a_sort_by_value(levels, dtype, shape):
    """The slow way: Python sorts tuples of pixels, in the order that they count."""
    images = RNG.randint(0, levels, size=(500, *shape)).astype(dtype)
    images = images[RNG.randint(len(images), size=700)]
    places = np.random.RandomState(0).permutation(np.prod(shape))
    tuples = [tuple(row[places]) for row in images.reshape(len(images), -1)]
    in_order = sorted(tuples)
    expected = [in_order.index(one) for one in tuples]
    assert value_ranks(images).tolist() == expected


def test_ranks_of_some_rows_are_in_the_order_of_all():
    images = RNG.randint(0, 3, size=(300, 4, 4, 1), dtype=np.uint8)
    rows = RNG.permutation(300)[:100]
    some, whole = value_ranks(images[rows]), value_ranks(images)[rows]
    assert np.array_equal(
        np.unique(some, return_inverse=True)[1],
        np.unique(whole, return_inverse=True)[1],
    )


def test_a_single_pixel_tells_images_apart_wherever_it_is():
    images = np.eye(64).reshape(64, 8, 8, 1)
    assert sorted(value_ranks(images)) == list(range(64))


def test_neighbouring_floats_are_different_values():
    images = np.full((3, 6, 6, 1), 0.1)
    images[1, 5, 5] = np.nextafter(0.1, 1)
    images[2, 5, 5] = np.nextafter(0.1, 0)
    assert value_ranks(images).tolist() == [1, 2, 0]


@pytest.mark.parametrize("memory", ["last", "first"])
def test_the_order_is_of_what_pixels_count_not_of_their_dtype(memory):
    X = RNG.randint(0, 256, size=(400, 5, 5, 3), dtype=np.uint8)
    X[::7] = X[3]
    if memory == "first":
        X = np.ascontiguousarray(X.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    expected = value_ranks(X)
    whole = X.astype(float)
    for other in (whole, whole / 255, (whole / 255).astype(np.float32), whole - 128):
        assert np.array_equal(value_ranks(other), expected)
    floats = RNG.normal(size=(100, 5, 5, 1)).astype(np.float32)
    assert np.array_equal(value_ranks(floats), value_ranks(floats.astype(float)))


def test_class_mass_and_take():
    images, labels, weight = weighted_images("uint8")
    data = canonical_set(images, labels, weight)
    expected = [weight[labels == k].sum() for k in range(3)]
    assert data.class_mass(3).tolist() == expected
    part = data.take(np.array([2, 0]))
    assert np.array_equal(part.rows, data.rows[[2, 0]])
    assert np.array_equal(part.weight, data.weight[[2, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_some_rows_of_a_survey_are_these_rows(dtype):
    images, labels, weight = weighted_images(dtype)
    rows = RNG.permutation(len(images))[: len(images) // 2]
    found = canonical_set(images, labels[rows], weight[rows], rows=rows)
    alone = canonical_set(images[rows], labels[rows], weight[rows])
    assert np.array_equal(found.rows, rows[alone.rows])
    assert np.array_equal(found.labels, alone.labels)
    assert np.array_equal(found.weight, alone.weight)
