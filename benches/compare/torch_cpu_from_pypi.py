"""Make the PyTorch wheel of PyPI work without the CUDA packages, for a CPU-only comparison.

On Linux PyPI only has the CUDA build, whose `import torch` wants several gigabytes of CUDA libraries and
loads them at every start, which no CPU user would pay for.  After

    pip install --no-deps torch==2.9.0
    pip install filelock typing-extensions sympy networkx jinja2 fsspec \
        nvidia-cuda-runtime-cu12==12.8.90 nvidia-cuda-cupti-cu12==12.8.90

run this with the Python of the same environment.  It replaces the CUDA libraries that torch links against by
empty ones that only define the names that are looked up.  Nothing of the
CPU part is touched.  Where the CPU wheel of PyTorch's own index can be reached, take that one and skip this.
Needs `cc` and `nm`.
"""

import pathlib
import subprocess
import sys
import sysconfig
import tempfile

STUBS = ["libcudnn.so.9", "libcusparseLt.so.0", "libcufile.so.0"]


def symbols(library, *flags):
    """Dynamic symbols of a library as {name without version: nm's letter}."""
    out = subprocess.run(["nm", "-D", *flags, str(library)], check=True, capture_output=True, text=True).stdout
    fields = [line.split() for line in out.splitlines()]
    return {f[-1].split("@")[0]: f[-2] for f in fields if len(f) >= 2}


def stub(path, code=(), data=()):
    """A shared library that defines the given names: code and data.

    The data are zero.  The code returns the address of zeroed memory, which is `false` where a truth value is
    read (its last byte is 0) and a usable object where a reference is.
    """
    lines = [".text"]
    for name in code:
        lines += [f'.globl "{name}"', f'.type "{name}", @function', f'"{name}": lea scratch(%rip), %rax; ret']
    lines += [".data", ".balign 256", "scratch: .zero 4096"]
    for name in data:
        lines += [f'.globl "{name}"', f'.type "{name}", @object', f'"{name}":']
        if name.startswith("_ZTI"):  # a C++ type description is its class's table and its name
            lines += [".quad _ZTVN10__cxxabiv117__class_type_infoE+16", ".quad 1f"]
        lines += [".zero 4096", f'1: .asciz "{name[4:]}"', ".balign 64"]
    lines.append('.section .note.GNU-stack,"",@progbits\n')
    with tempfile.NamedTemporaryFile("w", suffix=".s") as source:
        source.write("\n".join(lines))
        source.flush()
        subprocess.run(["cc", "-shared", "-nostdlib", f"-Wl,-soname,{path.name}", "-o", str(path), source.name], check=True)


def main():
    lib = pathlib.Path(sysconfig.get_paths()["purelib"]) / "torch" / "lib"
    wanted = symbols(lib / "libtorch_python.so", "--undefined-only") | symbols(lib / "libtorch.so", "--undefined-only")
    cuda = symbols(lib / "libtorch_cuda.so", "--defined-only")
    if len(cuda) < 10_000:
        sys.exit("already done: libtorch_cuda.so is a stub")
    cuda |= symbols(lib / "libtorch_nvshmem.so", "--defined-only")
    cpu = symbols(lib / "libtorch_cpu.so", "--defined-only")
    standard = ("_ZSt", "_ZNSt", "_ZNKSt", "_ZNSs")  # the C++ library's own names come from elsewhere
    here = {n: kind for n, kind in cuda.items() if n in wanted and n not in cpu and not n.startswith(standard)}
    code = [name for name, kind in here.items() if kind in "TtWi"]
    others = [name for name in wanted if name.startswith(("cudnn", "cusparseLt", "cuFile"))]
    (lib / "libtorch_cuda.so").unlink()
    stub(lib / "libtorch_cuda.so", code + others, [name for name in here if name not in code])
    for name in STUBS:
        stub(lib / name)
    print(f"{len(code)} functions, {len(here) - len(code)} objects, {len(others)} names of other libraries stubbed")


if __name__ == "__main__":
    main()
