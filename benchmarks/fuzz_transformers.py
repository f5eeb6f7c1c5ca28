"""Do the image transformers give finite numbers or a clear error, whatever comes?

python -m benchmarks.fuzz_transformers --cases N [--seed S] [--jobs J]

Every transformer with random parameters is fitted to random images of every shape, form
and dtype, at once or in batches, with and without weights, transforms them and others,
and undoes it, where somebody has set another default device or dtype of torch, or an
autocast. The numbers are ordinary, constant, tiny, huge, subnormal, or not finite. What
comes out must be finite numbers of the shape, form and dtype that are promised, or a
ValueError that the package or scikit-learn raises itself; X must be as it was, and
global state as well, and nothing be printed or warned of but by the package.
"""

import sys
import traceback
import warnings
from contextlib import contextmanager

import numpy as np
import torch

from benchmarks import _fuzzing
from sklearn_l2cnn import preprocessing
from sklearn_l2cnn.preprocessing import ImageReader, TorchvisionTransformer

_DTYPES = ("bool", "uint8", "int8", "uint16", "int32", "int64", "uint64")
_DTYPES += ("float16", *("float32", "float64") * 4)
_MEMORY = 256 << 20


def main():
    return _fuzzing.main("benchmarks.fuzz_transformers", __doc__, case)


# -- what comes -----------------------------------------------------------------------


def transformer_of(draw):
    """Return a transformer with random parameters."""
    cls = getattr(preprocessing, draw.choice(preprocessing.__all__))
    side = draw.choice((1, 2, 3, 4, 7))
    size = {"size": draw.choice((side, (side, draw.choice((1, 5)))))}
    resized = {
        **size,
        "aspect": draw.choice(("crop", "pad", "stretch")),
        "interpolation": draw.choice(("nearest", "bilinear", "bicubic")),
        "fill": draw.choice((0.0, 0.3, 1.0)),
    }
    low = draw.choice((0, -1, -1e300, 1e-310))
    ranged = {"feature_range": (low, draw.choice((1, 1e-300, 255, 1.5e308)))}
    parameters = {
        "CenterCropper": size,
        "ImagePadder": {**size, "mode": draw.choice(("constant", "edge", "reflect"))},
        "ImageResizer": resized,
        "ImageReader": {
            **resized,
            "mode": draw.choice(("L", "RGB", "RGBA")),
            "dtype": draw.choice(("uint8", "float32")),
        },
        "ContrastNormalizer": {
            "window": draw.choice((None, 1, 3, 9)),
            "epsilon": draw.choice((0.01, 1.0, 1e-200, 1e-320, 1e300)),
        },
        "PatchWhitener": {
            "patch_size": side,
            "epsilon": draw.choice((0.01, 1e-300, 1e300)),
            "stride": draw.choice((1, 2, 5)),
        },
        "PixelScaler": ranged if ranged["feature_range"][0] < 1e-300 else {},
        "ToChannels": {"n_channels": draw.choice((1, 3, 4))},
        "TorchvisionTransformer": {"func": draw.choice((None, torch.sqrt, _noise))},
    }.get(cls.__name__, {})
    if cls.__name__ not in ("ChannelsFirst", "ChannelsLast"):
        parameters["channels"] = draw.choice(("last", "last", "first"))
    return cls(**parameters)


def _noise(images):
    return images.float() + torch.rand(images.shape) + np.random.rand()


def images_of(draw, shape, dtype):
    """Return images of one kind of numbers, by several kinds of pattern."""
    rng = np.random.RandomState(draw.randrange(2**32))
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        ends = np.array([0, 1], dtype=object)
        if dtype.kind != "b":
            ends = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype=object)
        some = rng.randint(0, 2 if dtype.kind == "b" else 100, shape)
        which = draw.choice(("some", "ends", "one"))
        if which == "some":
            return some.astype(dtype)
        picked = ends[rng.randint(0, 2, shape)] if which == "ends" else ends[1]
        return np.full(shape, picked, dtype=object).astype(dtype)
    info = np.finfo(dtype)
    value = draw.choice((0.0, -0.0, 1.0, 255.0, 1e-45, 1e-310, 1e-200, 1e-30, 1e17))
    value = draw.choice(
        (value, value, 1e38, 1e150, 1e155, 1e200, 1e300, float(info.max))
    )
    value = min(value, float(info.max))
    pattern = draw.choice(("constant", "signs", "zeros", "uniform", "one", "gradient"))
    values = {
        "constant": lambda: np.full(shape, value),
        "signs": lambda: np.where(rng.rand(*shape) < 0.5, value, -value),
        "zeros": lambda: np.where(rng.rand(*shape) < 0.5, value, 0.0),
        "uniform": lambda: rng.uniform(-1, 1, shape) * value,
        "one": lambda: _with_one(rng.uniform(0, 1, shape), value),
        "gradient": lambda: (
            np.linspace(0, 1, int(np.prod(shape))).reshape(shape) * value
        ),
    }[pattern]()
    values = values.astype(dtype)
    if draw.random() < 0.05:
        values.flat[draw.randrange(values.size)] = draw.choice((np.nan, np.inf))
    return values


