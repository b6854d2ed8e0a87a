#!/bin/sh
# Tests and measures the package on a GPU, in one call and without a network:
#
#     sh bench/gpu.sh                 about seven minutes
#     QUICK=1 sh bench/gpu.sh         without torch.compile: about four and a half
#
# The machine needs python3 with CuPy, PyTorch, NumPy, SciPy, tqdm, matplotlib, pillow and pytest. Packages that it lacks
# come along as wheels in the folder .whl, for instance:
#
#     pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
#         --platform manylinux2014_x86_64 -d .whl soundfile cffi pycparser soxr threadpoolctl psutil mido
#
# Results go to the folder $OUT, or to build: gpu.json, gpu.txt (with the table) and gpu_tests.txt.
cd "$(dirname "$0")/.." || exit 1
OUT=${OUT:-build}
export OUT PYTHONUNBUFFERED=1
mkdir -p "$OUT"
PYTHON=${PYTHON:-python3}
SITE=${SITE:-/tmp/site}

seconds() { echo "[$(($(date +%s) - START)) s] $*"; }
START=$(date +%s)

if ls .whl/*.whl > /dev/null 2>&1; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$SITE" .whl/*.whl \
        || echo "the wheels in .whl were not installed"
    export PYTHONPATH="$PWD:$SITE${PYTHONPATH:+:$PYTHONPATH}"
else
    export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
fi
command -v nvidia-smi > /dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
seconds "wheels installed"

# A failed test is reported and does not stop the measurements, whose numbers then mean little.
DDIM_TEST_GPU=1 timeout -k 5 "${TEST_SECONDS:-180}" "$PYTHON" -m pytest -q -p no:cacheprovider --tb=short tests/test_gpu.py tests/test_cupy_rules.py \
    > "$OUT/gpu_tests.txt" 2>&1
TESTS=$?
grep -E '^(FAILED|ERROR|E  )' "$OUT/gpu_tests.txt" | head -40
tail -n 1 "$OUT/gpu_tests.txt"
seconds "device tests: exit status $TESTS"

LIMIT=${BENCH_SECONDS:-300}
{
    timeout -k 5 $((LIMIT + 45)) "$PYTHON" -m bench.gpu --seconds "$LIMIT" --profile \
        $([ -n "$QUICK" ] || echo --compile) "$@"
    echo "measurements: exit status $?"
} 2>&1 | tee "$OUT/gpu.txt"
seconds "done"
exit "$TESTS"
