"""A vswitchd of a test's own, in a directory of its own, with a state that the test gives it."""
from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from vswitch.datapath.client import Client
from vswitch.model.objects import Bridge, Port, Tenant
from vswitch.model.store import State, Store

SCRIPTS = Path(sys.executable).parent
OFCTL = shutil.which("ovs-ofctl")


def two_dummy_ports(**bridge) -> State:
    """Tenant t, bridge br with ports p1 and p2."""
    return State({"t": Tenant("t", id=1)}, {"br": Bridge("br", "t", **{"dpid": 0x1234, "id": 1, **bridge})},
                 {("br", f"p{i}"): Port(f"p{i}", "br", "dummy", port_no=i) for i in (1, 2)}, last_tenant_id=1,
                 last_bridge_id=1, host_id=0x20000000001)


class Daemon:
    def __init__(self, directory: Path, state: State, *arguments: str):
        self.state, self.run = directory / "state", directory / "run"
        self.log = directory / "vswitchd.log"
        self.arguments = arguments
        self.state.mkdir()
        Store(self.state).save(state)
        self.process: subprocess.Popen | None = None
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([SCRIPTS / "vswitchd", "--state", self.state, "--run", self.run,
                                             *self.arguments], stderr=log, stdout=log, cwd="/")
        self.wait_for(lambda: self.log.read_text().count("the datapath is up") >= 1 and self.management().exists())

    def management(self, bridge: str = "br") -> Path:
        return self.run / f"{bridge}.mgmt"

    def wait_for(self, condition, timeout: float = 10.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def ofctl(self, command: str, *arguments: str, bridge: str = "br", input: str | None = None,
              version: str = "OpenFlow13") -> str:
        done = subprocess.run([OFCTL, "-O", version, *command.split(), f"unix:{self.management(bridge)}", *arguments],
                              capture_output=True, text=True, timeout=30, input=input)
        assert done.returncode == 0, done.stderr + self.log.read_text()
        return done.stdout + done.stderr

    def vswitch(self, *arguments: str, code: int = 0) -> str:
        """What the command line says of this daemon: its output, or with `code` its refusal."""
        self.wait_for((self.run / "api.sock").exists)
        done = subprocess.run([SCRIPTS / "vswitch", "--server", f"unix:{self.run}/api.sock", *arguments], capture_output=True,
                              text=True, timeout=30)
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    def ask(self, question):
        """`await question(client)` of an observer of the datapath's."""
        async def run():
            client = await Client.attach(str(self.run / "datapath.sock"), control=False)
            try:
                return await question(client)
            finally:
                client.close()
        return asyncio.run(run())

    def datapath_pid(self) -> int:
        async def pid(client):
            return client.hello.pid
        return self.ask(pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        try:
            pid = self.datapath_pid()
        except OSError:
            pid = 0
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        if pid:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
