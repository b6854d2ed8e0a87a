"""A channel between the process that checks and the process that runs a student's file.

Each side calls functions of the other. The student's side may be hostile: what it sends is read by an unpickler that
knows arrays, numbers, text, containers and the package's NamedTuples and dataclasses, and nothing that runs code.
Arrays and random generators that a call changes in place are changed on the caller's side, too.
"""

from __future__ import annotations

import builtins
import dataclasses
import functools
import inspect
import io
import os
import pickle
import struct
import threading
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from ddim_from_scratch.runtime.errors import UserError

LARGEST_MESSAGE = 1 << 30  # bytes
PACKAGE = "ddim_from_scratch"
HARMLESS = {"bool", "int", "float", "complex", "slice", "range", "set", "frozenset", "Ellipsis"}
KNOWN = ("numpy", PACKAGE, "builtins", "types", "functools", "collections")  # modules that both sides have
PLAIN = (type(None), bool, int, float, complex, str, bytes, slice, range, list, tuple, dict, set, frozenset, type(...))


class ChannelError(Exception):
    """The other process ended, or sent what is no message."""


class AnswerError(Exception):
    """An error of the student's that is not one of Python's usual ones: SystemExit, a class of its own."""


@dataclasses.dataclass(frozen=True)
class Remote:
    """An object of the other process."""

    handle: int
    kind: str  # name of its type


