"""CIFAR-10 in the manner of the fastest recipes: a small network with few layers, large
batches, one cycle of SGD, images mirrored and shifted, in half precision.

The manner is that of Jordan's airbench (94% in seconds on one A100, arXiv:2404.00498),
without its own optimizer and its initialisation by whitening. Written twice: with the
estimator, and as a loop by hand, both with the same network, steps and rates.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks._peers import Pixels, Trained, autocast, groups, orders
from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn.augmentation import Augmentation

SMOOTHING = 0.2
MOST_SHIFT = 2  # pixels
MOMENTUM = 0.85


def blocks(image_shape, width=64, relu_first=False):
    """Build three blocks of two convolutions, the first of which is pooled."""
    depth = image_shape[2]
    layers = [nn.Conv2d(depth, 24, 2), nn.GELU()]
    depth = 24
    for filters in (width, 4 * width, 4 * width):
        for pool in (True, False):
            layers.append(nn.Conv2d(depth, filters, 3, padding=1, bias=False))
            layers += [nn.MaxPool2d(2)] if pool else []
            layers += [nn.BatchNorm2d(filters), nn.GELU()]
            depth = filters
    last = nn.Linear(depth, 10, bias=False)
    with torch.no_grad():
        last.weight /= 9  # logits are small at first
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), last)


def ours(task):
    """Train with the estimator."""
    network = task.network()
    clf = L2CNNClassifier(
        task.alpha,
        architecture=network,
        augment=Augmentation(flip=True, shift=MOST_SHIFT / task.X.shape[2]),
        batch_size=task.batch_size,
        label_smoothing=SMOOTHING,
        lr=task.lr,
        lr_schedule="onecycle",
        max_epochs=task.epochs,
        momentum=MOMENTUM,
        optimizer="sgd",
        precision=task.precision,
        device=task.device,
        random_state=task.seed,
    ).fit(task.X, task.y)
    return Trained(clf.predict, clf.loss_curve_)


def loop(task):
    """Train by hand."""
    pixels = Pixels(task.X)
    network = task.network().to(task.device, memory_format=torch.channels_last)
    images = pixels(task.X).to(task.device, memory_format=torch.channels_last)
    labels = torch.from_numpy(task.y).to(task.device)
    generator, n_rows = orders(task), len(labels)
    mirrored = torch.rand(n_rows, device=task.device) < 0.5
    sgd, schedule = _optimizer(task, network, -(-n_rows // task.batch_size))
    losses = []
    network.train()
    for _ in range(task.epochs):
        order = torch.from_numpy(generator.permutation(n_rows)).to(task.device)
        mirrored = ~mirrored
        total = torch.zeros((), device=task.device)
        for rows in order.split(task.batch_size):
            batch = _shifted(_mirror(images[rows], mirrored[rows]))
            with autocast(task):
                logits = network(batch)
                loss = F.cross_entropy(logits, labels[rows], label_smoothing=SMOOTHING)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            schedule.step()
            total += loss.detach() * len(rows)
        losses.append(total.item() / n_rows)
    network.eval()

    def predict(X):
        found = []
        with torch.inference_mode(), autocast(task):
            for part in pixels(X).split(2000):
                part = part.to(task.device, memory_format=torch.channels_last)
                found.append(network(part).argmax(1))
        return torch.cat(found).cpu().numpy()

    return Trained(predict, losses)


def _optimizer(task, network, n_steps):
    sgd = torch.optim.SGD(
        groups(task, network), lr=task.lr, momentum=MOMENTUM, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        sgd,
        task.lr,
        total_steps=n_steps * task.epochs + 1,
        pct_start=0.2,
        cycle_momentum=False,
    )
    return sgd, schedule


def _mirror(images, which):
    return torch.where(which[:, None, None, None], images.flip(3), images)


def _shifted(images):
    """Shift every image by some pixels; what comes in is the mean colour."""
    n, _, height, width = images.shape
    padded = F.pad(images, [MOST_SHIFT] * 4)
    by = torch.randint(2 * MOST_SHIFT + 1, (2, n, 1), device=images.device)
    rows = by[0] + torch.arange(height, device=images.device)
    columns = by[1] + torch.arange(width, device=images.device)
    which = torch.arange(n, device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None]]
    return moved.permute(0, 3, 1, 2)


def accuracy(trained, task):
    """Return the share of the test images that are named rightly."""
    return float(np.mean(trained.predict(task.X_test) == task.y_test))