def _with_one(values, value):
    values.flat[0] = value
    return values


@contextmanager
def defaults_of(draw):
    """Set, one case in three, what is not to count."""
    way = draw.choice((None, None, None, None, "device", "dtype", "autocast"))
    if way == "device":
        torch.set_default_device("meta")
    if way == "dtype":
        torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=way == "autocast"):
            yield way
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


# -- a case ---------------------------------------------------------------------------


def case(seed):
    """Yield what is wrong with one transformer and one kind of images."""
    draw = _fuzzing.draw(seed)
    transformer = transformer_of(draw)
    n, side = draw.choice((1, 2, 5)), [draw.choice((1, 2, 5, 8)) for _ in range(2)]
    depth = draw.choice((1, 1, 2, 3, 3, 4, 6))
    shape = draw.choice(((n, *side), (n, *side, depth), (n, side[0] * side[1])))
    dtype = draw.choice(_DTYPES)
    X, other = (
        images_of(draw, shape, dtype),
        images_of(draw, shape, draw.choice(_DTYPES)),
    )
    copies = X.copy(), other.copy()
    weight = draw.choice((None, None, np.linspace(0, 1, n), np.full(n, 1e-300)))
    with _fuzzing.little_memory(_MEMORY) as found, defaults_of(draw) as way:
        before = _fuzzing.world()
        yield from _judged_calls(draw, transformer, X, other, weight)
        for name, value in _fuzzing.world().items():
            if value != before[name]:
                yield f"{transformer!r} within {way}: {name} is now {value!s:.60}"
    yield from (f"{transformer!r} on {dtype} {shape}: {text}" for text in found)
    for one, copy in zip((X, other), copies, strict=True):
        if one.tobytes() != copy.tobytes():
            yield f"{transformer!r} changes X"


def _judged_calls(draw, transformer, X, other, weight):
    """Yield what is wrong with a fit and the calls that follow it."""
    told = f"{transformer!r} on {X.dtype} {X.shape}"
    learns = hasattr(transformer, "partial_fit") and draw.random() < 0.5
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            transformer.fit(X, sample_weight=weight)
            if learns:
                transformer.partial_fit(other)
            for one in (X, other, X[:1]):
                found = transformer.transform(one)
                yield from (
                    f"{told}: {t}" for t in _wrong_with(transformer, one, found)
                )
                if hasattr(transformer, "inverse_transform"):
                    back = transformer.inverse_transform(found)
                    # rows may come back as images, and images as rows
                    if not np.isfinite(back).all() or back.size != one.size:
                        yield f"{told}: the inverse has shape {back.shape}, or NaN"
        except ValueError as error:
            yield from (f"{told}: {text}" for text in _wrong_with_error(error))
    for warning in warned:
        if not _of_our_own(warning):
            yield f"{told}: {warning.category.__name__}: {warning.message}"


def _of_our_own(warning):
    """Say whether a warning is the package's, in words that a user can act on."""
    text = str(warning.message)
    words = "taken as", "The training images were", "were cut off", "Number of distinct"
    return warning.category is UserWarning and any(word in text for word in words)


def _wrong_with(transformer, X, found):
    """Yield what is wrong with a result."""
    shape = transformer.output_shape_
    if len(found) != len(X) or found[0].size != np.prod(shape):
        yield f"shape {found.shape} of images {shape}"
    if not np.isfinite(found).all():
        yield f"NaN or infinity in {found.dtype}"
    narrow = X.dtype.itemsize <= 2 or X.dtype == np.float32
    wanted = {"float32" if narrow else "float64"}
    if X.dtype == np.uint8:
        wanted = {"uint8", "float32"}
    if isinstance(transformer, ImageReader):
        wanted = {transformer.dtype}
    if str(found.dtype) not in wanted and not isinstance(
        transformer, TorchvisionTransformer
    ):
        yield f"dtype {found.dtype} for {X.dtype}"


def _wrong_with_error(error):
    """Yield what is wrong with an error: that others raise it, or say too little."""
    frames = traceback.extract_tb(error.__traceback__)
    where = frames[-1].filename
    if type(error) is not ValueError or len(str(error)) < 30:
        yield f"{type(error).__name__}: {error}"
    elif "sklearn_l2cnn" not in where and "/sklearn/" not in where:
        yield f"an error of {where}: {error}"


if __name__ == "__main__":
    sys.exit(main())
