"""Where does the time of a prediction and of a step go, and what can the cores do?

python -m benchmarks.bench_layers [--full] [--device DEVICE]

For every layer of the network of 28 x 28: its time for a chunk of 128 images, forwards
and backwards, its arithmetic and the memory it reads and writes, as shares of the peaks
that are measured in the same run: a product of large matrices, a copy of a large array.
"""

import statistics
import time

import torch
from torch import nn

from benchmarks import _options, _tasks
from benchmarks._measure import Figure

ROWS = 128


def seconds(function, rounds, device):
    """Return the median time of a call, after two to warm up."""
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        function()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def peaks(rounds, device):
    """Return the operations and the bytes a second that the device is seen to do."""
    side = 1536
    a, b = torch.randn((2, side, side), device=device)
    flops = 2 * side**3 / seconds(lambda: a @ b, rounds, device)
    source = torch.zeros(1 << 26, device=device)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    return flops, moved / seconds(lambda: target.copy_(source), rounds, device)


def layer_costs(layer, images, rounds, device):
    """Return time forwards and backwards, operations and bytes of a layer forwards."""
    with torch.inference_mode():
        forward = seconds(lambda: layer(images), rounds, device)
        output = layer(images)
    leaf = images.clone().requires_grad_(images.shape[1] > 1)  # not of the pixels
    result = layer(leaf)
    gradient = torch.randn_like(result)
    wanted = [leaf] * leaf.requires_grad + list(layer.parameters())
    backward = 0.0
    if wanted:
        backward = seconds(
            lambda: torch.autograd.grad(result, wanted, gradient, retain_graph=True),
            rounds,
            device,
        )
    weight = getattr(layer, "weight", None)
    products = 0 if weight is None else weight[0].numel()
    operations = 2 * output.numel() * products
    return forward, backward, operations, 4 * (images.numel() + output.numel()), output


def run(options):
    """Return the shares of the peaks, and print them."""
    figures = []
    rounds = 41 if options.full else 11
    for width in (8, 32):
        recipe = {"width": width, "batch_size": ROWS, "epochs": 1}
        task = _tasks.synthetic(ROWS, 28, n_test=1, **recipe)
        figures += of_network(task.network(), width, rounds, options.device)
        _options.show(figures[-1:])
    return figures


def of_network(network, width, rounds, device):
    flops, bandwidth = peaks(rounds, device)
    print(f"width {width}: peaks {flops / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s")
    network = network.to(device, memory_format=torch.channels_last)
    images = torch.randn(ROWS, 1, 28, 28, device=device)
    images = images.to(memory_format=torch.channels_last)
    total = work = least = 0.0
    for layer in network:
        costs = layer_costs(layer, images, rounds, device)
        forward, backward, operations, moved, images = costs
        kind = type(layer).__name__ if not isinstance(layer, nn.Conv2d) else str(layer)
        print(
            f"  {kind[:40]:40} forwards {1e3 * forward:6.3f} ms, backwards "
            f"{1e3 * backward:6.3f} ms; {operations / forward / flops:4.0%} of the "
            f"arithmetic, {moved / forward / bandwidth:4.0%} of the memory peak"
        )
        total += forward
        work += operations
        least += max(operations / flops, moved / bandwidth)
    what = f"28x28, width {width}, forwards: share of the peak of the arithmetic"
    note = (
        f"{1e3 * total:.2f} ms for {ROWS} images; if every layer ran at the nearer of "
        f"the two peaks {1e3 * least:.2f} ms"
    )
    return [Figure(what, work / total / flops, note=note)]


if __name__ == "__main__":
    run(_options.parse(__doc__))
