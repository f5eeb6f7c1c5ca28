"""Functions of a network: equal rows give equal bits, on any processor."""

import os
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import linear, relu

from sklearn_l2cnn._training import rowwise as dense_module
from sklearn_l2cnn._training.rowwise import RowByRow, convolved, dense
from sklearn_l2cnn._training.runtime import torch_threads
from tests.conftest import quick

WIDTHS = [*range(1, 71), *range(127, 133)]
OUTPUTS = [1, 2, 3, 5, 10, 17, 64]

# Instruction sets of other processors, as far as libraries can be told to take them.
PROCESSORS = {
    "this one": {},
    "AVX2": {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE4": {
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
    },
}


def printed_on(processor, function, *arguments):
    """Return what a function returns in a process for a processor, as it is printed."""
    module, name = function.__module__, function.__name__
    script = f"from {module} import {name}; print({name}{arguments})"
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **PROCESSORS[processor]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def shapes_that_vary():
    """Return the shapes for which equal rows of a batch differ in a bit."""
    torch.manual_seed(0)
    found = []
    cases = [
        *product((torch.float32,), (1, 3), WIDTHS, OUTPUTS),
        *product((torch.float64,), (1, 2), WIDTHS[::5], OUTPUTS),
    ]
    with torch.inference_mode():
        for dtype, threads, width, n_outputs in cases:
            torch.set_num_threads(threads)
            row, weight, bias = (
                torch.randn(*shape, dtype=dtype)
                for shape in ((1, width), (n_outputs, width), (n_outputs,))
            )
            result = dense(row.expand(128, -1).contiguous(), weight, bias)
            # chunks are computed in one thread, where a row gets what it gets alone
            alone = dense(row, weight, bias) if threads == 1 else result[:1]
            if (result != alone).any():
                found.append((dtype, threads, width, n_outputs))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (3, 2), (5, 4, 3)])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("kernel", ["_linear", "_convolution"])
def test_values_are_those_of_linear(shape, dtype, has_bias, kernel, monkeypatch):
    monkeypatch.setattr(dense_module, "_ONEDNN", getattr(dense_module, kernel))
    rows, weight = torch.randn(*shape, 37, dtype=dtype), torch.randn(5, 37, dtype=dtype)
    bias = torch.randn(5, dtype=dtype) if has_bias else None
    expected = linear(rows, weight, bias)
    tolerance = {} if dtype != torch.bfloat16 else {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(dense(rows, weight, bias), expected, **tolerance)
    with torch.inference_mode(), RowByRow():
        torch.testing.assert_close(linear(rows, weight, bias), expected, **tolerance)


def test_gradients_flow_where_they_are_recorded():
    layer, rows = nn.Linear(37, 3), torch.randn(9, 37, requires_grad=True)
    [expected] = torch.autograd.grad(layer(rows).square().sum(), rows)
    with RowByRow():
        [found] = torch.autograd.grad(layer(rows).square().sum(), rows)
    torch.testing.assert_close(found, expected)


def test_rows_that_are_not_aligned_are_multiplied():
    wide, weight = torch.randn(9, 33, dtype=torch.float64), torch.randn(3, 32).double()
    torch.testing.assert_close(dense(wide[:, 1:], weight), linear(wide[:, 1:], weight))


class Functional(nn.Module):
    """A network whose dense layers are calls in its forward function."""

    def __init__(self, input_shape, n_classes, width):
        super().__init__()
        self.hidden = nn.Parameter(torch.randn(width, 64) / 8)
        self.logits = nn.Parameter(torch.randn(n_classes, width))

    def forward(self, images):
        hidden = relu(linear(images.flatten(1), self.hidden))
        return linear(hidden, self.logits)


def layered(input_shape, n_classes, width):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, n_classes)
    )


@pytest.mark.parametrize("width", [5, 37, 129])
@pytest.mark.parametrize("build", [layered, Functional])
def test_predictions_do_not_depend_on_company(digits, build, width):
    X, y = digits
    torch.manual_seed(0)
    architecture = build((1, 8, 8), 10, width)
    clf = quick(architecture=architecture, max_epochs=1).fit(X[:100], y[:100])
    expected = clf.predict_proba(X)
    order = np.random.RandomState(0).permutation(len(X))
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            assert np.array_equal(clf.predict_proba(X[order]), expected[order])
            halves = [clf.predict_proba(X[:150]), clf.predict_proba(X[150:])]
            assert np.array_equal(np.concatenate(halves), expected)
            for k in (0, 1, 150, 299):
                assert np.array_equal(clf.predict_proba(X[k : k + 1])[0], expected[k])
    finally:
        torch.set_num_threads(threads)


