"""A stand-in for CuPy where there is no GPU: NumPy's arithmetic under CuPy's rules, the strict reading of them.

A FakeArray is no numpy.ndarray. Host arrays do not mix with it, in operators, functions, indices or
assignments; it never turns into a host array by itself; every crossing is counted in `transfers`.
Functions are those that CuPy has and this package uses. Fresh memory is full of NaN.
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
METHODS = words("""all any argmax argmin clip conj copy cumsum diagonal dot fill flatten max mean min prod ravel repeat
reshape round sort squeeze std sum swapaxes take trace transpose var""")
ATTRIBUTES = words("T dtype flags itemsize nbytes ndim real imag shape size strides")
UNARY = words("neg pos abs invert")
BINARY = words("add sub mul truediv floordiv mod pow matmul and or xor lshift rshift")
COMPARISONS = words("eq ne lt le gt ge")
CREATION = words("arange empty empty_like eye full full_like linspace ones ones_like zeros zeros_like")
CONVERSION = words("array asarray ascontiguousarray")  # these take host arrays
UFUNCS = words("""abs absolute add arctan2 ceil conj cos divide equal exp expm1 floor greater greater_equal hypot
isfinite isnan less less_equal log log10 log1p logical_and logical_not logical_or matmul maximum minimum multiply
negative not_equal power reciprocal rint sign sin sqrt square subtract tan tanh true_divide""")
FUNCTIONS = words("""all amax amin angle any argmax argmin argsort broadcast_to clip concatenate cumsum diff dot einsum
expand_dims flip inner isclose max mean min moveaxis outer pad prod ravel repeat reshape roll sort split squeeze stack
std sum swapaxes take tensordot tile trace transpose tril triu unique var where""")
CONSTANTS = words("""bool_ complex64 complex128 dtype e float16 float32 float64 inf int8 int16 int32 int64 nan ndim
newaxis pi result_type uint8""")
VIEWS = words("broadcast_to diagonal empty expand_dims moveaxis ravel reshape split squeeze swapaxes transpose")
LINALG = words("cholesky eigh eigvalsh inv norm pinv qr solve svd")
FFT = words("fft ifft irfft next_fast_len rfft rfftfreq")


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
        if method != "__call__" or ufunc.__name__ not in UFUNCS:
            return NotImplemented
        if "out" in settings:
            (settings["out"],) = settings["out"]
        return getattr(fake, ufunc.__name__)(*inputs, **settings)

    def __array_function__(self, function, types, arguments, settings):
        if function.__name__ not in (*CREATION, *CONVERSION, *FUNCTIONS) or not issubclass(FakeArray, tuple(types)):
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


def nan_filled(function):
    """Fresh memory holds anything; NaN is the anything that shows."""

    def call(*arguments, **settings):
        array = function(*unwrap(arguments), **unwrap(settings))
        if array.dtype.kind in "fc":
            array.fill(np.nan)
        return wrap(array)

    return call


def _in_place(function):
    def call(self, other):
        launches[function.__name__] += 1
        function(self._host, unwrap(other))
        return self

    return call


def _fill_class():
    def method(name):
        def call(self, *arguments, **settings):
            if name not in VIEWS:
                launches[name] += 1
            return wrap(getattr(self._host, name)(*unwrap(arguments), **unwrap(settings)))

        return call

    def operation(function):
        def call(*arguments):
            launches[function.__name__] += 1
            return wrap(function(*arguments))

        return call

    def attribute(name):
        return property(lambda self: wrap(getattr(self._host, name)))

    for name in METHODS:
        setattr(FakeArray, name, method(name))
    for name in ATTRIBUTES:
        setattr(FakeArray, name, attribute(name))
    for name in UNARY:
        function = operation(getattr(operator, f"__{name}__"))
        setattr(FakeArray, f"__{name}__", lambda self, f=function: f(self._host))
    for name in BINARY + COMPARISONS:
        function = operation(getattr(operator, f"__{name}__"))
        setattr(FakeArray, f"__{name}__", lambda a, b, f=function: f(a._host, unwrap(b)))
        if name in BINARY:
            setattr(FakeArray, f"__r{name}__", lambda a, b, f=function: f(unwrap(b), a._host))
            setattr(FakeArray, f"__i{name}__", _in_place(getattr(operator, f"__i{name}__")))


def _fill_module(module, source, names, decorate):
    for name in names:
        setattr(module, name, decorate(getattr(source, name)))
    return module


class _Module(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"{self.__name__}.{name}: if CuPy has it, add it to a list in {__file__}")


def _build():
    module = _Module("cupy")
    for names, decorate in [
        (CREATION + UFUNCS + FUNCTIONS, on_device),
        (CONVERSION, converting),
        (CONSTANTS, lambda constant: constant),
    ]:
        _fill_module(module, np, names, decorate)
    module.empty, module.empty_like, module.matmul = nan_filled(np.empty), nan_filled(np.empty_like), matmul
    module.percentile = on_device(lambda *a, **k: np.percentile(*a, **k).astype(np.float64))  # older CuPy's dtype
    module.ndarray, module.RawModule, module.fuse = FakeArray, RawModule, fuse
    module.cuda = _Module("cupy.cuda")
    device = types.SimpleNamespace(attributes={"MultiProcessorCount": 4}, use=lambda: None)
    module.cuda.Device = lambda number=0: device
    module.cuda.runtime = types.SimpleNamespace(getDeviceCount=lambda: 1)
    module.asnumpy = lambda a: a.get() if isinstance(a, FakeArray) else np.asarray(a)
    module.get_array_module = lambda *args: module if any(isinstance(a, FakeArray) for a in args) else np
    module.is_available = lambda: True
    module.lib = _Module("cupy.lib")
    module.lib.stride_tricks = _Module("cupy.lib.stride_tricks")
    module.lib.stride_tricks.as_strided = as_strided
    module.linalg = _fill_module(_Module("cupy.linalg"), np.linalg, LINALG, on_device)
    return module


_fill_class()
fake = _build()


def install(monkeypatch):
    """Let the package find the stand-in as `cupy` and `cupyx.scipy.fft`."""
    from ddim_from_scratch.runtime import backend

    names = ["cupyx", "cupyx.scipy", "cupyx.scipy.fft"]
    modules = [_Module(name) for name in names]
    _fill_module(modules[2], scipy.fft, FFT, on_device)
    modules[0].scipy, modules[1].fft = modules[1], modules[2]
    for name, module in zip(["cupy", *names], [fake, *modules], strict=True):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(backend, "cupy", fake)
    transfers.clear()
    launches.clear()
    return fake
