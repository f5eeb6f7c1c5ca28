"""What the pretended device does as a real one: on that, these tests run, too."""

import copy
import gc
import pickle
import threading

import pytest
import torch
from torch import nn

from benchmarks._measure import no_waits
from tests.pretended import is_pretended

pytestmark = pytest.mark.gpu


def small_network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
    )


def test_shapes_are_those_of_the_cpu(cuda):
    assert torch.arange(5, device=cuda).shape == (5,)
    assert torch.arange(5, device=cuda)[:, None].expand(5, 3).shape == (5, 3)
    assert torch.eye(3, device=cuda).sum(dim=0).tolist() == [1, 1, 1]
    assert torch.randperm(6, device=cuda).shape == (6,)
    assert torch.zeros(4, 3, device=cuda).t().stride() == (1, 3)


def test_views_in_inference_mode(cuda):
    x = torch.ones(4, 3, device=cuda)
    with torch.inference_mode():
        made, views = torch.ones(3, device=cuda) * 2, [x.detach(), x.view(12), x[0]]
        assert made.is_inference() and made.detach().is_inference()
    assert not any(view.is_inference() for view in views)
    assert x.sum() == 12


def test_numbers_are_those_of_the_cpu(cuda):
    network = small_network()
    images = torch.randn(5, 1, 4, 4)
    network(images).square().sum().backward()
    expected = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    parameters = list(network.parameters())
    network.to(cuda)
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True))
    logits = network(images.to(cuda))
    assert logits.device == cuda and logits.is_cuda
    logits.square().sum().backward()
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert parameter.grad.device == cuda
        torch.testing.assert_close(parameter.grad.cpu(), gradient, rtol=1e-4, atol=1e-4)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert network(images.to(cuda)).dtype == torch.bfloat16


def test_what_two_devices_may_not_do(cuda):
    here, there = torch.ones(3, device=cuda), torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        here + there
    with pytest.raises(RuntimeError, match="same device"):
        torch.cat([here, there])
    with pytest.raises(TypeError, match="convert cuda"):
        here.numpy()
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(3, device=cuda, generator=torch.Generator().manual_seed(3))
    assert (here + torch.tensor(1.0)).tolist() == [2, 2, 2]  # a number may come along


def test_generators(cuda):
    generator = torch.Generator(cuda).manual_seed(5)
    first = torch.rand(3, device=cuda, generator=generator)
    second = torch.rand(3, device=cuda, generator=generator)
    generator.manual_seed(5)
    again = torch.rand(3, device=cuda, generator=generator)
    assert torch.equal(first, again) and not torch.equal(first, second)
    of_cpu = torch.get_rng_state()
    with torch.random.fork_rng([cuda.index]):
        torch.cuda.manual_seed(1)
        forked = torch.rand(3, device=cuda)
        torch.cuda.manual_seed(1)
        assert torch.equal(torch.rand(3, device=cuda), forked)
    assert torch.equal(torch.get_rng_state(), of_cpu)


def test_copies_and_pickles_keep_what_they_are(cuda):
    network = small_network().to(cuda)
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        for old, new in zip(network.parameters(), copied.parameters(), strict=True):
            assert new.device == cuda and isinstance(new, nn.Parameter)
            assert new.requires_grad and torch.equal(old, new)
            assert new.data_ptr() != old.data_ptr()


@pytest.fixture
def strict():
    """Let torch raise wherever the host would wait for the device."""
    with no_waits():
        yield


WAITING = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x[0]),
    "to the host": lambda x: x.cpu(),
    "from the host": lambda x: x.copy_(torch.ones(3)),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0],
    "tensor": lambda x: torch.tensor([1.0, 2.0], device=x.device),
}
NOT_WAITING = {
    "sum": lambda x: x.sum() * 2 + x,
    "fill": lambda x: x.fill_(3),
    "number": lambda x: x.mul_(torch.tensor(2.0)),
    "zeros": lambda x: torch.zeros(3, device=x.device),
    "rows": lambda x: x.index_select(0, torch.zeros(1, device=x.device).long()),
    "pinned": lambda x: x.copy_(
        torch.empty(3, pin_memory=True).fill_(1), non_blocking=True
    ),
}


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_for_the_device(cuda, strict, name):
    x = torch.ones(3, device=cuda)
    with pytest.raises(RuntimeError, match="synchronizing"):
        WAITING[name](x)


@pytest.mark.parametrize("name", NOT_WAITING)
def test_what_does_not_wait(cuda, strict, name):
    NOT_WAITING[name](torch.ones(3, device=cuda))


def captured(function):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph


