"""Tensors that say they are on a device, and what may be done with them."""

import threading
import weakref
from functools import partial

import torch
from torch import nn
from torch.optim.optimizer import _foreach_supported_types
from torch.utils._device import _device_constructors

from tests.pretended import driver

aten = torch.ops.aten
_CPU = torch.device("cpu")
_set_data, _get_data = (
    torch._C.TensorBase.data.__set__,
    torch._C.TensorBase.data.__get__,
)
_loading = threading.local()


class OnDevice(torch.Tensor):
    """A tensor on the device, that is, a wrapper around one of the CPU.

    Attributes
    ----------
    held : Tensor
        Has the numbers.
    index : int
        Of the device.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held, index):
        if held.dtype in driver.unknown_dtypes:
            raise TypeError(f"device {driver.kind()!r} has no {held.dtype}")
        block = driver.Block(held.untyped_storage(), index)
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=f"{driver.kind()}:{index}",
        )
        made.held, made.index, made.block = held, index, block
        return made

    @classmethod
    def __torch_dispatch__(cls, operation, types, arguments=(), options=None):
        return dispatch(operation, arguments, options or {})

    def __repr__(self, **options):
        return f"{self.held!r} on {self.device}"

    def data_ptr(self):
        return self.held.data_ptr()

    def numpy(self, **options):
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use "
            "Tensor.cpu() to copy the tensor to host memory first."
        )

    def tolist(self):
        driver.wait("tolist")
        return self.held.tolist()

    @property
    def data(self):
        return OnDevice(self.held.detach(), self.index)

    @data.setter
    def data(self, value):
        _replace(self, value)

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            copied = OnDevice(self.held.detach().clone(), self.index)
            memo[id(self)] = _like(copied, self)
            if self.grad is not None:
                memo[id(self)].grad = OnDevice(self.grad.held.clone(), self.index)
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        is_parameter = isinstance(self, torch.nn.Parameter)
        details = self.index, self.requires_grad, is_parameter
        return _unpickled, (self.held.detach(), *details)


def _like(made, other):
    """Make a new tensor a parameter, and trained, where another one is."""
    if isinstance(other, torch.nn.Parameter):
        return torch.nn.Parameter(made, other.requires_grad)
    return made.requires_grad_(other.requires_grad)


def _unpickled(held, index, requires_grad, is_parameter):
    made = held if getattr(_loading, "to_cpu", False) else OnDevice(held, index)
    if is_parameter:
        return torch.nn.Parameter(made, requires_grad)
    return made.requires_grad_(requires_grad)


def _replace(tensor, value):
    """Do as ``tensor.data = value``, across devices too."""
    here, there = isinstance(tensor, OnDevice), isinstance(value, OnDevice)
    if here and there:
        if driver.capturing() is not None:
            raise RuntimeError("data= in a capture")
        _set_data(tensor, value)
        tensor.held, tensor.index, tensor.block = value.held, value.index, value.block
    elif here or there:
        tensor.grad = None  # which would hold the tensor
        torch.utils.swap_tensors(tensor, _like(value.detach(), tensor))
    else:
        _set_data(tensor, value)


# -- what is done with them -----------------------------------------------------------

_COPIES = {aten.copy_.default, aten._to_copy.default}
_INDEXED = {
    aten.index.Tensor,
    aten._unsafe_index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
# How long the result is, or what it is, is known on the device alone.
_WAITING = {
    aten._local_scalar_dense.default,
    aten.bincount.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.repeat_interleave.Tensor,
    aten._unique2.default,
    aten.unique_consecutive.default,
    aten.unique_dim.default,
}


def dispatch(operation, arguments, options):
    """Check an operation as the device would, do it on the CPU, and wrap its result."""
    here, hosts = [], []
    held = [_held(value, here, hosts) for value in arguments]
    held_options = {name: _held(value, here, hosts) for name, value in options.items()}
    target = _target(operation, arguments, options, here)
    _check_devices(operation, arguments, here, hosts)
    _check_waits(operation, arguments, options, target)
    run = _on_cpu(operation, held, held_options, target)
    tape = driver.capturing()
    if tape is not None:
        tape.keep(_written(operation, arguments, options))
    result = run()
    if tape is not None:
        tape.append(run, result)
    if target is None:  # on the CPU, or there is nothing
        return arguments[0] if operation is aten.copy_.default else result
    return _wrapped(result, here, target)


def _wrapped(found, here, target):
    """Return the result of an operation as the device has it."""
    if isinstance(found, torch.Tensor):
        for tensor in here:
            if tensor.held is found:
                return tensor
        if not torch.is_inference_mode_enabled():
            return OnDevice(found, target)
        with torch.inference_mode(_is_of_inference(found, here)):
            return OnDevice(found, target)
    if type(found) in _SEVERAL:
        return type(found)([_wrapped(each, here, target) for each in found])
    return found


def _is_of_inference(found, here):
    """Say whether a result is a tensor of inference; a view is as what it is of."""
    storage = found.untyped_storage().data_ptr()
    for tensor in here:
        if tensor.held.untyped_storage().data_ptr() == storage:
            return tensor.is_inference()
    return True


_SEVERAL = list, tuple


def _held(value, here, hosts):
    """Return what the CPU is given for a value; list the tensors that it is or has."""
    if isinstance(value, OnDevice):
        here.append(value)
        return value.held
    if isinstance(value, torch.Tensor):
        hosts.append(value)
    elif type(value) in _SEVERAL:
        return type(value)([_held(each, here, hosts) for each in value])
    elif isinstance(value, torch.device) and value.type == driver.kind():
        return _CPU
    return value


def _target(operation, arguments, options, here):
    """Return the index of the device of the result; None is another kind of device."""
    if options.get("device") is not None:
        device = torch.device(options["device"])
        return driver.index_of(device) if device.type == driver.kind() else None
    if operation is aten.copy_.default:
        written = arguments[0]
        return written.index if isinstance(written, OnDevice) else None
    return here[0].index if here else driver.index_of()


def _check_devices(operation, arguments, here, hosts):
    """Raise where tensors of several devices meet that may not."""
    if operation in _COPIES:
        return
    indices = {tensor.index for tensor in here}
    mixed = len(indices) > 1
    if hosts and operation in _INDEXED and isinstance(arguments[0], OnDevice):
        driver.wait("indices from the host")
    elif hosts:
        pointwise = torch.Tag.pointwise in operation.tags
        numbers = all(tensor.ndim == 0 for tensor in hosts)
        into_host = _is_in_place(operation) and arguments[0] is hosts[0]
        allowed = pointwise or "foreach" in str(operation) or "fill" in str(operation)
        mixed = mixed or into_host or not (numbers and allowed)
    if mixed:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two "
            f"devices, {driver.kind()}:{min(indices)} and another (in {operation})"
        )


def _check_waits(operation, arguments, options, target):
    if operation is aten.copy_.default:
        non_blocking = options.get("non_blocking", (*arguments, False)[2])
        _check_copy(*arguments[:2], non_blocking)
    elif operation is aten._to_copy.default:
        if target is None and not options.get("non_blocking"):
            driver.wait("copy to the host")
    elif operation in _WAITING:
        if options.get("output_size") is None:
            driver.wait(operation.__name__)
    elif operation in _INDEXED:
        indices = [index for index in arguments[1] if index is not None]
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            driver.wait("indices that are a mask")


def _check_copy(to, source, non_blocking):
    if isinstance(to, OnDevice) and isinstance(source, OnDevice):
        return
    if isinstance(to, OnDevice):
        pinned = non_blocking and _is_pinned(source)
        if source.numel() and not pinned:
            driver.wait("copy from the host")
    elif not non_blocking:
        driver.wait("copy to the host")


def _on_cpu(operation, arguments, options, target):
    """Return a function that does an operation with what the wrappers hold."""
    if options.get("pin_memory"):
        options["pin_memory"] = False
    generator = options.get("generator")
    if operation is aten._fused_sdp_choice.default:
        return lambda: 0  # the one that is made of other operations
    if generator is not None:
        _check_generator(generator)
    elif _draws(operation, arguments, options):
        generator = driver.defaults[driver.index_of() if target is None else target]

        def draw():
            with driver.drawing_from(generator):
                return operation(*arguments, **options)

        return draw
    return lambda: operation(*arguments, **options)


def _draws(operation, arguments, options):
    """Say whether an operation draws random numbers; some do in training alone."""
    if torch.Tag.nondeterministic_seeded not in operation.tags:
        return False
    names = (argument.name for argument in operation._schema.arguments)
    values = dict(zip(names, arguments, strict=False)) | options
    return values.get("train", values.get("training", True))


def _check_generator(generator):
    if driver.capturing() is not None:
        driver.capturing().invalid = True
        raise RuntimeError("a generator that is not registered with the graph")
    if not driver.is_of_device(generator):
        raise RuntimeError(
            f"Expected a {driver.kind()!r} device type for generator but found 'cpu'"
        )


def _is_in_place(operation):
    return operation._schema.name.endswith("_")


def _written(operation, arguments, options):
    """Return what the operation writes to, as tensors of the CPU."""
    written = []
    for position, argument in enumerate(operation._schema.arguments):
        kind = argument.alias_info
        # the statistics of a batch norm are written, and its schema does not say so
        if (kind is not None and kind.is_write) or argument.name[:8] == "running_":
            given = arguments[position] if position < len(arguments) else None
            given = options.get(argument.name, given)
            written += given if type(given) in _SEVERAL else [given]
    return [tensor.held for tensor in written if isinstance(tensor, OnDevice)]


# -- where tensors come from ----------------------------------------------------------


def _empty(size, *, dtype=None, device=None, memory_format=None, **options):
    layout = memory_format or torch.contiguous_format
    made = torch.empty(size, dtype=dtype, device="cpu", memory_format=layout)
    return OnDevice(_unwritten(made), driver.index_of(device))


def _empty_strided(size, stride, *, dtype=None, device=None, **options):
    made = torch.empty_strided(size, stride, dtype=dtype, device="cpu")
    return OnDevice(_unwritten(made), driver.index_of(device))


def _made(operation, *arguments, **options):
    return dispatch(operation, arguments, options)


def _unwritten(made):
    """Fill new memory with what shows where it is read before it is written."""
    if made.is_floating_point():
        return made.fill_(torch.nan)
    return made if made.dtype == torch.bool else made.fill_(113)


_pinned = {}  # where memory lies that is pinned: a tensor in it


def _is_pinned(tensor):
    reference = _pinned.get(tensor.untyped_storage().data_ptr(), lambda: None)
    return reference() is not None


def install(key):
    """Let torch make such tensors where it is asked for tensors on the device.

    Parameters
    ----------
    key : str
        Torch's dispatch key of the device.
    """
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _empty, key, allow_override=True)
    library.impl("empty_strided", _empty_strided, key, allow_override=True)
    # elsewhere these are made empty and then resized, which no wrapper notices
    for name in ("arange", "arange.start", "arange.start_step", "eye", "eye.m"):
        operation, _, overload = name.partition(".")
        operation = getattr(getattr(aten, operation), overload or "default")
        library.impl(name, partial(_made, operation), key, allow_override=True)
    install.library = library  # it ends with its owner
    nn.Module._apply = _keeping_identities(nn.Module._apply)
    _device_constructors()  # torch looks for them once, and what follows hides some
    torch.Tensor.data = property(lambda tensor: _get_data(tensor), _replace)
    _foreach_supported_types.append(OnDevice)
    for name in ("tensor", "as_tensor"):
        setattr(torch, name, _by_way_of_the_cpu(getattr(torch, name)))
    torch.empty = _pinning(torch.empty)
    torch.Tensor.pin_memory = lambda tensor: _pinned_now(tensor.clone())
    torch.load = _mapping(torch.load)
    torch.serialization.add_safe_globals([_unpickled])


def _keeping_identities(function):
    def apply(module, *arguments, **options):
        """Take parameters to another device in torch's own way to keep who they are.

        Those that lie on the CPU it takes so anyway where something is wrapped; lazy
        ones, which cannot be, are left alone.
        """
        wrapped = any(isinstance(p, OnDevice) for p in module._parameters.values())
        before = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(before or wrapped)
        try:
            return function(module, *arguments, **options)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(before)

    return apply


def _by_way_of_the_cpu(function):
    def make(data, *, device=None, **options):
        if device is None or torch.device(device).type == "cpu":
            if isinstance(data, OnDevice) and device is not None:
                data = data.cpu()
            elif isinstance(data, OnDevice):
                return data.to(options.get("dtype", data.dtype))
            return function(data, device=device, **options)
        requires_grad = options.pop("requires_grad", False)
        if isinstance(data, OnDevice):
            made = data.to(device, options.get("dtype", data.dtype))
        else:
            made = function(data, **options).to(device)
        return made.requires_grad_(requires_grad) if requires_grad else made

    return make


def _pinning(function):
    def empty(*size, pin_memory=False, **options):
        made = function(*size, **options)
        return _pinned_now(made) if pin_memory else made

    return empty


def _pinned_now(tensor):
    _pinned[tensor.untyped_storage().data_ptr()] = weakref.ref(tensor)
    return tensor


def _mapping(function):
    def load(file, map_location=None, **options):
        """Load as torch does; what was on the device comes back there by itself."""
        named = isinstance(map_location, str | torch.device)
        _loading.to_cpu = named and torch.device(map_location).type == "cpu"
        try:
            return function(file, map_location="cpu", **options)
        finally:
            _loading.to_cpu = False

    return load
