"""What a QEMU guest on vhost-user ports goes through: the switch's datapath dies, the guest's driver is bound anew."""
import hashlib
import os
import signal

import pytest
from hosts import wait_for
from test_qemu_guest import GUEST, MIB, NEAR, Site, vhost_user, vhost_user_packed_rings, vhost_user_two_queues

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture(scope="module", params=[vhost_user, vhost_user_two_queues, vhost_user_packed_rings], ids=lambda attach: attach.__name__)
def site(request, tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("guest"), request.param)
    yield site
    site.lab.close()


def pings(site) -> bool:
    return "3 packets received" in site.guest.run(f"ping -c 3 -i 0.2 -W 2 {NEAR} || true")


def bind_anew(site):
    site.guest.run("cd /sys/bus/virtio/drivers/virtio_net && echo virtio0 >unbind && echo virtio0 >bind; cd /tmp")
    site.guest.run(f"ip address add {GUEST}/24 dev eth0 && ip link set eth0 up")


def test_the_driver_is_bound_anew(site):
    assert pings(site)
    bind_anew(site)
    wait_for("the guest", lambda: pings(site))


def kill_the_datapath(site):
    info = site.switches[0].client.call("SwitchService.GetInfo")
    os.kill(info.pid, signal.SIGKILL)
    wait_for("another datapath", lambda: site.switches[0].client.call("SwitchService.GetInfo").pid not in (0, info.pid))


def test_the_datapath_dies_and_comes_again(site):
    assert pings(site)
    kill_the_datapath(site)
    wait_for("the guest", lambda: pings(site))
    assert ("taken over" in site.switches[0].cli("port", "show", "br", "vm")) == (site.attach is vhost_user_packed_rings)


def test_the_datapath_dies_under_traffic(site):
    """Three times within transfers, which go on each time: of the buffers that the switch had, none is lost."""
    site.blob.write_bytes(os.urandom(24 * MIB))
    wanted = hashlib.sha256(site.blob.read_bytes()).hexdigest()
    site.guest.start("transfers", f"sh -c 'for i in 1 2 3 4; do wget -q -O - http://{NEAR}/blob | sha256sum; done >sums'")
    for _ in range(3):
        had = site.guest_port()["tx_bytes"]
        wait_for("more of it", lambda: site.guest_port()["tx_bytes"] > had + 2 * MIB, 60)
        kill_the_datapath(site)
        assert site.guest.runs("transfers"), "they were over before the datapath died three times"
        wait_for("the guest", lambda: site.guest_port()["tx_bytes"] > MIB, 60)
    wait_for("the transfers", lambda: not site.guest.runs("transfers"), 120)
    assert site.guest.run("cat sums").split() == 4 * [wanted, "-"]
    assert pings(site)
