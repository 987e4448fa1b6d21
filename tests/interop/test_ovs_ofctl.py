"""Debian's ovs-ofctl against a bridge: what it says in each version comes back as it was said."""
import shutil
import subprocess

import pytest

from test_controllers_drive_switch import Site

pytestmark = pytest.mark.skipif(not shutil.which("ovs-ofctl"), reason="needs ovs-ofctl (openvswitch-common)")

VERSIONS = ["OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15"]
RULES = """\
priority=1,actions=drop
priority=2,in_port=1,actions=output:2
priority=3,dl_src=02:00:00:00:00:01,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=NORMAL
priority=4,dl_vlan=5,dl_vlan_pcp=3,actions=STRIP,output:3
priority=5,ip,nw_src=10.0.0.0/8,nw_dst=192.168.0.1,nw_tos=32,actions=dec_ttl,output:IN_PORT
priority=6,tcp,tp_src=80,tp_dst=443,actions=FLOOD
priority=7,udp6,tp_dst=53,actions=ALL
priority=8,icmp,icmp_type=8,icmp_code=0,actions=LOCAL
priority=9,arp,arp_spa=10.0.0.1,arp_tpa=10.0.0.2,arp_op=1,actions=CONTROLLER:128
priority=10,idle_timeout=100,hard_timeout=1000,cookie=0xabc,send_flow_rem,actions=SET_SOURCE,output:2
"""
# ovs-ofctl takes an old and a new name of one action for different when it compares, with Open vSwitch as the switch too.
OLD = {"STRIP": "strip_vlan", "SET_SOURCE": "mod_dl_src:02:00:00:00:00:09"}
NEW = {"STRIP": "pop_vlan", "SET_SOURCE": "set_field:02:00:00:00:00:09->eth_src"}
NAMED_OTHERWISE = {("priority=21", "OpenFlow15"), ("priority=23", "OpenFlow13"), ("priority=23", "OpenFlow15"),
                   ("priority=34", "OpenFlow13"), ("priority=34", "OpenFlow15")}
# Actions that ovs-ofctl itself has for 1.0 alone.
ONLY_1_0 = {"priority=32"}
NICIRA = """\
priority=20,reg0=5,reg1=0x10/0xf0,actions=resubmit(,3)
priority=21,tcp,tcp_flags=+syn-ack,actions=load:0x7->NXM_NX_REG2[0..15],resubmit(2,4)
priority=22,metadata=0x5/0xff,actions=move:NXM_NX_REG0[0..7]->NXM_NX_REG1[8..15],output:NXM_NX_REG3[]
priority=23,tun_id=0x99,actions=set_tunnel64:0x123456789,output:1
priority=24,ip,actions=learn(table=5,idle_timeout=10,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15]),note:01.02.03.04.05.06
priority=25,conj_id=7,actions=output:2
priority=26,tcp,tp_dst=80,actions=conjunction(7,1/2)
priority=27,actions=multipath(symmetric_l4,50,modulo_n,4,0,NXM_NX_REG0[0..7])
priority=28,actions=bundle(eth_src,50,hrw,ofport,members:1,2,3)
priority=29,actions=controller(max_len=64,reason=action,id=3)
priority=30,actions=controller(userdata=01.02.03,max_len=128)
priority=31,actions=push:NXM_NX_REG0[],pop:NXM_NX_REG1[],exit
priority=32,ip,actions=fin_timeout(idle_timeout=5),dec_ttl,output(port=2,max_len=100)
priority=33,actions=clone(output:1),output:2
priority=34,ip,nw_ttl=5,ip_frag=no,actions=enqueue:1:2
priority=35,ipv6,ipv6_src=2001:db8::/32,ipv6_label=0x5,actions=output:1
priority=36,mpls,mpls_label=5,mpls_tc=1,mpls_bos=1,actions=pop_mpls:0x0800,output:1
priority=37,nd_target=2001:db8::1,icmp6,icmpv6_type=135,nd_sll=02:00:00:00:00:01,actions=output:1
priority=38,actions=learn(table=5,limit=3,result_dst=NXM_NX_REG0[4],cookie=0x7,fin_idle_timeout=3,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]),output:1
"""
EXPECT_REFUSED = ["priority=5,ip,actions=ct(commit)", "priority=5,ip,actions=group:9", "table=254,actions=drop"]


@pytest.fixture
def bridge(tmp_path):
    site = Site(tmp_path, (), command=lambda port: ["sleep", "1000"])
    target = f"unix:{tmp_path}/run/br.mgmt"
    site.until((tmp_path / "run" / "br.mgmt").exists)
    yield target
    site.stop()


def ofctl(*words, check=True):
    done = subprocess.run(["ovs-ofctl", *map(str, words)], capture_output=True, text=True, timeout=30)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def round_trip(bridge, path, *options):
    ofctl(*options, "replace-flows", bridge, path)
    difference = ofctl(*options, "diff-flows", bridge, path, check=False)
    assert (difference.returncode, difference.stdout) == (0, "")
    lines = len([line for line in path.read_text().splitlines() if line])
    aggregate = ofctl(*options, "dump-aggregate", bridge).stdout
    assert f"flow_count={lines}" in aggregate


def rules(version):
    """OpenFlow 1.0 and 1.1 have no masks of addresses but IPv4's, 1.1 has no IPv6."""
    text = RULES
    names = OLD if version == "OpenFlow10" else NEW | {"SET_SOURCE": OLD["SET_SOURCE"]} if version == "OpenFlow11" else NEW
    for word, name in names.items():
        text = text.replace(word, name)
    if version <= "OpenFlow11":
        text = "".join(line for line in text.splitlines(True) if "priority=3," not in line and "udp6" not in line)
    return text


