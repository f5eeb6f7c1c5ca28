"""Images of a training that stay where they are stored, and come batch by batch."""

import numpy as np
import torch

from sklearn_l2cnn._training.upload import Upload
from sklearn_l2cnn._utils.ahead import ahead
from sklearn_l2cnn._utils.surroundings import allowed_threads


class StreamedImages:
    """Images on their way to the device of a net: a tensor of some of them, if asked.

    Parameters
    ----------
    image_set : ImageSet
        Of `StoredImages`.
    read : callable
        From these and an array of rows to a tensor of shape (n, height, width,
        channels), as the network sees them or of uint8.
    device : torch.device
    """

    device = torch.device("cpu")  # that rows are on

    def __init__(self, image_set, read, device):
        self.images, self.rows = image_set.images, image_set.rows
        self.name = self.images.name
        self.of_rows = read
        self.upload = Upload(device)
        _, height, width, depth = self.images.shape
        self.shape = torch.Size((len(self.rows), depth, height, width))

    def __len__(self):
        return len(self.rows)

    def read(self, rows):
        """Read images into memory.

        Parameters
        ----------
        rows : Tensor of int on the host, or slice

        Returns
        -------
        images : Tensor of shape (n, height, width, channels)
        """
        rows = rows if isinstance(rows, slice) else np.asarray(rows)
        return self.of_rows(self.images, self.rows[rows]).contiguous()

    def sent(self, images):
        """Send images that were read to the device."""
        return self.upload(images).permute(0, 3, 1, 2)

    def __getitem__(self, rows):
        return self.sent(self.read(rows))


def is_streamed(images):
    """Say whether images stay where they are stored."""
    return isinstance(images, StreamedImages)


def images_ahead(images, parts, own=None):
    """Yield parts of images with their rows; some are read before they are asked for.

    Parameters
    ----------
    images : StreamedImages
    parts : iterable of Tensor or slice
    own : callable, default=None
        From the number of rows of a part to the slice of those that are needed.

    Yields
    ------
    rows : Tensor or slice
    images : Tensor or OwnImages
    """

    def read(rows):
        if own is None:
            return rows, None, images.read(rows)
        needed = own(len(rows))
        few = rows[needed]
        return rows, needed, images.read(few) if len(few) else None

    for rows, needed, found in ahead(read, parts, allowed_threads()):
        found = None if found is None else images.sent(found)
        yield rows, found if needed is None else OwnImages(found, needed, len(rows))


class OwnImages:
    """The images of a batch of which this process has those that it needs.

    Parameters
    ----------
    images : Tensor or None
    needed : slice
        Which they are.
    n_rows : int
        Images in the batch.
    """

    def __init__(self, images, needed, n_rows):
        self.images = images
        self.needed = needed
        self.n_rows = n_rows

    def __len__(self):
        return self.n_rows

    def __getitem__(self, rows):
        start = self.needed.start
        return self.images[rows.start - start : rows.stop - start]
