"""Makes the Python modules of proto/vswitch/v1 for the package vswitch.rpc.v1: generate.py OUTDIR FILE.proto...

protoc names a module after its file, `vswitch.v1.tenant_pb2`; the package has them below vswitch.rpc, next to the services
that serve them, so the imports between them are rewritten.
"""
import pathlib
import sys
from importlib import resources

from grpc_tools import protoc


def main(outdir: str, files: list[str]) -> int:
    root = pathlib.Path(__file__).resolve().parent
    out = pathlib.Path(outdir)
    well_known = resources.files("grpc_tools") / "_proto"
    status = protoc.main(["protoc", f"-I{root}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}",
                          *(str(pathlib.Path(file).resolve()) for file in files)])
    if status:
        return status
    for path in sorted((out / "vswitch" / "v1").glob("*_pb2*.py")):
        (out / path.name).write_text(path.read_text().replace("from vswitch.v1 import", "from vswitch.rpc.v1 import"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
