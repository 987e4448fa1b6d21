"""The Ryu certification suite's action and match cases of OpenFlow 1.3 against the datapath in process.

The sixteen cases that set an SCTP port expect a checksum that is not CRC32c (RFC 9260, appendix A): they can't pass.
"""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "sim"))
from certification import RECV, SEND_1, SEND_2, cases  # noqa: E402
from simulation import Sim  # noqa: E402

OFPT_FLOW_MOD = 14
CASES = [*cases("action"), *cases("match")]
FILES = sorted({case.file for case in CASES})
NOT_CRC32C = {f"action/25_SET_FIELD/{name}.json" for name in
              ("17_SCTP_SRC_IPv4", "17_SCTP_SRC_IPv6", "18_SCTP_DST_IPv4", "18_SCTP_DST_IPv6")}


def outcome(case) -> str:
    """"" where all came out as the case says, else what did not."""
    with Sim() as sim:
        sim.tenant()
        sim.bridge(miss_send_len=128)
        for port in (RECV, SEND_1, SEND_2):
            sim.port(port_no=port)
        for message in case.messages:
            assert message[1] == OFPT_FLOW_MOD
            sim.flow_mod(message[8:])
        for step in case.packets:
            sim.inject(RECV, step["in"])
            sent, packet_ins = sim.collect(SEND_1), [body for _, body in sim.packet_ins()]
            if "out" in step and sent != [step["out"]]:
                return f"sent {[frame.hex() for frame in sent]}, not {step['out'].hex()}"
            if "packet_in" in step and [body.endswith(step["packet_in"]) for body in packet_ins] != [True]:
                return f"to the controller {[body.hex() for body in packet_ins]}, not {step['packet_in'].hex()}"
            if "table_miss" in step and (sent or packet_ins):
                return "was not a table miss"
    return ""


@pytest.mark.parametrize("file", FILES)
def test_file(file):
    failed = {case.description: why for case in CASES if case.file == file and (why := outcome(case))}
    if file in NOT_CRC32C:
        assert len(failed) == 4
        assert all(why.startswith("sent") for why in failed.values())
    else:
        assert not failed, "\n".join(f"{description}: {why}" for description, why in failed.items())


def test_all_cases_are_there():
    assert (len([c for c in CASES if c.file.startswith("action")]), len([c for c in CASES if c.file.startswith("match")])) == (226, 714)
