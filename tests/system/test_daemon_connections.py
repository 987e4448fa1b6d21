"""How controllers are reached: TLS both ways, Unix sockets, versions that a bridge allows, auxiliary connections."""
import socket
import ssl
import subprocess

import pytest
from raw_controller import Controller, free_port, listening
from running_daemon import SCRIPTS, Daemon, two_dummy_ports
from tls_files import OPENSSL, Authority

from vswitch.openflow import messages as ofp
from vswitch.openflow.actions import ApplyActions, Output
from vswitch.openflow.constants import OFPP_CONTROLLER, Role, Type
from vswitch.openflow.versions import OF13, OF14, OF15

FRAME = bytes.fromhex("ffffffffffff020000000001" + "0800" + "00" * 46)
tls = pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")


def vswitch(daemon: Daemon, *arguments: str) -> str:
    done = subprocess.run([SCRIPTS / "vswitch", "--server", f"unix:{daemon.run}/api.sock", *arguments], capture_output=True,
                          text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


def files(authority) -> dict[str, str]:
    certificate, key = authority.sign("switch")
    return {"tls_certificate": str(certificate), "tls_key": str(key), "tls_ca": str(authority.certificate)}


def started(tmp_path, **bridge) -> Daemon:
    return Daemon(tmp_path, two_dummy_ports(fail_mode="secure", **bridge))


@tls
def test_tls_to_a_controller(tmp_path, authority, stranger):
    port = free_port()
    server = listening(port)
    daemon = started(tmp_path, controllers=(f"ssl:127.0.0.1:{port}",), **files(authority))
    try:
        with authority.context("controller", server=True).wrap_socket(server.accept()[0], server_side=True) as sock:
            controller = Controller(sock, version=OF15)
            controller.barrier()
            assert "ssl:127.0.0.1" in (shown := vswitch(daemon, "bridge", "controllers")) and "yes" in shown
        other = stranger.context("impostor", server=True, trusts=authority)
        daemon.wait_for(lambda: refuses(other, server) and "certificate is refused" in vswitch(daemon, "bridge", "controllers"))
    finally:
        daemon.stop()
        server.close()


def refuses(context: ssl.SSLContext, server: socket.socket) -> bool:
    try:
        with context.wrap_socket(server.accept()[0], server_side=True) as sock:
            sock.recv(1)
    except OSError:
        pass
    return True


@tls
def test_tls_from_a_controller(tmp_path, authority, stranger):
    port = free_port()
    daemon = started(tmp_path, listen=(f"pssl:{port}:127.0.0.1",), **files(authority))
    try:
        def connect(context):
            daemon.wait_for(lambda: listens(port))
            return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5))

        controller = Controller(connect(authority.context("controller", server=False)), version=OF14)
        controller.barrier()
        assert f"ssl:127.0.0.1:{controller.sock.getsockname()[1]}" in vswitch(daemon, "bridge", "controllers")
        controller.close()
        with pytest.raises((OSError, EOFError)):
            Controller(connect(stranger.context("impostor", server=False, trusts=authority)))
        daemon.wait_for(lambda: "certificate is refused" in vswitch(daemon, "bridge", "controllers"))
        with pytest.raises((OSError, EOFError)):
            Controller(socket.create_connection(("127.0.0.1", port), 5))    # without TLS
    finally:
        daemon.stop()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@tls
def test_files_that_are_not_there(tmp_path, authority):
    daemon = started(tmp_path, controllers=("ssl:127.0.0.1:1",), **{**files(authority), "tls_ca": "/nowhere.pem"})
    try:
        daemon.wait_for(lambda: "CA /nowhere.pem: No such file" in vswitch(daemon, "bridge", "controllers"))
    finally:
        daemon.stop()


def test_unix_sockets(tmp_path):
    (tmp_path / "d").mkdir()
    active, passive = tmp_path / "active", tmp_path / "passive"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(active))
    server.listen()
    server.settimeout(15)
    daemon = started(tmp_path / "d", controllers=(f"unix:{active}",), listen=(f"punix:{passive}",))
    try:
        controller = Controller(server.accept()[0])
        controller.barrier()
        daemon.wait_for(passive.exists)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(passive))
        Controller(sock, version=OF15).barrier()
        assert f"unix:{active}" in (shown := vswitch(daemon, "bridge", "controllers")) and f"unix:{passive}" in shown
    finally:
        daemon.stop()
        server.close()


def test_versions_that_a_bridge_allows(tmp_path):
    port = free_port()
    daemon = started(tmp_path, listen=(f"ptcp:{port}:127.0.0.1",), protocols=("1.3", "1.5"))
    try:
        Controller.to(port, version=OF13).barrier()
        offered = Controller.to(port, hello=False, version=OF15).wait(Type.HELLO)
        assert offered.elements[0].bitmaps == [1 << OF13 | 1 << OF15]
        refused = Controller.to(port, hello=False, version=OF14)
        refused.send(Type.HELLO, ofp.HELLO(elements=[ofp.VERSION_BITMAP(bitmaps=[1 << OF14])]))
        error = refused.wait(Type.ERROR)
        assert (error.type, error.code) == (0, 0) and error.data == b"no common version: OpenFlow 1.3, 1.5 is spoken here"
        vswitch(daemon, "bridge", "set", "br", "--protocol", "1.4")
        Controller.to(port, version=OF14).barrier()
        assert '"protocols": [' in vswitch(daemon, "--json", "bridge", "show", "br")
    finally:
        daemon.stop()


def test_auxiliary_connections(tmp_path):
    """They have numbers and the main connection's role, carry packet-ins, and end with it."""
    port = free_port()
    server = listening(port)
    daemon = started(tmp_path, controllers=(f"tcp:127.0.0.1:{port}",), auxiliary=2)
    try:
        main = Controller(server.accept()[0])
        others = [Controller(server.accept()[0]) for _ in range(2)]
        numbers = [c.ask(Type.FEATURES_REQUEST, None, Type.FEATURES_REPLY).auxiliary_id for c in (main, *others)]
        assert numbers[0] == 0 and sorted(numbers[1:]) == [1, 2]
        assert len({c.ask(Type.FEATURES_REQUEST, None, Type.FEATURES_REPLY).datapath_id for c in (main, *others)}) == 1
        main.ask(Type.ROLE_REQUEST, ofp.ROLE(role=Role.SLAVE), Type.ROLE_REPLY)
        assert others[0].refused(Type.FLOW_MOD, ofp.FLOW_MOD.encode(ofp.FLOW_MOD())) == (1, 10)
        others[0].ask(Type.ROLE_REQUEST, ofp.ROLE(role=Role.EQUAL), Type.ROLE_REPLY)
        main.send(Type.FLOW_MOD, ofp.FLOW_MOD(instructions=[ApplyActions((Output(OFPP_CONTROLLER),))]))
        main.barrier()

        async def inject(client):
            await client.inject(1, 1, FRAME)
        daemon.ask(inject)
        carriers = [c for c in others if not c.quiet(1)]
        assert len(carriers) == 1 and main.quiet()
        main.close()
        for other in others:
            with pytest.raises((EOFError, ConnectionResetError)):
                while True:
                    other.next()
        assert Controller(server.accept()[0]).ask(Type.FEATURES_REQUEST, None, Type.FEATURES_REPLY).auxiliary_id == 0
    finally:
        daemon.stop()
        server.close()
