"""Copies from the host to a device, one on its way while the next is made."""

import torch

from sklearn_l2cnn._utils.devices import arrival_on, has_pinned_memory


class Upload:
    """Copies tensors to a device through two buffers of pinned memory.

    While one copy travels, the host fills the other buffer. On a CPU there is no way to
    go, and no buffer.

    Parameters
    ----------
    device : torch.device
    buffered : bool, default=None
        None means where memory can be pinned for it.
    """

    def __init__(self, device, buffered=None):
        self.device = device
        self.buffered = has_pinned_memory(device) if buffered is None else buffered
        self.buffers = [torch.empty(0, dtype=torch.uint8)] * 2
        self.arrivals = [None, None]
        self.turn = 0

    def __call__(self, tensor, out=None):
        """Copy a contiguous tensor to the device.

        Parameters
        ----------
        tensor : Tensor
            Free to be changed as soon as this returns.
        out : Tensor, default=None
            Where to, on the device; None makes a new one.

        Returns
        -------
        out : Tensor
            What is done with it on the device waits until it is filled.
        """
        if not self.buffered or tensor.device.type != "cpu":
            return tensor.to(self.device) if out is None else out.copy_(tensor)
        self.turn = 1 - self.turn
        if self.arrivals[self.turn] is not None:
            self.arrivals[self.turn].synchronize()
        pinned = self._buffer(tensor).copy_(tensor)
        if out is None:
            out = torch.empty_like(tensor, device=self.device)
        out.copy_(pinned, non_blocking=True)
        if has_pinned_memory(self.device):
            self.arrivals[self.turn] = arrival_on(self.device)
        return out

    def _buffer(self, tensor):
        """Return room for a tensor in the buffer whose turn it is."""
        n_bytes = tensor.numel() * tensor.element_size()
        if len(self.buffers[self.turn]) < n_bytes:
            pin = has_pinned_memory(self.device)
            self.buffers[self.turn] = torch.empty(
                n_bytes, dtype=torch.uint8, pin_memory=pin
            )
        room = self.buffers[self.turn][:n_bytes]
        return room.view(tensor.dtype).view(tensor.shape)
