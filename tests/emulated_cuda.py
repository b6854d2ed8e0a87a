"""Runs the CUDA C++ of nn/fast/gpu without a device: g++ compiles a kernel, and runs it thread by thread."""

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

HEADER = Path(__file__).with_name("emulated_cuda.h").read_text()
BUILT = Path(tempfile.gettempdir()) / f"emulated_cuda_{Path.home().name}"
MOST_SHARED = 227 << 10  # bytes that a block of compute capability 9.0 can have

launches: Counter = Counter()  # by kernel
one_at_a_time = threading.Lock()  # the emulator has one set of threads


class RawModule:
    """Of CuPy's RawModule what the package uses: one kernel, by its name expression."""

    def __init__(self, code, options, name_expressions):
        (self.name,) = name_expressions
        code = code.replace("extern __shared__ float4 shared[];", "")  # the header has it
        arguments = "const unsigned* grid, const unsigned* block, void** values"
        run = f'extern "C" void run({arguments}) {{ launch({self.name}, grid, block, values); }}'
        self.run = _built(f"{HEADER}\n{code}\n{run}\n").run

    def get_function(self, name):
        return Kernel(name, self.run)


class Kernel:
    max_dynamic_shared_size_bytes = 48 << 10

    def __init__(self, name, run):
        self.name, self.run = name, run

    def __call__(self, grid, block, arguments, shared_mem=0):
        assert shared_mem <= self.max_dynamic_shared_size_bytes <= MOST_SHARED
        launches[self.name] += 1
        values = [_value(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        with one_at_a_time:
            self.run(*((ctypes.c_uint * 3)(*sizes, *(1,) * (3 - len(sizes))) for sizes in (grid, block)), pointers)


def _value(argument):
    """An argument as the kernel's C type. (CuPy passes a plain int with 8 bytes: right for a null pointer only.)"""
    if isinstance(argument, np.int32):
        return ctypes.c_int(int(argument))
    if isinstance(argument, np.float32):
        return ctypes.c_float(float(argument))
    if isinstance(argument, int):
        assert argument == 0
        return ctypes.c_void_p(0)
    array = getattr(argument, "_host", argument)  # of fake_cupy's FakeArray
    assert array.flags.c_contiguous and array.dtype == np.float32, f"{array.dtype} {array.strides}"
    return ctypes.c_void_p(array.ctypes.data)


def _built(text: str) -> ctypes.CDLL:
    if not shutil.which("g++"):
        pytest.skip("needs g++")
    BUILT.mkdir(exist_ok=True)
    library = BUILT / f"{hashlib.sha256(text.encode()).hexdigest()}.so"
    if not library.exists():
        with tempfile.NamedTemporaryFile("w", suffix=".cpp", dir=BUILT) as file:
            file.write(text)
            file.flush()
            built = Path(f"{file.name}.so")
            subprocess.run(["g++", "-O1", "-std=c++17", "-w", "-shared", "-fPIC", "-o", built, file.name], check=True)
        built.replace(library)
    return ctypes.CDLL(str(library))
