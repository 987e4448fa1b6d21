"""Writes the C source of vswitch._datapath: the channel's contract and what tests and benchmarks call in process.

Usage: build_ffi.py OUTPUT.c HEADER...
Each header's part between `cffi: begin` and `cffi: end` is declared to cffi; the whole header is included in the source.
"""
import sys

import cffi


def declarations(path):
    text = open(path, encoding="utf-8").read()
    return text.split("/* cffi: begin */")[1].split("/* cffi: end */")[0]


def main(output, *headers):
    builder = cffi.FFI()
    for path in headers:
        builder.cdef(declarations(path))
    builder.set_source("vswitch._datapath", "".join(f"#include \"{path.split('datapath_c/')[-1]}\"\n" for path in headers))
    builder.emit_c_code(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
