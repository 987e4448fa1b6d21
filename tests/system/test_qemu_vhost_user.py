"""What a QEMU guest on vhost-user ports goes through: the switch's datapath dies, the guest's driver is bound anew.

With packed rings nobody knows where a datapath that died had been in the ring (that takes in-flight tracking): the guest has its
network back when its driver is bound anew."""
import os
import signal

import pytest
from hosts import wait_for
from test_qemu_guest import GUEST, NEAR, Site, vhost_user, vhost_user_packed_rings, vhost_user_two_queues

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


def test_the_datapath_dies_and_comes_again(site):
    assert pings(site)
    info = site.switches[0].client.call("SwitchService.GetInfo")
    os.kill(info.pid, signal.SIGKILL)
    wait_for("another datapath", lambda: site.switches[0].client.call("SwitchService.GetInfo").pid not in (0, info.pid))
    if site.attach is vhost_user_packed_rings:
        bind_anew(site)
    wait_for("the guest", lambda: pings(site))
