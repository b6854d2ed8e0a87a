"""Runs the CUDA C++ of nn/fast/gpu on the processor: g++ compiles it against emulator.h, thread by thread."""

import ctypes
import hashlib
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


class RawModule:
    """Of CuPy's RawModule what the package uses: one kernel, by its name expression."""

    def __init__(self, code, options, name_expressions):
        (self.name,) = name_expressions
        header = (HERE / "emulator.h").read_text()
        code = re.sub(r"^.*?// end of tensor core\n", "", code, flags=re.DOTALL).replace("extern __shared__ float4 shared[];", "")
        text = f'{header}{code}\nextern "C" void run(const unsigned* g, const unsigned* b, void** v) {{ launch({self.name}, g, b, v); }}'
        folder = Path(tempfile.gettempdir()) / "emulated_cuda"
        folder.mkdir(exist_ok=True)
        stem = folder / hashlib.sha256(text.encode()).hexdigest()[:20]
        if not stem.with_suffix(".so").exists():
            stem.with_suffix(".cpp").write_text(text)
            subprocess.run(["g++", "-O1", "-std=c++17", "-w", "-shared", "-fPIC", "-o", stem.with_suffix(".so"), stem.with_suffix(".cpp")], check=True)
        self.library = ctypes.CDLL(str(stem.with_suffix(".so")))

    def get_function(self, name):
        return Function(self.library.run)


class Function:
    def __init__(self, run):
        self.run = run

    def __call__(self, grid, block, arguments, shared_mem=0):
        assert shared_mem <= 227 << 10
        values = []
        for a in arguments:
            if isinstance(a, np.ndarray):
                assert a.flags.c_contiguous and a.dtype == np.float32, (a.shape, a.dtype)
                values.append(ctypes.c_void_p(a.ctypes.data))
            elif isinstance(a, np.int32):
                values.append(ctypes.c_int(int(a)))
            elif isinstance(a, np.float32):
                values.append(ctypes.c_float(float(a)))
            else:
                assert a == 0
                values.append(ctypes.c_void_p(0))
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        three = [(ctypes.c_uint * 3)(*sizes, *(1,) * (3 - len(sizes))) for sizes in (grid, block)]
        self.run(*three, pointers)
