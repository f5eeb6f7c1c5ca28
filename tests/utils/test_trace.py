"""The layers of networks, in the order in which they run, and their outputs."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from sklearn_l2cnn._utils.trace import (
    at_rest,
    blank_image,
    chosen_layer,
    layer_outputs,
    recording,
    trace,
)
from sklearn_l2cnn.architectures import build_network
from sklearn_l2cnn.architectures._registry import ARCHITECTURES


def hooks_of(module):
    return sum(
        len(part._forward_hooks) + len(part._forward_pre_hooks)
        for part in module.modules()
    )


@pytest.mark.parametrize("name", [*ARCHITECTURES, "resnet18", "vgg11"])
def test_outputs_are_those_of_the_layers_run_one_by_one(name):
    module = build_network(name, (2, 9, 8), 3).eval()
    images = torch.rand(3, 2, 9, 8, generator=torch.Generator().manual_seed(0))
    layers = trace(module, images[:1])
    with torch.no_grad():
        logits, outputs = layer_outputs(module, images, [entry[0] for entry in layers])
        assert torch.equal(logits, module(images))
    assert hooks_of(module) == 0
    for name, layer, shape in layers:
        assert module.get_submodule(name) is layer and not list(layer.children())
        assert tuple(outputs[name].shape) == (3, *shape)
    if type(module) is nn.Sequential:
        assert [entry[1] for entry in layers] == list(module)
        for (name, layer, _), (before, *_) in zip(layers[1:], layers, strict=False):
            assert torch.equal(layer(outputs[before]), outputs[name])
    last = layers[-1][0]
    assert torch.equal(outputs[last], logits)


class Unusual(nn.Module):
    """Layers not in the order of their definition, reused, unused, in place, nested."""

    def __init__(self):
        super().__init__()
        self.never = nn.Linear(7, 7)
        self.last = nn.Linear(4, 2)
        self.act = nn.ReLU(inplace=True)
        self.wrapped = nn.Sequential(nn.Linear(3, 4), self.act)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, images):
        hidden = self.act(self.wrapped(images.flatten(1)))
        hidden, _ = self.attention(*3 * [hidden[:, None]])
        return self.last(hidden[:, 0])


def test_layers_are_listed_in_the_order_in_which_they_run():
    module = Unusual()
    layers = trace(module, torch.ones(1, 3, 1, 1))
    # attention runs no layer: it uses the weights of the one inside
    assert [(name, shape) for name, _, shape in layers] == [
        ("wrapped.0", (4,)),
        ("act", (4,)),
        ("attention", (1, 4)),
        ("last", (2,)),
    ]


def test_a_network_may_be_a_single_layer():
    [(name, layer, shape)] = trace(nn.Linear(3, 2), torch.ones(1, 3))
    assert name == "" and isinstance(layer, nn.Linear) and shape == (2,)
    assert chosen_layer([(name, layer, shape)], 0)[2] == (2,)


def test_work_in_place_does_not_change_recorded_outputs():
    module = Unusual().eval()
    nn.init.normal_(module.wrapped[0].weight)
    images = torch.randn(5, 3, 1, 1)
    logits, outputs = layer_outputs(module, images, ["wrapped.0", "act"])
    assert torch.equal(outputs["wrapped.0"], module.wrapped[0](images.flatten(1)))
    assert (outputs["wrapped.0"] < 0).any() and (outputs["act"] >= 0).all()
    # and gradients flow through them
    [gradient] = torch.autograd.grad(logits[:, 0].sum(), outputs["wrapped.0"])
    assert gradient.any() and not gradient[outputs["wrapped.0"] < 0].any()


class Meeting(nn.Module):
    """Two layers, between which every run waits for another one."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 2)
        self.barrier = threading.Barrier(2, timeout=60)

    def forward(self, images):
        hidden = self.first(images)
        self.barrier.wait()
        return self.second(hidden)


def test_runs_in_several_threads_are_recorded_separately():
    module, images = Meeting(), torch.randn(3, 4, 3)
    with ThreadPoolExecutor(2) as pool, recording(module, ["first"], ["second"]) as run:
        found = list(pool.map(run, images[:2]))
        # a recorded run and one that is not
        recorded = pool.submit(run, images[0])
        module(images[2])
        found.append(recorded.result())
    for (_, outputs, inputs), batch in zip(found, images[[0, 1, 0]], strict=True):
        assert torch.equal(outputs["first"], module.first(batch))
        assert torch.equal(inputs["second"], outputs["first"])
    assert hooks_of(module) == 0


def test_modes_of_all_modules_are_restored_and_nothing_is_learnt():
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten()
    )
    module.train()[1].eval()
    before = [part.training for part in module.modules()]
    statistics = module[1].running_mean.clone()
    image = blank_image(module, (3, 4, 1)) + 1
    assert image.shape == (1, 1, 3, 4)
    trace(module, image)
    assert [part.training for part in module.modules()] == before
    assert torch.equal(module[1].running_mean, statistics)
    with pytest.raises(KeyError), at_rest(module):
        assert not any(part.training for part in module.modules())
        raise KeyError
    assert [part.training for part in module.modules()] == before
    with pytest.raises(RuntimeError):
        trace(module, torch.zeros(1, 2, 3, 4))
    assert hooks_of(module) == 0


def test_blank_images_are_in_the_dtype_of_the_network():
    image = blank_image(nn.Conv2d(3, 1, 1).double(), (2, 5, 3))
    assert image.dtype == torch.float64 and image.shape == (1, 3, 2, 5)
    assert blank_image(nn.Flatten(), (2, 5, 3)).dtype == torch.float32


def test_a_layer_by_name_or_number():
    module = build_network("plain", (1, 8, 8), 3)
    layers = trace(module, torch.zeros(1, 1, 8, 8))
    assert chosen_layer(layers, "conv2") == chosen_layer(layers, 2) == layers[2]
    assert chosen_layer(layers, -1)[0] == "logits"
    for wrong in ("conv9", 9, -10, True, None):
        with pytest.raises(ValueError, match=r"layers are 'conv1' 32 x 8 x 8, 'relu1'"):
            chosen_layer(layers, wrong)