@pytest.mark.parametrize("version", VERSIONS)
def test_what_every_version_says_comes_back(bridge, tmp_path, version):
    path = tmp_path / "flows"
    path.write_text(rules(version))
    round_trip(bridge, path, "-O", version)


@pytest.mark.parametrize("version", ["OpenFlow10", "OpenFlow13", "OpenFlow15"])
@pytest.mark.parametrize("rule", NICIRA.splitlines(), ids=lambda rule: rule.partition(",")[0])
def test_what_open_vswitch_adds_comes_back(bridge, tmp_path, version, rule):
    name = rule.partition(",")[0]
    if (name, version) in NAMED_OTHERWISE or name in ONLY_1_0 and version != "OpenFlow10":
        return
    path = tmp_path / "flows"
    path.write_text(rule + "\n")
    round_trip(bridge, path, "-O", version)


def test_without_a_version_named(bridge, tmp_path):
    path = tmp_path / "flows"
    path.write_text(rules("OpenFlow10") + NICIRA)
    round_trip(bridge, path)


def test_a_bundle_is_all_or_nothing(bridge, tmp_path):
    path = tmp_path / "flows"
    path.write_text(rules("OpenFlow14"))
    ofctl("-O", "OpenFlow14", "--bundle", "add-flows", bridge, path)
    assert "flow_count=10" in ofctl("-O", "OpenFlow14", "dump-aggregate", bridge).stdout
    path.write_text("priority=100,actions=output:1\npriority=101,ip,actions=group:9\n")
    assert ofctl("-O", "OpenFlow14", "--bundle", "add-flows", bridge, path, check=False).returncode
    assert "flow_count=10" in ofctl("-O", "OpenFlow14", "dump-aggregate", bridge).stdout


@pytest.mark.parametrize("version", ["OpenFlow13", "OpenFlow14", "OpenFlow15"])
def test_groups_and_meters(bridge, version):
    o = ("-O", version)
    ofctl(*o, "add-group", bridge, "group_id=1,type=select,bucket=weight:2,actions=output:1,bucket=weight:3,actions=output:2")
    ofctl(*o, "add-group", bridge, "group_id=2,type=ff,bucket=watch_port:1,actions=output:1,bucket=watch_port:2,actions=output:2")
    ofctl(*o, "mod-group", bridge, "group_id=2,type=all,bucket=actions=output:1,bucket=actions=output:2,bucket=actions=output:3")
    groups = ofctl(*o, "dump-groups", bridge).stdout
    assert "weight:2" in groups and groups.count("output:3") == 1
    assert "packet_count=0" in ofctl(*o, "dump-group-stats", bridge).stdout
    ofctl(*o, "dump-group-features", bridge)
    ofctl(*o, "add-meter", bridge, "meter=1,kbps,burst,stats,band=type=drop,rate=1000,burst_size=50")
    ofctl(*o, "mod-meter", bridge, "meter=1,pktps,band=type=drop,rate=7")
    assert "pktps" in ofctl(*o, "dump-meters", bridge).stdout and "rate=7" in ofctl(*o, "dump-meters", bridge).stdout
    ofctl(*o, "meter-stats", bridge)
    if version != "OpenFlow15":     # whose reply ovs-ofctl 3.1 wants without the features of 1.5.1, 7.3.5.15
        ofctl(*o, "meter-features", bridge)
    ofctl(*o, "add-flow", bridge, "ip,actions=meter:1,group:1")
    ofctl(*o, "del-groups", bridge, "group_id=1")
    assert "flow_count=0" in ofctl(*o, "dump-aggregate", bridge).stdout
    ofctl(*o, "del-groups", bridge)
    ofctl(*o, "del-meters", bridge)


def test_buckets_of_1_5(bridge):
    o = ("-O", "OpenFlow15")
    ofctl(*o, "add-group", bridge, "group_id=1,type=all,bucket=bucket_id:1,actions=output:1,bucket=bucket_id:2,actions=output:2")
    ofctl(*o, "insert-buckets", bridge, "group_id=1,command_bucket_id=first,bucket=bucket_id:9,actions=output:3")
    ofctl(*o, "remove-buckets", bridge, "group_id=1,command_bucket_id=2")
    listed = ofctl(*o, "dump-groups", bridge).stdout
    assert listed.index("bucket_id:9") < listed.index("bucket_id:1,") and "bucket_id:2" not in listed


@pytest.mark.parametrize("version", VERSIONS)
def test_looking(bridge, version):
    for command in ("show", "dump-desc", "dump-tables", "dump-ports", "get-frags", "dump-flows"):
        ofctl("-O", version, command, bridge)
    if version >= "OpenFlow13":
        ofctl("-O", version, "dump-table-features", bridge)
    if version >= "OpenFlow14":
        ofctl("-O", version, "dump-table-desc", bridge)


@pytest.mark.parametrize("rule", EXPECT_REFUSED)
def test_what_there_is_not_is_refused(bridge, rule):
    done = ofctl("-O", "OpenFlow13", "add-flow", bridge, rule, check=False)
    assert done.returncode and "OFP" in done.stderr + done.stdout
    assert "flow_count=0" in ofctl("-O", "OpenFlow13", "dump-aggregate", bridge).stdout