def test_a_graph_does_again_what_was_recorded(cuda):
    x, total = torch.ones(3, device=cuda), torch.zeros(3, device=cuda)
    calls = []

    def step():
        calls.append(1)
        doubled = x * 2
        total.add_(doubled)

    graph = captured(step)
    assert total.tolist() == [0, 0, 0]  # nothing is done while it is recorded
    x.fill_(5)
    graph.replay()
    graph.replay()
    assert total.tolist() == [20, 20, 20]
    assert len(calls) == 1  # what the host does is not recorded


def test_a_graph_draws_other_numbers_every_time(cuda):
    drawn = torch.zeros(4, device=cuda)
    graph = captured(lambda: drawn.copy_(torch.rand(4, device=cuda)))
    seen = []
    for _ in range(2):
        graph.replay()
        seen.append(drawn.tolist())
    assert seen[0] != seen[1]


@pytest.mark.parametrize("name", ["item", "to the host", "nonzero"])
def test_what_waits_ends_a_capture(cuda, name):
    x = torch.ones(3, device=cuda)
    stream, generator = torch.cuda.current_stream(), torch.cuda.default_generators[0]
    drawn = generator.graphsafe_get_state()
    generator.graphsafe_set_state(generator.clone_state())
    try:
        with pytest.raises(RuntimeError, match="captur"):
            captured(lambda: WAITING[name](x))
    finally:  # torch leaves both in the capture
        torch.cuda.set_stream(stream)
        generator.graphsafe_set_state(drawn)
    assert x.tolist() == [1, 1, 1]


def test_memory_is_counted(cuda):
    gc.collect()
    before = torch.cuda.memory_allocated(cuda)
    x = torch.zeros(1000, device=cuda)
    y = x[:10]
    assert torch.cuda.memory_allocated(cuda) >= before + 4000
    del x
    assert torch.cuda.memory_allocated(cuda) >= before + 4000
    del y
    assert torch.cuda.memory_allocated(cuda) == before


def test_there_may_be_another_device(cuda):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device")
    other = torch.device("cuda:1")
    x = torch.ones(3, device=other)
    assert (x * 2).device == other
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(3, device="cuda:0")
    with torch.cuda.device(1):
        assert torch.ones(1, device="cuda").device == other
    assert torch.ones(1, device="cuda").device == torch.device("cuda:0")
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.ones(1, device=f"cuda:{torch.cuda.device_count()}")


def test_memory_can_be_limited(cuda):
    if not is_pretended():
        pytest.skip("the memory of a real device is what it is")
    from tests.pretended import driver

    driver.memory_limit[cuda.index] = driver.allocated(cuda.index) + 1000
    try:
        kept = torch.zeros(100, device=cuda)
        with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
            torch.zeros(1000, device=cuda)
        assert kept.sum() == 0
    finally:
        driver.memory_limit[cuda.index] = None
    assert torch.isnan(torch.empty(3, device=cuda)).all()  # not written yet


def test_copies_on_meta_have_no_numbers(cuda):
    copied = torch.empty_like(torch.ones(3, device=cuda), device="meta")
    assert copied.device.type == "meta"
    with torch.device("meta"):
        assert torch.empty(3).device.type == "meta"


def test_dropout_draws_in_training_alone(cuda):
    x, before = torch.ones(8, device=cuda), torch.cuda.get_rng_state()
    with torch.inference_mode():
        nn.functional.dropout(x, training=False)
        assert torch.equal(torch.cuda.get_rng_state(), before)
        nn.functional.dropout(x)
    assert not torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize("mode", ["global", "thread_local"])
def test_a_capture_forbids_waits_in_other_threads_or_not(cuda, mode):
    event, x, errors = torch.cuda.Event(), torch.ones(3, device=cuda), []
    event.record()

    def wait():
        try:
            event.synchronize()
        except Exception as error:
            errors.append(error)

    def capture():
        with torch.cuda.graph(torch.cuda.CUDAGraph(), capture_error_mode=mode):
            x.add_(1)
            thread = threading.Thread(target=wait)
            thread.start()
            thread.join()

    if mode == "thread_local":
        capture()
        assert not errors
    elif is_pretended():  # whatever a real one leaves behind
        stream = torch.cuda.current_stream()
        generator = torch.cuda.default_generators[0]
        drawn = generator.graphsafe_get_state()
        generator.graphsafe_set_state(generator.clone_state())
        with pytest.raises(torch.AcceleratorError):
            capture()
        assert errors
        generator.graphsafe_set_state(drawn)
        torch.cuda.set_stream(stream)
