"""vswitchd --stop-datapath leaves no datapath, whenever it is told to end."""
import signal
import subprocess
import time

import pytest
from running_daemon import SCRIPTS


def datapaths(directory) -> list[str]:
    return subprocess.run(["pgrep", "-f", f"vswitch-datapath --socket {directory}/"], capture_output=True,
                          text=True).stdout.split()


def wait_for_line(path, line: str) -> None:
    deadline = time.monotonic() + 20
    while line not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.002)


@pytest.mark.parametrize("line", ["started the datapath", "vswitchd runs", "the datapath is up"])
def test_ended_at_once(tmp_path, line):
    log = tmp_path / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen([SCRIPTS / "vswitchd", "--state", tmp_path / "state", "--run", tmp_path / "run",
                                    "--stop-datapath"], stdout=out, stderr=out)
    try:
        wait_for_line(log, line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    finally:
        process.kill()
    deadline = time.monotonic() + 5
    while datapaths(tmp_path):
        assert time.monotonic() < deadline, "a datapath is left"
        time.sleep(0.02)
