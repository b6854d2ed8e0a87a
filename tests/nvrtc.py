"""NVRTC through ctypes: compiles CUDA C++ for a device that need not be there (wheel nvidia-cuda-nvrtc)."""

import ctypes
import importlib.metadata

import pytest


def library() -> ctypes.CDLL:
    """The library of the wheel; skips the test that asks for it where the wheel is missing."""
    try:
        files = importlib.metadata.files("nvidia-cuda-nvrtc")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs NVRTC: pip install nvidia-cuda-nvrtc")
    return ctypes.CDLL(str(next(file.locate() for file in files if file.name.startswith("libnvrtc.so"))))


def compile_for(architecture: str, source: str, names: list[str]) -> bytes:
    """The machine code of the kernels `names`. Raises ValueError with the compiler's words if there is none."""
    nvrtc, program, size = library(), ctypes.c_void_p(), ctypes.c_size_t()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None) == 0
    for name in names:
        assert nvrtc.nvrtcAddNameExpression(program, name.encode()) == 0
    options = [f"--gpu-architecture={architecture}".encode(), b"-std=c++17"]
    if nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options)):
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        raise ValueError(log.value.decode())
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    code = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, code)
    return code.raw
