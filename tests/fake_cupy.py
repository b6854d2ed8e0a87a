"""A stand-in for CuPy where there is no GPU: NumPy's arithmetic under CuPy's rules, the strict reading of them.

A FakeArray is no numpy.ndarray. Host arrays do not mix with it, in operators, functions, indices or
assignments; it never turns into a host array by itself; every crossing is counted in `transfers`.
Functions are those that CuPy has and these tests meet. Fresh memory is full of NaN.
"""

import functools
import operator
import sys
import types
from collections import Counter

import numpy as np
import scipy.fft
from emulated_cuda import RawModule

transfers = Counter()  # "to device" (arrays), "to host" (arrays), "sync" (one number read)
launches = Counter()  # of what makes or changes an array: a kernel or more, by name; kernels of our own are counted too

words = str.split
METHODS = words("all any clip copy max mean repeat reshape sum swapaxes transpose")
ATTRIBUTES = words("T dtype flags nbytes ndim real shape size strides")
BINARY = words("add sub mul truediv mod pow matmul and")
OTHER = words("neg abs eq ne lt gt")
UFUNCS = words("abs add cos exp isfinite log log10 maximum multiply sin sqrt tanh")
FUNCTIONS = words("""arange broadcast_to clip concatenate einsum full linspace ones pad split stack sum tensordot where
zeros zeros_like""")
CONVERSION = words("asarray ascontiguousarray")  # these take host arrays
VIEWS = words("broadcast_to reshape split swapaxes transpose")
FFT = words("irfft rfft")


class FakeArray:
    """A "device" array. Mixed with anything but its like and numbers, it raises TypeError."""

    __hash__ = None
    __slots__ = ("_host",)

    def __init__(self, host):
        self._host = np.asarray(host)

    @property
    def data(self):
        """Where it lies: the arrays of NumPy begin at 16 bytes, as CuPy's do."""
        return types.SimpleNamespace(ptr=self._host.ctypes.data)

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed: use .get()")

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        """NumPy's function called with an array of ours goes to CuPy's of the same name, if it has one."""
        if method != "__call__" or not hasattr(fake, ufunc.__name__):
            return NotImplemented
        if "out" in settings:
            (settings["out"],) = settings["out"]
        return getattr(fake, ufunc.__name__)(*inputs, **settings)

    def __array_function__(self, function, types, arguments, settings):
        if function.__name__ not in FUNCTIONS or not issubclass(FakeArray, tuple(types)):
            return NotImplemented
        return getattr(fake, function.__name__)(*arguments, **settings)

    def __getitem__(self, index):
        return wrap(self._host[unwrap(index)])

    def __setitem__(self, index, value):
        launches["setitem"] += 1
        self._host[unwrap(index)] = unwrap(value)

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __repr__(self):
        return f"FakeArray({self._host})"

    def item(self):
        transfers["sync"] += 1
        return self._host.item()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        return bool(self.item())

    def get(self):
        transfers["to host"] += 1
        return self._host.copy()

    def tolist(self):
        return self.get().tolist()

    def astype(self, dtype, copy=True):
        return wrap(self._host.astype(dtype, copy=copy))

    def view(self, dtype=None):
        return wrap(self._host.view() if dtype is None else self._host.view(dtype))


class Number(float):
    """A number that a fused function was given. With a second number CuPy 14.2 computes in float16: refused here."""


def _with_an_array(self, other):
    if isinstance(other, FakeArray):
        return NotImplemented  # the array's own operation follows
    raise TypeError("in a fused function, two numbers make a third in float16: compute it before")


for _name in words("add sub mul truediv pow"):
    setattr(Number, f"__{_name}__", _with_an_array)
    setattr(Number, f"__r{_name}__", _with_an_array)


def fuse():
    def fused(function):
        return lambda *arguments: function(*(Number(a) if isinstance(a, float) else a for a in arguments))

    return fused


def unwrap(value):
    """The NumPy arithmetic underneath. A host array is refused; Python's and NumPy's numbers pass."""
    if isinstance(value, FakeArray):
        return value._host
    if isinstance(value, Number):
        return float(value)
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}: a host array of shape {value.shape} meets a device array")
    if isinstance(value, tuple | list):
        return type(value)(unwrap(v) for v in value)
    if isinstance(value, dict):
        return {k: unwrap(v) for k, v in value.items()}
    return value


