"""vswitchd without root: a small process keeps it and starts the datapath. Needs root to give up."""
import os
import signal

import pytest
from running_daemon import Daemon, two_dummy_ports

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def uid(pid: int) -> int:
    return os.stat(f"/proc/{pid}").st_uid


def test_user(tmp_path):
    for directory in (tmp_path, *tmp_path.parents):     # nobody must be able to reach the sockets
        if directory.stat().st_mode & 0o5 != 0o5 and directory.is_relative_to("/tmp"):
            directory.chmod(directory.stat().st_mode | 0o55)
    daemon = Daemon(tmp_path, two_dummy_ports(), "--user", "nobody")
    try:
        first = daemon.datapath_pid()
        assert uid(daemon.process.pid) != 0 and uid(first) == 0
        os.kill(first, signal.SIGKILL)
        daemon.wait_for(lambda: daemon.log.read_text().count("the datapath is up") == 2)
        assert uid(daemon.datapath_pid()) == 0
        daemon.process.terminate()
        assert daemon.process.wait(10) == 0
        os.kill(daemon.datapath_pid(), 0)
    finally:
        daemon.stop()
