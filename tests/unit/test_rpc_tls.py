"""TCP with mutual TLS: who shows no certificate of the authority is not served."""
import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from vswitch.cli.client import Client
from vswitch.errors import UnavailableError
from vswitch.rpc.server import Tls, serve

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture
def keys(tmp_path):
    """An authority and two pairs of its making: files by name."""
    file = {name: str(tmp_path / name) for name in ("ca.key", "ca.pem", "server.key", "server.pem", "client.key", "client.pem")}
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file["ca.key"], "-out",
            file["ca.pem"], "-subj", "/CN=authority", "-days", "1")
    extension = tmp_path / "extension"
    extension.write_text("subjectAltName=IP:127.0.0.1\n")
    for who in ("server", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file[f"{who}.key"], "-out",
                str(tmp_path / "request"), "-subj", f"/CN={who}")
        openssl("x509", "-req", "-in", str(tmp_path / "request"), "-CA", file["ca.pem"], "-CAkey", file["ca.key"],
                "-CAcreateserial", "-days", "1", "-extfile", str(extension), "-out", file[f"{who}.pem"])
    return file


async def test_mutual_tls(double, keys, tmp_path):
    tls = Tls(*(Path(keys[name]).read_bytes() for name in ("server.key", "server.pem", "ca.pem")))
    api = await serve(double, ["127.0.0.1:0"], tls)
    try:
        known = Client(api.addresses[0], (keys["client.key"], keys["client.pem"], keys["ca.pem"]), False)
        info = await asyncio.to_thread(known.call, "SwitchService.GetInfo")
        assert info.connected
        plain = Client(api.addresses[0], None, False)
        with pytest.raises(UnavailableError):
            await asyncio.to_thread(plain.call, "SwitchService.GetInfo")
    finally:
        await api.stop(0)
