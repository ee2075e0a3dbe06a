"""Remove from an environment what a server never runs: half of what its packages install.

usage: prune_image.py ENVIRONMENT

Each line of `NEVER_RUN` has its reason. A pattern that matches nothing is an error (exit 1): the package has changed,
and what took the place of the old files has to be looked at.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# Patterns under site-packages. `tests/test_image.py` imports what is left and looks for every library that it links.
NEVER_RUN = {
    "setuptools": "built this package",
    "setuptools-*": "built this package",
    "_distutils_hack": "setuptools' own",
    "distutils-precedence.pth": "setuptools' own",
    # Arrow. libarrow_substrait stays: every other of its libraries is linked against it.
    "pyarrow/libarrow_flight.so.*": "a network protocol",
    "pyarrow/libarrow_python_flight.so*": "its Python side",
    "pyarrow/_flight.*": "its Python side",
    "pyarrow/flight.py": "its Python side",
    "pyarrow/libarrow_python.so": "a copy that the linker of a C++ program wants; .so.N is the one that runs",
    "pyarrow/libarrow_python.so.*.*": "the same copy again",
    "pyarrow/libarrow_python_parquet_encryption.so": "the same",
    "pyarrow/libarrow_python_parquet_encryption.so.*.*": "the same",
    "pyarrow/_pyarrow_cpp_tests.*": "tests",
    "pyarrow/tests": "tests",
    "pyarrow/include": "headers for C++",
    "pyarrow/src": "C++",
    # ONNX Runtime
    "onnxruntime/capi/libonnxruntime.so.*": "the library for C programs; the Python module has all of it inside",
    "onnxruntime/transformers": "optimises language models",
    "onnxruntime/quantization": "makes models smaller",
    "onnxruntime/tools": "converts models",
    "onnxruntime/datasets": "examples",
    # numpy
    "numpy/distutils": "builds Fortran",
    "numpy/f2py": "builds Fortran",
    "numpy/_core/include": "headers for C",
    "numpy/_core/lib": "static libraries",
    "numpy/random/lib": "static libraries",
    "numpy/**/tests": "tests",
    # The others
    "google/protobuf/testdata": "tests",
    "uvloop/_testbase.py": "tests",
    "**/*.pyi": "for type checkers",
    "**/*.pyx": "Cython's sources",
    "**/*.pxd": "Cython's sources",
    "**/*.pxi": "Cython's sources",
}

BOTOCORE = "botocore/data"
# Its descriptions of four hundred services: kept are S3 and what signs in to AWS.
SERVICES = {"s3", "sso", "sso-oidc", "sts"}


def main(environment: Path) -> int:
    """Remove the files; say how many bytes they were, or which pattern matches none."""
    [packages] = environment.glob("lib/python*/site-packages")
    unmatched, removed = [], 0
    for pattern in NEVER_RUN:
        found = sorted(packages.glob(pattern))
        if not found:
            unmatched.append(pattern)
        removed += sum(map(remove, found))
    # the packages' commands are a developer's; what is named python... are the links to Python itself
    removed += sum(remove(path) for path in (environment / "bin").iterdir() if not path.name.startswith("python"))
    services = [path for path in (packages / BOTOCORE).iterdir() if path.is_dir()]
    unmatched += [f"{BOTOCORE}/{name}" for name in sorted(SERVICES - {path.name for path in services})]
    removed += sum(remove(path) for path in services if path.name not in SERVICES)
    for pattern in unmatched:
        print(f"prune_image: {pattern}: matches nothing; see what has taken its place", file=sys.stderr)
    print(f"prune_image: removed {removed / 1e6:.0f} MB")
    return 1 if unmatched else 0


def remove(path: Path) -> int:
    """Remove a file or a folder; return the bytes that it held. Zero where an earlier pattern took it already."""
    if path.is_dir():
        held = sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
        shutil.rmtree(path)
        return held
    if not path.exists():
        return 0
    held = path.lstat().st_size
    path.unlink()
    return held


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
