"""Mutate real Keras files and see that conversion refuses them or reads exactly what h5py reads.

    python converters/fuzz.py FILE... [--cases 5000] [--seed 0] [--workers 2]

Every case ends in a ConversionError, or in arrays equal to those that h5py reads from the same bytes in a process of
its own. A case that raises something else, or takes over 10 s, is a failure; so is a process over 2 GB: this one, which
converts, or one that reads.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import io
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

from torchviz_layers.convert import convert_keras
from torchviz_layers.convert.keras_files.reading import read_keras_file
from torchviz_layers.exceptions import ConversionError

SECONDS, MEMORY = 10.0, 2 * 2**30
ORACLE = """
import sys, io, json, hashlib, zipfile, h5py, numpy as np
data = open(sys.argv[1], "rb").read()
if data[:2] == b"PK":
    data = zipfile.ZipFile(io.BytesIO(data)).read("model.weights.h5")
file = h5py.File(io.BytesIO(data), "r")
root = file["model_weights"] if "model_weights" in file else file
found = {}
def visit(name, item):
    if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
        found[name] = hashlib.sha256(np.ascontiguousarray(item[()]).tobytes()).hexdigest()
try:
    root.visititems(visit)
except RuntimeError:  # the damaged free list of a group without arrays: it is reported once
    found.clear()
    root.visititems(visit)
print(json.dumps(found))
"""

Mutation = Callable[[bytes, random.Random], bytes]


def truncate(data: bytes, rng: random.Random) -> bytes:
    """Cut the file short."""
    return data[: rng.randrange(len(data))]


def flip(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes, half of the time in the first kilobytes, where the structure is."""
    changed = bytearray(data)
    end = min(len(data), 8192) if rng.random() < 0.5 else len(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16, 64])):
        changed[rng.randrange(end)] = rng.randrange(256)
    return bytes(changed)


def zero(data: bytes, rng: random.Random) -> bytes:
    """Set a stretch to zero."""
    start = rng.randrange(len(data))
    length = rng.choice([8, 64, 512, 4096])
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def move(data: bytes, rng: random.Random) -> bytes:
    """Copy a stretch to another position."""
    length = rng.choice([8, 64, 512])
    source, target = rng.randrange(max(1, len(data) - length)), rng.randrange(max(1, len(data) - length))
    return data[:target] + data[source : source + length] + data[target + length :]


def config_text(data: bytes, rng: random.Random) -> bytes:
    """Change a number in the configuration."""
    positions = [
        index
        for index in range(len(data) - 1)
        if data[index : index + 1] in b"123456789" and data[index - 2 : index] == b": "
    ]
    if not positions:
        return flip(data, rng)
    changed = bytearray(data)
    changed[rng.choice(positions)] = ord(rng.choice("0123456789-"))
    return bytes(changed)


def edit(data: bytes, change: Callable[[h5py.File, random.Random], None], rng: random.Random) -> bytes:
    """Change the HDF5 part of a file with h5py; bytes of a file that has none."""
    if not data.startswith((b"\x89HDF", b"PK")):
        return flip(data, rng)
    archive = None
    if data[:2] == b"PK":
        archive = {
            entry: zipfile.ZipFile(io.BytesIO(data)).read(entry)
            for entry in zipfile.ZipFile(io.BytesIO(data)).namelist()
        }
        data = archive["model.weights.h5"]
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        change(file, rng)
    if archive is None:
        return buffer.getvalue()
    archive["model.weights.h5"] = buffer.getvalue()
    return zipped(archive)


def zipped(entries: dict[str, bytes]) -> bytes:
    """Return a zip archive of the entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def some_array(file: h5py.File, rng: random.Random) -> h5py.Dataset:
    """Return one of the file's arrays."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) and item.ndim else None)
    return file[rng.choice(found)]


def replace_array(file: h5py.File, rng: random.Random, **options: object) -> None:
    """Replace an array by another one."""
    array = some_array(file, rng)
    name, parent = array.name, array.parent
    del file[name]
    parent.create_dataset(name.rpartition("/")[2], **options)


def other_shape(file: h5py.File, rng: random.Random) -> None:
    """Give an array another shape."""
    shape = tuple(rng.randrange(1, 9) for _ in range(rng.randrange(0, 4)))
    replace_array(file, rng, data=np.zeros(shape, np.float32))


def huge_shape(file: h5py.File, rng: random.Random) -> None:
    """Declare an array of many gigabytes that takes no room in the file."""
    replace_array(file, rng, shape=(rng.choice([10**5, 10**9]), 10**5), dtype="f4", chunks=(1, 1000))


def text_array(file: h5py.File, rng: random.Random) -> None:
    """Replace numbers by text."""
    replace_array(file, rng, data=np.array([b"a", b"b"], dtype=object), dtype=h5py.string_dtype())


