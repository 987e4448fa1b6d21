"""A real switch to put cases to: vswitchd and its datapath in a namespace, three taps with raw sockets at their other ends, and
a controller that it connects to."""
from __future__ import annotations

import select
import socket
import struct
import time
from pathlib import Path

from hosts import Lab, Namespace, Switch, wait_for
from os_ken.ofproto import ofproto_parser, ofproto_protocol

CONFIG = """
tenants:
  red:
    bridges:
      br:
        fail_mode: secure
        controllers: ["tcp:127.0.0.1:6653"]
        ports:
          c1: {{kind: tap, port_no: 1}}
          c2: {{kind: tap, port_no: 2}}
          c3: {{kind: tap, port_no: 3}}
"""
SOL_PACKET, PACKET_AUXDATA = 263, 8
VLAN_VALID, VLAN_TPID_VALID = 1 << 4, 1 << 6
OUTGOING = 4
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY = range(4)


class Port:
    """The other end of a tap: what is sent here arrives at the switch. VLAN tags that the kernel took off are put back."""

    def __init__(self, device: str):
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind((device, 0))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    def receive(self) -> list[bytes]:
        frames = []
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(65536, 128)
            except BlockingIOError:
                return frames
            if address[2] == OUTGOING:
                continue
            for level, kind, value in ancillary:
                if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                    status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", value)
                    if status & VLAN_VALID:
                        ethertype = tpid if status & VLAN_TPID_VALID else 0x8100
                        data = data[:12] + struct.pack("!HH", ethertype, tci) + data[12:]
            frames.append(data)


class Controller:
    """The switch's one connection. Messages are os-ken's."""

    def __init__(self, version: int, connection: socket.socket):
        self.datapath = ofproto_protocol.ProtocolDesc(version)
        self.datapath.set_xid = self._set_xid
        self.ofp, self.parser = self.datapath.ofproto, self.datapath.ofproto_parser
        self._version = version
        self._socket = connection
        self._xid = 0
        self._buffer = b""
        self.received: list = []
        self.errors: list = []
        self._socket.sendall(struct.pack("!BBHI", version, HELLO, 8, 0))
        while not self._take(timeout=10):
            pass

    def _set_xid(self, message) -> None:
        self._xid += 1
        message.set_xid(self._xid)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message) -> int:
        message.datapath = self.datapath
        message.xid = None
        message.buf = None
        self._set_xid(message)
        message.serialize()
        self._socket.sendall(bytes(message.buf))
        return message.xid

    def _take(self, timeout: float) -> bool:
        """Reads what is there. Whether something was."""
        if not select.select([self._socket], [], [], timeout)[0]:
            return False
        data = self._socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the switch closed the connection")
        self._buffer += data
        while len(self._buffer) >= 8:
            version, kind, length, xid = struct.unpack_from("!BBHI", self._buffer)
            if len(self._buffer) < length:
                break
            raw, self._buffer = self._buffer[:length], self._buffer[length:]
            if kind == ECHO_REQUEST:
                self._socket.sendall(struct.pack("!BBHI", version, ECHO_REPLY, length, xid) + raw[8:])
            elif kind == ERROR:
                self.errors.append((xid, *struct.unpack_from("!HH", raw, 8)))
            elif kind != HELLO:
                self.received.append(ofproto_parser.msg(self.datapath, version, kind, length, xid, raw))
        return True

    def poll(self) -> None:
        while self._take(0):
            pass

    def ask(self, message, timeout: float = 10) -> list:
        """The answers to a request, all parts of them."""
        xid, found, deadline = self.send(message), [], time.monotonic() + timeout
        while time.monotonic() < deadline:
            for answer in [m for m in self.received if m.xid == xid]:
                self.received.remove(answer)
                found.append(answer)
                if not getattr(answer, "flags", 0) & 1 or not hasattr(answer, "body"):
                    return found
            if any(e[0] == xid for e in self.errors):
                return found
            self._take(0.1)
        raise TimeoutError(f"no answer to {type(message).__name__}")

    def barrier(self) -> None:
        self.ask(self.parser.OFPBarrierRequest(self.datapath))

    def packet_ins(self) -> list:
        found = [m for m in self.received if type(m).__name__ == "OFPPacketIn"]
        self.received.clear()
        return found

    def clear(self) -> None:
        """No rules, groups, meters."""
        p, ofp, d = self.parser, self.ofp, self.datapath
        if self._version == 1:
            self.send(p.OFPFlowMod(d, match=p.OFPMatch(), cookie=0, command=ofp.OFPFC_DELETE))
        else:
            self.send(p.OFPFlowMod(d, table_id=ofp.OFPTT_ALL, command=ofp.OFPFC_DELETE, out_port=ofp.OFPP_ANY,
                                   out_group=ofp.OFPG_ANY, match=p.OFPMatch()))
            self.send(p.OFPMeterMod(d, command=ofp.OFPMC_DELETE, flags=0, meter_id=ofp.OFPM_ALL))
            self.send(p.OFPGroupMod(d, command=ofp.OFPGC_DELETE, type_=0, group_id=ofp.OFPG_ALL))
        self.barrier()
        self.received.clear()
        self.errors.clear()


class LiveSwitch:
    """Runs in the namespace that it names: ports' sockets and the listening one are of the calling process."""

    def __init__(self, lab: Lab, host: Namespace, version: str, number: int):
        config = lab.directory / f"{version}.yaml"
        config.write_text(CONFIG.format(version=version))
        with socket.create_server(("127.0.0.1", 6653)) as listener:
            self.switch = Switch(host, f"switch-{version}")
            self.switch.apply(config)
            listener.settimeout(20)
            connection, _ = listener.accept()
        self.controller = Controller(number, connection)
        self._connection = connection
        for device in ("c1", "c2", "c3"):
            wait_for(device, lambda device=device: Path(f"/sys/class/net/{device}").exists())
            Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6").write_text("1")
            host.ip("link", "set", device, "up")
        self.ports = {i: Port(f"c{i}") for i in (1, 2, 3)}
        time.sleep(0.3)
        self.drain()

    def drain(self) -> None:
        for port in self.ports.values():
            port.receive()

    def close(self) -> None:
        self._connection.close()
        self.switch.process.terminate()
        self.switch.process.wait(10)