class Thing:
    """An object of the checking side, such as a random generator that counts: its methods can be called."""

    def __init__(self, remote: Callable) -> None:
        self._remote = remote

    def __getattr__(self, name: str) -> Callable:
        return functools.partial(self._remote, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._remote("__call__", *args, **kwargs)


def method_of(item: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    if name.startswith("_") and name != "__call__":
        raise AttributeError(name)
    return getattr(item, name)(*args, **kwargs)


class Call(NamedTuple):
    """Arrays and generators that travelled with a call, in order, and what they held before."""

    shared: list[Any]
    before: list[Any]


def state(item: Any) -> Any:
    return item.copy() if isinstance(item, np.ndarray) else item.bit_generator.state


def same(a: Any, b: Any) -> bool:
    if not isinstance(a, np.ndarray):
        return repr(a) == repr(b)
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def is_record(kind: Any) -> bool:
    """Whether `kind` is a NamedTuple or a dataclass of the package."""
    if not isinstance(kind, type) or kind.__module__.partition(".")[0] != PACKAGE:
        return False
    return dataclasses.is_dataclass(kind) or (issubclass(kind, tuple) and hasattr(kind, "_fields"))


class Channel:
    """One end. `objects` holds what the other end may call, by name or number."""

    def __init__(self, read_fd: int, write_fd: int, objects: dict[Any, Any], trusts: bool, path: str = "") -> None:
        """trusts: whether the other end is trusted. path: the student's file, whose lines errors name."""
        self.reader, self.writer = os.fdopen(read_fd, "rb"), os.fdopen(write_fd, "wb")
        self.objects, self.trusts, self.path = objects, trusts, path
        self.calls: dict[Any, Call] = {}  # of iterators that were handed out
        self.ended = False  # whether the other process has
        self.numbers, self.lock = iter(range(1 << 62)), threading.RLock()

    def call(self, target: Any, *args: Any, shared: list[Any] | None = None, **kwargs: Any) -> Any:
        """Calls the other side's object `target`. Raises what it raises."""
        with self.lock:
            ours: list[Any] = [] if shared is None else shared
            self.send(("call", target, args, kwargs), ours)
            while True:
                kind, *content = self.receive(ours)
                if kind == "call":
                    self.serve(*content)
                elif kind == "raised":
                    raise error_of(*content)
                else:
                    result, changes = content
                    for number, value in changes:
                        restore(ours[number], value)
                    return result

    def serve_forever(self) -> None:
        """Serves calls until the other side ends."""
        while True:
            try:
                kind, *content = self.receive([])
            except ChannelError as error:
                if self.ended:
                    return
                self.write(self.packed(("raised", *self.told(error)), []))
                continue
            if kind == "call":
                self.serve(*content)

    def serve(self, target: Any, args: tuple, kwargs: dict, received: list[Any]) -> None:
        call = self.calls.get(target) or Call(received, [state(item) for item in received])
        try:
            result = self.objects[target](*args, **kwargs)
            changes = [
                (number, state(item))
                for number, (item, before) in enumerate(zip(call.shared, call.before, strict=True))
                if not same(state(item), before)
            ]
            message = self.packed(("done", result, changes), call.shared, call)
            call.before[:] = [state(item) for item in call.shared]
        except BaseException as error:
            message = self.packed(("raised", *self.told(error)), [])
        self.write(message)

    def told(self, error: BaseException) -> tuple[str, str, str]:
        """The name of an error's class, its text, and a sentence that names the line."""
        from .answer import describe

        name = next((kind.__name__ for kind in type(error).__mro__ if usual(kind.__name__)), type(error).__name__)
        return name, clean(error), describe(error, self.path)

    def send(self, message: Any, shared: list[Any]) -> None:
        self.write(self.packed(message, shared))

    def write(self, data: bytes) -> None:
        try:
            self.writer.write(struct.pack("<Q", len(data)) + data)
            self.writer.flush()
        except OSError as error:
            self.ended = True
            raise ChannelError(f"the other process ended ({error})") from None

    def packed(self, message: Any, shared: list[Any], call: Call | None = None) -> bytes:
        with io.BytesIO() as file:
            Packer(file, self, shared, call).dump(message)
            return file.getvalue()

    def receive(self, known: list[Any]) -> tuple:
        """The next message; a call gets the list of its arrays as a last element."""
        size = self.reader.read(8)
        self.ended = self.ended or len(size) < 8
        if len(size) < 8 or struct.unpack("<Q", size)[0] > LARGEST_MESSAGE:
            raise ChannelError("the other process ended" if len(size) < 8 else "the answer is larger than 1 GB")
        data = self.reader.read(struct.unpack("<Q", size)[0])
        unpacker = Unpacker(io.BytesIO(data), self, known)
        try:
            message = unpacker.load()
            kind, length = message[0], len(message)
        except Exception as error:
            raise ChannelError(f"what came back cannot be read ({type(error).__name__}: {clean(error)})") from None
        if (kind, length) not in {("call", 4), ("done", 3), ("raised", 4)}:
            raise ChannelError("what came back is no answer")
        return (*message, unpacker.new) if kind == "call" else message

    def keep(self, item: Any, call: Call | None = None) -> int:
        number = next(self.numbers)
        self.objects[number] = item
        if call is not None:
            self.calls[number] = call
        return number


class Packer(pickle.Pickler):
    def __init__(self, file: Any, channel: Channel, shared: list[Any], call: Call | None) -> None:
        super().__init__(file, protocol=4)
        self.channel, self.shared, self.call = channel, shared, call
        self.sent = {id(item): number for number, item in enumerate(shared)}

    def persistent_id(self, item: Any) -> Any:
        kind = type(item)
        if kind in PLAIN:
            return None
        if isinstance(item, np.generic) and item.dtype.kind in "biufc":
            return "scalar", item.dtype.str, item.tobytes()
        if isinstance(item, np.ndarray) and item.dtype.kind in "biufcSU":
            if id(item) in self.sent:
                return "again" if self.call is None else "known", self.sent[id(item)]
            self.remember(item)
            item = np.asarray(item)
            return "array", item.dtype.str, item.shape, item.tobytes(), item.flags.writeable
        if isinstance(item, np.dtype) or (isinstance(item, type) and issubclass(item, np.generic)):
            return "dtype", np.dtype(item).str, isinstance(item, type)
        if isinstance(item, Remote):
            return "yours", item.handle
        if kind is np.random.Generator:
            if id(item) in self.sent:
                return "again" if self.call is None else "known", self.sent[id(item)]
            self.remember(item)
            return "generator", type(item.bit_generator).__name__, item.bit_generator.state
        if inspect.isgenerator(item):
            return "iterator", self.channel.keep(item.__next__, self.call)
        return self.of_theirs(item) if self.channel.trusts else self.of_ours(item)

    def remember(self, item: Any) -> None:
        if self.call is None:  # in an answer, only the arrays of the call keep their numbers
            self.sent[id(item)] = len(self.shared)
            self.shared.append(item)

    def of_ours(self, item: Any) -> Any:
        """From the checking side: the package's own things by name, anything else that can be called as a proxy."""
        if isinstance(item, ModuleType):
            return "module", item.__name__
        if isinstance(item, type):
            return None
        module, name = getattr(item, "__module__", None) or "", getattr(item, "__qualname__", "")
        if isinstance(item, FunctionType) and module.startswith(PACKAGE) and "<" not in name:
            if not hasattr(item, "__wrapped__"):
                return None
        elif not isinstance(item, FunctionType) and (module or type(item).__module__).startswith(KNOWN):
            return None
        elif not isinstance(item, FunctionType) and not hasattr(type(item), "__get__"):
            return "thing", self.channel.keep(functools.partial(method_of, item))
        return "function", self.channel.keep(item)

    def of_theirs(self, item: Any) -> Any:
        """From the student's side: records of the package; of anything else only the name of its type."""
        if is_record(item) or is_record(type(item)) or any(item is kind for kind in PLAIN):
            return None
        if isinstance(item, FunctionType):
            return "function", self.channel.keep(item, self.call)
        return "other", self.channel.keep(item), type(item).__name__


class Unpacker(pickle.Unpickler):
    def __init__(self, file: Any, channel: Channel, known: list[Any]) -> None:
        super().__init__(file)
        self.channel, self.known, self.new = channel, known, []

    def find_class(self, module: str, name: str) -> Any:
        if self.channel.trusts:
            return super().find_class(module, name)
        if module == "builtins" and name in HARMLESS:
            return getattr(builtins, name)
        if module.partition(".")[0] == PACKAGE and "." not in name:
            found = super().find_class(module, name)
            if is_record(found):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no value")

    def persistent_load(self, item: Any) -> Any:
        kind, *content = item
        if kind == "scalar":
            return np.frombuffer(content[1], safe_dtype(content[0]))[0]
        if kind == "dtype":
            return safe_dtype(content[0]).type if content[1] else safe_dtype(content[0])
        if kind == "array":
            dtype, shape, data, writeable = content
            array = np.frombuffer(data, safe_dtype(dtype)).reshape(shape).copy()
            array.flags.writeable = writeable
            self.new.append(array)
            return array
        if kind == "known":
            return self.known[content[0]]
        if kind == "again":
            return self.new[content[0]]
        if kind == "yours":
            return self.channel.objects[content[0]]
        if kind == "other":
            return Remote(int(content[0]), clean(content[1]))
        if kind == "function":
            return self.function(int(content[0]))
        if kind == "thing" and self.channel.trusts:
            return Thing(self.function(int(content[0])))
        if kind == "iterator":
            return self.iterate(int(content[0]))
        if kind == "generator":
            bits = {"PCG64": np.random.PCG64, "PCG64DXSM": np.random.PCG64DXSM, "MT19937": np.random.MT19937}
            generator = np.random.Generator(bits[content[0]]())
            generator.bit_generator.state = content[1]
            self.new.append(generator)
            return generator
        if kind == "module" and self.channel.trusts:
            return __import__(content[0], fromlist=["x"])
        raise pickle.UnpicklingError(f"{kind} is no value")

    def function(self, handle: int) -> Callable:
        channel = self.channel

        def remote(*args: Any, **kwargs: Any) -> Any:
            return channel.call(handle, *args, **kwargs)

        return remote

    def iterate(self, handle: int) -> Iterator[Any]:
        channel, shared = self.channel, self.known

        def remote() -> Iterator[Any]:
            while True:
                try:
                    item = channel.call(handle, shared=shared)
                except StopIteration:
                    return
                yield item

        return remote()


def safe_dtype(text: str) -> np.dtype:
    dtype = np.dtype(text)
    if dtype.kind not in "biufcSU":
        raise pickle.UnpicklingError(f"dtype {dtype} is no number")
    return dtype


def restore(item: Any, value: Any) -> None:
    """Makes the array or generator `item` hold `value`."""
    if isinstance(item, np.ndarray):
        if item.shape != np.shape(value) or item.dtype != value.dtype:
            raise ChannelError("an array has changed its shape")
        item[...] = value
    else:
        item.bit_generator.state = value


def usual(name: str) -> bool:
    found = getattr(builtins, name, None)
    return name == "UserError" or (isinstance(found, type) and issubclass(found, Exception) and found is not Exception)


def error_of(name: str, text: str, sentence: str) -> Exception:
    """The error that the other side has described. Only Python's usual ones keep their class."""
    name, text = clean(name), clean(text)
    try:
        kind: Any = (UserError if name == "UserError" else getattr(builtins, name)) if usual(name) else AnswerError
        error = kind(text if kind is not AnswerError else f"{name}: {text}")
    except TypeError:  # UnicodeDecodeError and its like want five arguments
        error = AnswerError(f"{name}: {text}")
    error.sentence = clean(sentence)
    return error


def clean(text: Any) -> str:
    """Text that can be written to any file: without lone surrogates and control characters, not too long."""
    try:
        text = str(text)
    except Exception as error:
        text = f"(its text cannot be read: {type(error).__name__})"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text[:8000])