# -- convolutions and functions of single numbers -------------------------------------


@pytest.mark.parametrize("padding", [0, 1, (2, 1), "same", "valid"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("after", ["none", "relu"])
def test_values_are_those_of_conv2d(padding, groups, dtype, after):
    images = torch.randn(3, 4, 7, 6, dtype=dtype)
    kernels, bias = (
        torch.randn(6, 4 // groups, 3, 3, dtype=dtype),
        torch.randn(6).to(dtype),
    )
    expected = F.conv2d(images, kernels, bias, padding=padding, groups=groups)
    expected = expected.relu() if after == "relu" else expected
    with torch.inference_mode():
        found = convolved(
            images, kernels, bias, padding=padding, groups=groups, after=after
        )
    torch.testing.assert_close(found, expected)


def test_convolutions_of_one_image_are_those_of_many():
    """torch itself computes a few of them in another way."""
    vary = 0
    for side in (1, 2, 5, 8):
        for depth, width in ((1, 3), (5, 7), (8, 8), (24, 33)):
            kernels, bias = torch.randn(width, depth, 1, 1), torch.randn(width)
            images = torch.randn(16, side, side, depth).permute(0, 3, 1, 2)
            with torch.inference_mode(), torch_threads(1):
                many, one = (convolved(X, kernels, bias) for X in (images, images[:1]))
                plain = (F.conv2d(X, kernels, bias) for X in (images, images[:1]))
                vary += not torch.equal(*(X[0] for X in plain))
            assert torch.equal(many[0], one[0])
    assert vary, "there is no need for it any more"


FUNCTIONS = {
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "method": torch.Tensor.sigmoid,
    "power": lambda X: X.abs() ** 1.7,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("n", [1, 3, 31, 64, 65, 100, 1003])
def test_functions_of_single_numbers_are_computed_in_blocks(name, n):
    function, numbers = FUNCTIONS[name], torch.randn(1024)
    with torch.inference_mode():
        whole = function(numbers)  # a multiple of all blocks
        with RowByRow():
            found = function(numbers[:n].clone())
            shaped = function(numbers[:n].clone().view(1, 1, 1, -1))
    assert torch.equal(found, whole[:n]) and torch.equal(shaped.view(-1), whole[:n])


def test_functions_in_place_work_in_place():
    numbers = torch.randn(100)
    with torch.inference_mode(), RowByRow():
        expected = F.silu(numbers.clone())
        changed = numbers.clone()
        found = F.silu(changed, inplace=True)
    assert torch.equal(found, expected) and torch.equal(changed, expected)


@pytest.mark.parametrize("layout", ["last", "first", "neither"])
def test_functions_keep_their_shape(layout):
    images = torch.randn(3, 5, 7, 2)
    images = {
        "last": images.permute(0, 3, 1, 2),
        "first": images,
        "neither": images.transpose(0, 2),
    }[layout]
    with torch.inference_mode(), RowByRow():
        torch.testing.assert_close(F.gelu(images), F.gelu(images.contiguous()))


def test_gradients_of_functions_flow():
    numbers = torch.randn(10, requires_grad=True)
    with RowByRow():
        F.gelu(numbers).sum().backward()
    assert numbers.grad is not None


def convolutions_that_vary():
    """Return the shapes for which equal images of float64 are convolved differently."""
    torch.manual_seed(0)
    found = []
    with torch.inference_mode():
        for threads, side, depth, width in product(
            (1, 3), (1, 5, 9), (1, 3, 8), (1, 7, 16)
        ):
            torch.set_num_threads(threads)
            kernels = torch.randn(width, depth, 3, 3).double()
            image = torch.randn(1, side, side, depth).double().permute(0, 3, 1, 2)
            many = image.expand(37, -1, -1, -1).contiguous(
                memory_format=torch.channels_last
            )
            many, one = (convolved(X, kernels, padding=1) for X in (many, image))
            if (many != one).any():
                found.append((threads, side, depth, width))
    return found


# -- products of many matrices --------------------------------------------------------

_Q, _K, _V = torch.randn(3, 9, 2, 7, 5, generator=torch.Generator().manual_seed(0))
_ROWS = torch.arange(9.0)[:, None, None]

PRODUCTS = {
    "matmul": lambda: torch.matmul(_Q, _K.transpose(2, 3)),
    "operator": lambda: _Q @ _K.transpose(2, 3),
    "with a matrix a head": lambda: _Q @ _V[0].transpose(1, 2),
    "from the left": lambda: _V[0, :, :, :2].transpose(1, 2) @ _Q,
    "with a vector": lambda: _Q @ _V[0, 0, 0],
    "bmm": lambda: torch.bmm(_Q[:, 0], _K[:, 0].transpose(1, 2)),
    "method": lambda: _Q[:, 0].bmm(_K[:, 0].transpose(1, 2)),
    "baddbmm": lambda: torch.baddbmm(_ROWS, _Q[:, 0], _K[:, 0].transpose(1, 2), beta=2),
    "attention": lambda: F.scaled_dot_product_attention(_Q, _K, _V),
    "masked attention": lambda: F.scaled_dot_product_attention(
        _Q, _K, _V, attn_mask=torch.eye(7, dtype=torch.bool)
    ),
    "a mask an image": lambda: F.scaled_dot_product_attention(
        _Q, _K, _V, attn_mask=_ROWS[..., None] * torch.eye(7)
    ),
    "einsum": lambda: torch.einsum("n h q d, n h k d -> n h q k", _Q, _K),
    "einsum with less": lambda: torch.einsum("nhqd,nd->nhq", _Q, _V[:, 0, 0]),
    "einsum with a weight": lambda: torch.einsum("nhqd,hkd->nqk", _Q, _V[0]),
    "einsum in another order": lambda: torch.einsum(
        "hnd,nkd->nhk", _Q[0], _V[0].transpose(0, 1)
    ),
    "einsum of lists": lambda: torch.einsum(_ROWS, [0, 1, 2], _Q[:, 0], [0, 3, 4]),
    "einsum without an arrow": lambda: torch.einsum("nij,njk", _Q[:, 0], _K[:, 0].mT),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_values_are_those_of_products(name):
    expected = PRODUCTS[name]()
    with torch.inference_mode(), RowByRow():
        torch.testing.assert_close(PRODUCTS[name](), expected)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("mask", [None, "shared", "padding"])
def test_values_are_those_of_a_layer_of_attention(
    separate, batch_first, need_weights, mask
):
    options = {"kdim": 6, "vdim": 4} if separate else {"add_bias_kv": True}
    layer = nn.MultiheadAttention(6, 2, batch_first=batch_first, **options).eval()
    inputs = [torch.randn(5, 3, depth) for depth in (6, 6, 4 if separate else 6)]
    n, n_tokens = (5, 3) if batch_first else (3, 5)
    masks = {
        "attn_mask": torch.ones(n_tokens, n_tokens, dtype=torch.bool).triu(1),
        "key_padding_mask": torch.arange(n_tokens).expand(n, -1) > 1,
    }
    own = {"shared": "attn_mask", "padding": "key_padding_mask"}.get(mask)
    options = {own: masks[own]} if own else {}
    with torch.inference_mode():
        expected = layer(*inputs, need_weights=need_weights, **options)
        with RowByRow():
            found = layer(*inputs, need_weights=need_weights, **options)
    torch.testing.assert_close(found, expected)


def test_gradients_of_products_flow():
    query = _Q.clone().requires_grad_()
    with RowByRow():
        F.scaled_dot_product_attention(query, _K, _V).sum().backward()
    assert query.grad.shape == query.shape


def products_that_vary():
    """Return the shapes for which equal images of a batch attend differently."""
    torch.manual_seed(0)
    found = []
    with torch.inference_mode(), RowByRow():
        for threads, length, width in product(
            (1, 3), (1, 2, 9, 17, 64), (1, 3, 8, 24, 33)
        ):
            torch.set_num_threads(threads)
            one = torch.randn(3, 1, 1, length, width)
            many = one.expand(3, 37, 1, length, width)
            for function in _attending, F.scaled_dot_product_attention:
                if (function(*many) != function(*one)).any():
                    found.append((function.__name__, threads, length, width))
    return found


def _attending(query, key, value):
    return torch.softmax(query @ key.transpose(2, 3), dim=3) @ value


def all_that_vary():
    """Return what varies of all that is tried, in one process: torch starts slowly."""
    return [*shapes_that_vary(), *convolutions_that_vary(), *products_that_vary()]


@pytest.mark.long
@pytest.mark.parametrize("processor", PROCESSORS)
def test_equal_images_give_equal_bits(processor):
    assert printed_on(processor, all_that_vary) == "[]"
