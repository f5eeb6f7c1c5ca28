"""The canonical form: what it merges, in which order, and that nothing else matters."""

import numpy as np
import pytest

from sklearn_l2cnn._data import canonical as _canonical
from sklearn_l2cnn._data.arrays import as_tensor
from sklearn_l2cnn._data.canonical import row_hashes as hashes_of_tensors
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
    found = _canonical.canonical_set(as_tensor(images), labels, weight, **options)
    return found._replace(images=images)


def canonical_form(images, labels, weight):
    found = canonical_set(images, labels, weight)
    return found.rows, found.weight


def row_hashes(images, rows):
    return hashes_of_tensors(as_tensor(images), rows)


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
def test_hashes_of_different_images_differ(dtype, shape):
    images = np.unique(RNG.randint(0, 256, size=(2000, *shape)), axis=0).astype(dtype)
    assert len(np.unique(row_hashes(images, np.arange(len(images))))) == len(images)


def test_a_hash_sees_the_position_of_a_pixel():
    images = np.eye(64).reshape(64, 8, 8, 1)
    assert len(np.unique(row_hashes(images, np.arange(len(images))))) == 64


@pytest.mark.parametrize("dtype", DTYPES)
def test_colliding_hashes_do_not_merge_different_images(dtype, monkeypatch):
    images, labels, weight = weighted_images(dtype)
    expected = as_dict(images, labels, weight)
    monkeypatch.setattr(
        _canonical, "row_hashes", lambda images, rows: np.zeros(len(rows), np.int64)
    )
    rows, merged = canonical_form(images, labels, weight)
    assert as_dict(images[rows], labels[rows], merged) == expected
    assert len(rows) == len(expected)
    order = RNG.permutation(len(images))
    again, _ = canonical_form(images[order], labels[order], weight[order])
    assert np.array_equal(images[rows], images[order][again])


def test_class_mass_and_take():
    images, labels, weight = weighted_images("uint8")
    data = canonical_set(images, labels, weight)
    expected = [weight[labels == k].sum() for k in range(3)]
    assert data.class_mass(3).tolist() == expected
    part = data.take(np.array([2, 0]))
    assert np.array_equal(part.rows, data.rows[[2, 0]])
    assert np.array_equal(part.weight, data.weight[[2, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_some_rows_with_known_hashes_are_these_rows(dtype):
    images, labels, weight = weighted_images(dtype)
    rows = RNG.permutation(len(images))[: len(images) // 2]
    hashes = row_hashes(images, np.arange(len(images)))
    found = canonical_set(images, labels[rows], weight[rows], rows=rows, hashes=hashes)
    alone = canonical_set(images[rows], labels[rows], weight[rows])
    assert np.array_equal(found.rows, rows[alone.rows])
    assert np.array_equal(found.labels, alone.labels)
    assert np.array_equal(found.weight, alone.weight)
