"""Run the tests that compute as other processors would: `make test-noise`, or

    python -m tests.imitated_processors [--quick] [--only WORD] [pytest's arguments]

PyTorch, oneDNN, MKL, OpenBLAS, NumPy and Numba choose their kernels by the processor, and environment variables make
them choose those of an older one. The kernels of a newer one cannot run; `tests.other_sums` stands in for them.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPUTING = """
    activations bundled_models benchmarks capture capture_hard_cases capture_unusual convert convert_frozen
    convert_recipes convert_writing corner_cases embedding extract extract_store extract_unusual list_inputs metrics
    models neighbors neighbors_torch onnx_batches pages pipeline reduce sample_axis token_masks umap umap_engines
    umap_learn
"""
QUICK = """
    benchmarks capture capture_hard_cases capture_unusual corner_cases extract extract_store extract_unusual list_inputs
    pages sample_axis token_masks
"""


def processor(
    aten: str, onednn: str, mkl: str, openblas: str, numba: str, *, threads: int, numpy_lacks: str = ""
) -> dict:
    """Return the environment in which the libraries take the kernels of a processor."""
    return {
        "ATEN_CPU_CAPABILITY": aten,
        "ONEDNN_MAX_CPU_ISA": onednn,
        "MKL_CBWR": mkl,
        "OPENBLAS_CORETYPE": openblas,
        "NUMBA_CPU_NAME": numba,
        "NPY_DISABLE_CPU_FEATURES": numpy_lacks,
        "OMP_NUM_THREADS": str(threads),
    }


OTHER_SUMS = ["-p", "tests.other_sums"]
PROCESSORS: dict[str, tuple[dict, list[str]]] = {
    "other sums for every batch size": ({}, OTHER_SUMS),
    "other sums, one thread": ({"OMP_NUM_THREADS": "1"}, OTHER_SUMS),
    "SSE4.2 (2008), one thread": (
        processor("default", "SSE41", "COMPATIBLE", "Nehalem", "nehalem", threads=1, numpy_lacks="X86_V3 X86_V4"),
        [],
    ),
    "AVX (2011), two threads": (
        processor("default", "AVX", "AVX", "Sandybridge", "sandybridge", threads=2, numpy_lacks="X86_V3 X86_V4"),
        [],
    ),
    "AVX2 (2013), one thread": (
        processor("avx2", "AVX2", "AVX2", "Haswell", "haswell", threads=1, numpy_lacks="X86_V4"),
        [],
    ),
}
AVX512 = processor("avx512", "AVX512_CORE", "AVX512", "SkylakeX", "skylake-avx512", threads=2)


def run(name: str, environment: dict, arguments: list[str]) -> bool:
    """Run pytest once, print its closing line beside the processor's name and return whether it passed."""
    begin = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-q", "-r", "fE", *arguments]
    environment = os.environ | {key: value for key, value in environment.items() if value}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    summary = re.findall(r"^.*\b(?:passed|failed|error|no tests ran)\b.* in [\d.]+s.*$", done.stdout, re.M)
    print(f"{name}: {summary[-1] if summary else 'pytest did not end'} ({time.monotonic() - begin:.0f} s)", flush=True)
    if done.returncode:
        print(done.stdout[-20_000:], done.stderr[-5_000:], sep="\n", flush=True)
    return done.returncode == 0


def main() -> int:
    """Run every processor that this one can imitate; 1 where a test failed on any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="other sums alone, in the tests that compare passes")
    parser.add_argument("--only", default="", metavar="WORD", help="the processors that have this in their names")
    options, arguments = parser.parse_known_args()
    modules = QUICK if options.quick else COMPUTING
    if not any(argument.startswith("tests/") for argument in arguments):
        names = {f"test_{module}.py" for module in modules.split()}
        arguments += [str(file.relative_to(ROOT)) for file in ROOT.glob("tests/**/test_*.py") if file.name in names]
    processors = dict(PROCESSORS)
    flags = Path("/proc/cpuinfo")
    if flags.exists() and "avx512bw" in flags.read_text():
        processors["AVX-512 (2017), two threads"] = (AVX512, [])
    else:
        print("AVX-512: this processor has none; other sums stand in for it", flush=True)
    only = "every batch size" if options.quick else options.only
    chosen = {name: how for name, how in processors.items() if only in name}
    passed = [run(name, environment, plugin + arguments) for name, (environment, plugin) in chosen.items()]
    return 0 if passed and all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