def external_storage(file: h5py.File, rng: random.Random) -> None:
    """Store the content of an array in another file."""
    replace_array(file, rng, shape=(4,), dtype="f4", external=[("/etc/hostname", 0, 16)])


def link(file: h5py.File, rng: random.Random) -> None:
    """Replace an array by a link."""
    array = some_array(file, rng)
    name = array.name
    del file[name]
    file[name] = rng.choice([h5py.ExternalLink("/etc/passwd", "/x"), h5py.SoftLink("/"), h5py.SoftLink("/nowhere")])


def loop(file: h5py.File, rng: random.Random) -> None:
    """Let a group contain one above it."""
    parent = some_array(file, rng).parent
    parent["loop"] = file["/"]


def rename(file: h5py.File, rng: random.Random) -> None:
    """Give an array another name."""
    array = some_array(file, rng)
    name = rng.choice([name for name in ("renamed", "0", "kernel:0x", "..", "a b") if name not in array.parent])
    array.parent.move(array.name.rpartition("/")[2], name)


def traversal(data: bytes, rng: random.Random) -> bytes:
    """Add an archive entry outside the archive."""
    if data[:2] != b"PK":
        return flip(data, rng)
    source = zipfile.ZipFile(io.BytesIO(data))
    entries = {name: source.read(name) for name in source.namelist()}
    return zipped({**entries, rng.choice(["../../evil", "/etc/evil", "C:\\evil"]): b"x"})


def bomb(data: bytes, rng: random.Random) -> bytes:
    """Add an archive entry that unpacks to 200 MB."""
    if data[:2] != b"PK":
        return truncate(data, rng)
    source = zipfile.ZipFile(io.BytesIO(data))
    entries = {name: source.read(name) for name in source.namelist()}
    return zipped({**entries, rng.choice(["bomb", "config.json"]): bytes(200_000_000)})


EDITS = (other_shape, huge_shape, text_array, external_storage, link, loop, rename)
MUTATIONS: tuple[Mutation, ...] = (truncate, flip, flip, flip, flip, zero, zero, move, config_text, traversal, bomb)


def mutate(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Return the name of a mutation and the mutated file."""
    if rng.random() < 0.35:
        change = rng.choice(EDITS)
        return change.__name__, edit(data, change, rng)
    mutation = rng.choice(MUTATIONS)
    return mutation.__name__, mutation(data, rng)


def judge(path: Path) -> str:
    """Return "refused" or "equal" for a good case, else what is wrong."""
    try:
        convert_keras(path)
        arrays = read_keras_file(path).arrays
    except ConversionError:
        return "refused"
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"[:300]
    done = subprocess.run(
        [sys.executable, "-I", "-c", ORACLE, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        return f"converted, but h5py cannot read it: {done.stderr[-200:]}"
    wanted = json.loads(done.stdout)
    got = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    return (
        "equal" if got == wanted else f"other weights than h5py's: {sorted(set(got.items()) ^ set(wanted.items()))[:3]}"
    )


def case(files: list[Path], seed: int, keep: Path | None) -> tuple[str, str]:
    """Run one case and return the mutation and the verdict."""
    rng = random.Random(seed)
    source = rng.choice(files)
    name, data = mutate(source.read_bytes(), rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"case{seed}{source.suffix}"
        path.write_bytes(data)
        start = time.perf_counter()
        verdict = judge(path)
        took = time.perf_counter() - start
        if verdict in ("refused", "equal") and took > SECONDS:
            verdict = f"took {took:.1f} s"
        if verdict not in ("refused", "equal") and keep is not None:
            shutil.copy(path, keep)
    return name, verdict


def main() -> int:
    """Run the cases and print the tally."""
    parser = argparse.ArgumentParser(description="Mutate Keras files and compare the reader with h5py.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the cases that fail")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    tally: collections.Counter[tuple[str, str]] = collections.Counter()
    failures = 0
    with ThreadPoolExecutor(options.workers) as pool:
        seeds = range(options.seed, options.seed + options.cases)
        for seed, (name, verdict) in zip(
            seeds, pool.map(lambda seed: case(options.files, seed, options.keep), seeds), strict=True
        ):
            good = verdict in ("refused", "equal")
            tally[name, verdict if good else "FAILED"] += 1
            if not good:
                failures += 1
                print(f"seed {seed}: {name}: {verdict}", flush=True)
    for (name, verdict), count in sorted(tally.items()):
        print(f"{name:18} {verdict:8} {count}")
    peaks = {"this process": peak(resource.RUSAGE_SELF), "the largest one below it": peak(resource.RUSAGE_CHILDREN)}
    sizes = ", ".join(f"{name} {size / 2**20:.0f} MB" for name, size in peaks.items())
    print(f"{options.cases} cases, {failures} failures; {sizes}")
    return int(failures > 0 or max(peaks.values()) > MEMORY)


def peak(whose: int) -> int:
    """Return the largest resident size so far, in bytes, of this process or of any that it started and outlived."""
    return resource.getrusage(whose).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
