"""vswitchd's flags for who may look and call: the API's TLS files, and the address that Prometheus scrapes."""
import socket
import subprocess
import urllib.request

import pytest
from running_daemon import SCRIPTS, Daemon, two_dummy_ports


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def make_keys(directory) -> dict[str, str]:
    """An authority, and a server's and a client's pair of its making: files by name."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "1")
    (directory / "extension").write_text("subjectAltName=IP:127.0.0.1\n")
    for who in ("server", "client"):
        openssl("req", *new, "-keyout", f"{who}.key", "-out", "request", "-subj", f"/CN={who}")
        openssl("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
                "-extfile", "extension", "-out", f"{who}.pem")
    return {path.name: str(path) for path in directory.iterdir()}


def vswitch(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([SCRIPTS / "vswitch", *arguments], capture_output=True, text=True, timeout=30)


def test_tls_and_metrics(tmp_path):
    keys_directory = tmp_path / "keys"
    keys_directory.mkdir()
    keys = make_keys(keys_directory)
    api, metrics = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    daemon = Daemon(tmp_path, two_dummy_ports(), "--api", api, "--api", f"unix:{tmp_path}/api.sock",
                    "--api-tls", keys["server.key"], keys["server.pem"], keys["ca.pem"], "--metrics", metrics)
    try:
        daemon.wait_for(lambda: "vswitchd runs" in daemon.log.read_text())
        pair = (keys["client.key"], keys["client.pem"], keys["ca.pem"])
        known = vswitch("--server", api, "--tls", *pair, "tenant", "list")
        assert known.returncode == 0 and "t" in known.stdout.split(), known.stderr
        assert vswitch("--server", api, "tenant", "list").returncode == 1
        assert vswitch("--server", f"unix:{tmp_path}/api.sock", "tenant", "list").returncode == 0
        with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        assert "vswitch_datapath_up 1.0" in text
        assert 'vswitch_tenant_cpu_seconds_total{stage="rx",tenant="t",worker="0"}' in text
        assert 'vswitch_port_up{bridge="br",port="p1",tenant="t"} 1.0' in text
    finally:
        daemon.stop()


@pytest.mark.parametrize("arguments, reason", [
    (("--api-tls", "/nowhere/key", "/nowhere/cert", "/nowhere/ca"), "/nowhere/key"),
    (("--metrics", "9100"), "'9100' is not host:port"),
    (("--api", "192.0.2.1:1"), "needs TLS"),
])
def test_refusals(tmp_path, arguments, reason):
    done = subprocess.run([SCRIPTS / "vswitchd", "--state", tmp_path / "state", "--run", tmp_path / "run", "--stop-datapath",
                           *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and reason in done.stderr and "started the datapath" not in done.stderr