def wrap(value):
    """Arrays and, unlike NumPy, single numbers stay on the device."""
    if isinstance(value, np.ndarray | np.generic):
        return FakeArray(value)
    if isinstance(value, tuple | list):
        return type(value)(wrap(v) for v in value)
    return value


def on_device(function):
    @functools.wraps(function)
    def call(*arguments, **settings):
        if function.__name__ not in VIEWS:
            launches[function.__name__] += 1
        return wrap(function(*unwrap(arguments), **unwrap(settings)))

    return call


def converting(function):
    """asarray and its like: the only doors from the host."""

    @functools.wraps(function)
    def call(value, *arguments, **settings):
        if isinstance(value, np.ndarray):
            transfers["to device"] += 1
            return wrap(np.array(value, *arguments, **settings))
        return wrap(function(unwrap(value), *arguments, **settings))

    return call


def matmul(a, b, out=None, **settings):
    """CuPy computes into a contiguous `out`; into another it computes beside and copies: refused here."""
    if out is not None and not out.flags.c_contiguous:
        raise TypeError("matmul(out=) of an array that is not contiguous costs a copy")
    return on_device(np.matmul)(a, b, out=out, **settings)


def as_strided(x, shape=None, strides=None):
    """CuPy's has these arguments only."""
    return wrap(np.lib.stride_tricks.as_strided(unwrap(x), shape, strides))


def empty(*arguments, **settings):
    """Fresh memory holds anything; NaN is the anything that shows."""
    array = np.empty(*unwrap(arguments), **unwrap(settings))
    if array.dtype.kind in "fc":
        array.fill(np.nan)
    return wrap(array)


def in_place(function):
    def call(self, other):
        launches[function.__name__] += 1
        function(self._host, unwrap(other))
        return self

    return call


for _name in METHODS:
    setattr(FakeArray, _name, on_device(getattr(np.ndarray, _name)))
for _name in ATTRIBUTES:
    setattr(FakeArray, _name, property(lambda self, name=_name: wrap(getattr(self._host, name))))
for _name in BINARY + OTHER:
    setattr(FakeArray, f"__{_name}__", on_device(getattr(operator, f"__{_name}__")))
for _name in BINARY:
    setattr(FakeArray, f"__r{_name}__", lambda a, b, name=_name: getattr(FakeArray, f"__{name}__")(b, a))
    setattr(FakeArray, f"__i{_name}__", in_place(getattr(operator, f"__i{_name}__")))


class _Module(types.ModuleType):
    """With some functions of another module, decorated."""

    def __init__(self, name, source=None, names=(), decorate=None):
        super().__init__(name)
        for function in names:
            setattr(self, function, decorate(getattr(source, function)))

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"{self.__name__}.{name}: if CuPy has it, add it to a list in {__file__}")


def _build():
    module = _Module("cupy", np, UFUNCS + FUNCTIONS, on_device)
    for name in CONVERSION:
        setattr(module, name, converting(getattr(np, name)))
    module.float32, module.empty, module.matmul = np.float32, empty, matmul
    module.percentile = on_device(lambda *a, **k: np.percentile(*a, **k).astype(np.float64))  # older CuPy's dtype
    module.ndarray, module.RawModule, module.fuse = FakeArray, RawModule, fuse
    module.cuda = _Module("cupy.cuda")
    device = types.SimpleNamespace(attributes={"MultiProcessorCount": 4}, use=lambda: None)
    module.cuda.Device = lambda number=0: device
    module.cuda.runtime = types.SimpleNamespace(getDeviceCount=lambda: 1)
    module.asnumpy = FakeArray.get
    module.get_array_module = lambda a: module if isinstance(a, FakeArray) else np
    module.is_available = lambda: True
    module.lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=as_strided))
    return module


fake = _build()


def install(monkeypatch):
    """Let the package find the stand-in as `cupy` and `cupyx.scipy.fft`."""
    from ddim_from_scratch.runtime import backend

    fft = _Module("cupyx.scipy.fft", scipy.fft, FFT, on_device)
    cupyx = types.SimpleNamespace(scipy=types.SimpleNamespace(fft=fft))
    for name, module in (("cupy", fake), ("cupyx", cupyx), ("cupyx.scipy.fft", fft)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(backend, "cupy", fake)
    transfers.clear()
    launches.clear()
    return fake
