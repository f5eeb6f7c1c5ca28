"""The same training, written in the ways that a user might pick instead.

Every peer has the same architecture, initial weights, order of the images, number of
epochs, optimiser and penalty, and learns from the same standardised float32 pixels;
each is a function from a task to a `Trained`. Keras, which needs processes of its own,
is in `_keras`.
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sklearn_l2cnn import L2CNNClassifier
from sklearn_l2cnn._utils.seeds import draw_seeds


class Trained(NamedTuple):
    """What training left.

    Attributes
    ----------
    predict : callable
        From images to labels.
    losses : list of float
        The mean data loss of every epoch.
    again : callable, default=None
        Trains the same network for as many epochs more, where less is to be done then.
    """

    predict: callable
    losses: list
    again: callable = None


def orders(task):
    """Return the generator of the orders that the estimator itself would draw."""
    generator = np.random.RandomState(draw_seeds(task.seed, 3)[2])
    draw_seeds(generator, 1)
    return generator


class Order:
    """The order of the images, as a DataLoader wants it: new in every epoch."""

    def __init__(self, task):
        self.generator = orders(task)
        self.n_rows = len(task.y)

    def __iter__(self):
        return iter(self.generator.permutation(self.n_rows).tolist())

    def __len__(self):
        return self.n_rows


class Pixels:
    """Standardise the pixels of uint8 images by those of the training set."""

    def __init__(self, X):
        X = X.reshape(-1, X.shape[3]) / 255
        mean, scale = (
            torch.tensor(part.reshape(-1, 1, 1), dtype=torch.float32)
            for part in (X.mean(axis=0), X.std(axis=0))
        )
        self.mean, self.scale = mean, scale

    def __call__(self, X):
        X = torch.from_numpy(X).permute(0, 3, 1, 2)
        return (X.float() / 255 - self.mean) / self.scale


def groups(task, network):
    """Return the parameters, the penalty on the weights as weight decay."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim < 2]
    return [{"params": weights, "weight_decay": task.alpha}, {"params": others}]


def optimizer(task, network):
    """Return Adam with the penalty on the weights as weight decay."""
    return torch.optim.Adam(groups(task, network), lr=task.lr, fused=True)


def autocast(task):
    """Return the context that lowers the precision where the task says so."""
    lower = task.precision == "bfloat16"
    return torch.autocast(task.device, torch.bfloat16, enabled=lower)


def textbook(task):
    """Train with a DataLoader, batch by batch, as tutorials do."""
    pixels = Pixels(task.X)
    network = task.network(relu_first=True).to(task.device)
    data = TensorDataset(pixels(task.X), torch.from_numpy(task.y))
    loader = DataLoader(data, batch_size=task.batch_size, sampler=Order(task))
    criterion, step = nn.CrossEntropyLoss(), optimizer(task, network)
    losses = []
    for _ in range(task.epochs):
        network.train()
        total = 0.0
        for X, y in loader:
            X, y = X.to(task.device), y.to(task.device)
            step.zero_grad()
            with autocast(task):
                loss = criterion(network(X), y)
            loss.backward()
            step.step()
            total += loss.item() * len(y)
        losses.append(total / len(data))

    def predict(X):
        network.eval()
        found = []
        with torch.no_grad():
            for (batch,) in DataLoader(TensorDataset(pixels(X)), batch_size=128):
                found.append(network(batch.to(task.device)).argmax(1).cpu())
        return torch.cat(found).numpy()

    return Trained(predict, losses)


def tuned(task):
    """Train on resident tensors, channels last: the best that is easily written."""
    pixels = Pixels(task.X)
    network = task.network().to(task.device, memory_format=torch.channels_last)
    images = pixels(task.X).to(task.device, memory_format=torch.channels_last)
    labels = torch.from_numpy(task.y).to(task.device)
    criterion, step = nn.CrossEntropyLoss(), optimizer(task, network)
    generator = orders(task)
    losses = []
    network.train()
    for _ in range(task.epochs):
        order = torch.from_numpy(generator.permutation(len(labels))).to(task.device)
        total = torch.zeros((), device=task.device)
        for rows in order.split(task.batch_size):
            with autocast(task):
                logits = network(images.index_select(0, rows))
                loss = criterion(logits, labels.index_select(0, rows))
            step.zero_grad()
            loss.backward()
            step.step()
            total += loss.detach() * len(rows)
        losses.append(total.item() / len(labels))
    network.eval()

    mean, scale = (part.to(task.device) for part in (pixels.mean, pixels.scale))

    def predict(X):
        found = []
        X = torch.from_numpy(X).permute(0, 3, 1, 2)
        with torch.inference_mode(), autocast(task):
            for chunk in X.split(128):
                chunk = (chunk.to(task.device).float() / 255 - mean) / scale
                found.append(network(chunk).argmax(1))
        return torch.cat(found).cpu().numpy()

    return Trained(predict, losses)


class ChannelsLast(nn.Module):
    """Lay images out channels last."""

    def forward(self, X):
        return X.contiguous(memory_format=torch.channels_last)


def _skorch(task, network):
    from skorch import NeuralNetClassifier

    pixels = Pixels(task.X)
    weights = [name for name, p in network.named_parameters() if p.ndim > 1]
    net = NeuralNetClassifier(
        network,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        optimizer__param_groups=[(w, {"weight_decay": task.alpha}) for w in weights],
        lr=task.lr,
        batch_size=task.batch_size,
        max_epochs=task.epochs,
        iterator_train__sampler=Order(task),
        train_split=None,
        device=task.device,
        classes=np.arange(10),
        verbose=0,
    )
    net.fit(pixels(task.X).numpy(), task.y)
    return Trained(
        lambda X: net.predict(pixels(X).numpy()), net.history[:, "train_loss"]
    )


def skorch(task):
    """Train with stock skorch, on a network as the textbooks have it."""
    return _skorch(task, task.network(relu_first=True))


def skorch_with_our_network(task):
    """Train with stock skorch, on a network and in a layout as the package has them."""
    network = task.network().to(memory_format=torch.channels_last)
    return _skorch(task, nn.Sequential(ChannelsLast(), network))


def mlp(task):
    """Train scikit-learn's dense network with its defaults: for the accuracy alone."""
    model = MLPClassifier(max_iter=task.epochs, random_state=task.seed)
    rows = task.X.reshape(len(task.X), -1) / 255
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # epochs are what it gets
        model.fit(rows, task.y)
    return Trained(
        lambda X: model.predict(X.reshape(len(X), -1) / 255), model.loss_curve_
    )


def ours(task):
    """Train with this package."""
    model = L2CNNClassifier(
        alpha=task.alpha,
        architecture=task.network(),
        lr=task.lr,
        lr_schedule=None,
        batch_size=task.batch_size,
        max_epochs=task.epochs,
        device=task.device,
        precision=task.precision,
        random_state=task.seed,
    ).fit(task.X, task.y)
    return Trained(model.predict, model.data_loss_curve_)


PEERS = {
    "ours": ours,
    "tuned loop": tuned,
    "textbook loop": textbook,
    "stock skorch": skorch,
    "skorch, our network": skorch_with_our_network,
}
