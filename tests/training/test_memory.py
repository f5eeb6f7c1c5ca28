"""A device without the memory for a batch: its gradient is added up in parts."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import EfficiencyWarning

from sklearn_l2cnn import L2CNNClassifier, L2CNNClassifierCV
from sklearn_l2cnn._training.forward import forward_of
from sklearn_l2cnn._training.shards import (
    gradient_in_parts,
    parts_of,
    whole_gradient,
)
from sklearn_l2cnn._training.step import BatchLoss
from sklearn_l2cnn._utils.devices import OutOfMemory
from tests.conftest import SmallNet, tiny


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_in_parts_is_that_of_the_whole(count, weighted):
    torch.manual_seed(0)
    network = tiny((1, 8, 8), 3).double()
    pixels = torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.0)
    loss = BatchLoss(forward_of(network), pixels, None, 0.1)
    images = torch.randn(7, 1, 8, 8, dtype=torch.float64)
    labels = torch.arange(7) % 3
    weight = torch.rand(7, dtype=torch.float64) if weighted else None
    found = []
    for gradient in (whole_gradient, gradient_in_parts(count)):
        network.zero_grad()
        losses, logits = gradient(loss, images, labels, weight)
        found.append([losses, logits, *(p.grad.clone() for p in network.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)
    assert len(parts_of(7, count)) == min(count, 7)
    assert [b for _, b in parts_of(7, count)][-1] == 7


def classifier(**parameters):
    given = {"architecture": "plain", "batch_size": 64, "max_epochs": 2}
    given |= {"random_state": 0, "device": "cuda:0"}
    return L2CNNClassifier(**given | parameters)


@pytest.fixture
def some(digits):
    return digits[0][:128], digits[1][:128]


def bytes_of(make, some):
    """What a fit takes, so that it may be given a part of it."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    make().fit(*some)
    return torch.cuda.max_memory_allocated() - before


@pytest.mark.gpu
@pytest.mark.parametrize("parameters", [{}, {"optimizer": "sgd"}, {"dropout": 0.0}])
def test_a_batch_that_does_not_fit_is_cut(parameters, some, cuda, limited):
    def make():
        return classifier(**parameters)

    whole = make().fit(*some)
    needed = bytes_of(make, some)
    limited(int(0.8 * needed))
    with pytest.warns(EfficiencyWarning, match="memory of cuda:0.* in 2 parts") as told:
        cut = make().fit(*some)
    assert sum("parts" in str(warning.message) for warning in told) <= 2
    np.testing.assert_allclose(cut.loss_curve_, whole.loss_curve_, rtol=1e-5)
    limited(1 << 30)  # for predictions, which lie in larger chunks
    np.testing.assert_allclose(
        cut.predict_proba(some[0]), whole.predict_proba(some[0]), atol=1e-4
    )
    limited(int(0.8 * needed))
    cut.partial_fit(*some)  # in as many parts


@pytest.mark.gpu
def test_a_network_that_looks_across_is_not_cut(some, cuda, limited):
    def make():
        return classifier(architecture=SmallNet)

    needed = bytes_of(make, some)
    limited(int(0.8 * needed))
    with (
        pytest.warns(EfficiencyWarning, match="parts"),
        pytest.raises(ValueError, match="64 images does not fit .* Lower batch_size"),
    ):
        make().fit(*some)


@pytest.mark.gpu
def test_images_that_do_not_fit_are_not_cut(some, cuda, limited):
    limited(10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(OutOfMemory):
            classifier().fit(*some)


@pytest.mark.gpu
def test_a_stack_that_does_not_fit_is_trained_one_by_one(some, cuda, limited):
    def make():
        given = {"architecture": "plain", "batch_size": 64, "max_epochs": 2}
        given |= {"random_state": 0, "device": "cuda:0", "cv": 2}
        return L2CNNClassifierCV([1e-3, 1e-2, 1e-1], **given)

    whole = make().fit(*some)
    needed = bytes_of(make, some)  # what predictions try out is known by now
    limited(int(0.6 * needed))
    with pytest.warns(EfficiencyWarning, match="trained one by one"):
        apart = make().fit(*some)
    np.testing.assert_allclose(apart.losses_path_, whole.losses_path_, rtol=1e-4)
