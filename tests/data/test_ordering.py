"""The order of images where there is little room, against Python's sort of tuples."""

from itertools import pairwise

import numpy as np
import pytest

from sklearn_l2cnn._data import ordering as _ordering
from sklearn_l2cnn._data.arrays import as_array, as_tensor, rows_at
from sklearn_l2cnn._data.canonical import canonical_set, survey

RNG = np.random.RandomState(0)


def images_with_ties(dtype, shape):
    """Images of few levels, some the same, some apart in a single pixel."""
    lowest = 0 if dtype == "uint8" else -2
    images = RNG.randint(lowest, lowest + 3, size=(60, *shape))
    images = images[RNG.randint(60, size=300)].astype(dtype)
    some = RNG.randint(300, size=100)
    images.reshape(300, -1)[some, RNG.randint(np.prod(shape), size=100)] += 1
    return images


@pytest.mark.parametrize("shape", [(3, 3, 1), (9, 9, 1), (1, 5, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("n_words", [1, 2, 3])
def test_however_little_room_there_is(n_words, dtype, shape, monkeypatch):
    images = images_with_ties(dtype, shape)
    monkeypatch.setattr(_ordering, "_KEPT_BYTES", 8 * n_words * len(images))
    monkeypatch.setattr(_ordering, "_BLOCK", 7)
    places = np.random.RandomState(0).permutation(np.prod(shape))
    tuples = [tuple(row[places]) for row in images.reshape(len(images), -1)]
    in_order = sorted(tuples)
    found = survey(as_tensor(images)).ranks
    assert found.tolist() == [in_order.index(one) for one in tuples]


def test_words_sort_as_floats_do():
    values = [-np.inf, -1e300, -1.5, -1e-320, -0.0, 0.0, 5e-324, 1.0, 1e300, np.inf]
    for dtype in (np.float32, np.float64):
        with np.errstate(over="ignore"):
            words = _ordering._as_unsigned(np.array(values, dtype)).tolist()
        small = [x == y for x, y in pairwise(np.array(values, dtype).tolist())]
        assert [x == y for x, y in pairwise(words)] == small
        assert words == sorted(words)


def test_repeats_are_merged_as_a_sort_of_all_rows_would():
    """The slow way: one sort by image, label, weight and row."""
    images = RNG.randint(0, 2, size=(20, 2, 2, 1)).astype(np.uint8)
    images = images[RNG.randint(20, size=200)]
    labels, weight = RNG.randint(3, size=200), RNG.uniform(-1, 1, size=200).clip(0)
    found = survey(as_tensor(images), with_moments=False)
    assert found.moments is None
    groups = {}
    for row in np.lexsort((np.arange(200), weight, labels, found.ranks)):
        if weight[row]:
            key = found.ranks[row], labels[row]
            groups.setdefault(key, []).append(row)
    merged = canonical_set(found, labels, weight)
    assert merged.rows.tolist() == [rows[0] for rows in groups.values()]
    assert merged.labels.tolist() == [label for _, label in groups]
    for rows, total in zip(groups.values(), merged.weight, strict=True):
        assert total == np.add.reduceat(weight[rows], [0])[0]


def test_rows_of_a_range_are_those_of_an_array():
    for rows in (range(5, 25), range(40, 0, -2)):
        array = np.array(rows)
        assert np.array_equal(as_array(rows), array)
        for which in (
            *(slice(3, 9), slice(None, None, -1), [0, 7, -1, -20], array % 4 == 1),
            *(np.array([], int), np.int32([3])),
        ):
            found = rows_at(rows, which)
            assert np.array_equal(as_array(found), array[which])
        for which in ([20], [-21]):
            with pytest.raises(IndexError):
                rows_at(rows, which)
