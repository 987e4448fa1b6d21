"""The datapath in process, on a virtual clock that stands still (datapath_c/test/sim.h)."""
from __future__ import annotations

import struct

from vswitch._datapath import ffi, lib

NO_BUFFER = 0xffffffff
ANY = 0xffffffff
ADD, MODIFY, MODIFY_STRICT, DELETE, DELETE_STRICT = range(5)


class Refused(Exception):
    def __init__(self, error):
        self.of_type, self.of_code = error.of_type, error.of_code
        self.field, self.reason = ffi.string(error.field).decode(), ffi.string(error.reason).decode()
        super().__init__(f"{self.field}: {self.reason} ({self.of_type}/{self.of_code})")


def flow_mod(match: bytes, instructions: bytes = b"", *, command=ADD, table=0, priority=0, cookie=0, cookie_mask=0, idle=0,
             hard=0, flags=0, buffer_id=NO_BUFFER, out_port=ANY, out_group=ANY) -> bytes:
    return struct.pack("!QQBBHHHIIIHxx", cookie, cookie_mask, table, command, idle, hard, priority, buffer_id, out_port,
                       out_group, flags) + match + instructions


class Sim:
    """One at a time in a process; use as a context manager."""

    def __init__(self, workers: int = 1, caches: bool = True):
        self._sim = lib.sim_new(workers)
        self._error = ffi.new("struct dp_error *")
        self._buffer = ffi.new("uint8_t[]", 1 << 20)
        lib.sim_use_caches(self._sim, caches)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        lib.sim_free(self._sim)

    def _check(self, result: int) -> int:
        if result < 0:
            raise Refused(self._error)
        return result

    def tenant(self, id: int = 1, **fields) -> None:
        value = ffi.new("struct dp_tenant *", {"id": id, "weight": 100, "name": b"t%d" % id} | fields)
        self._check(lib.sim_set_tenant(self._sim, value, self._error))

    def bridge(self, id: int = 1, tenant: int = 1, **fields) -> None:
        value = ffi.new("struct dp_bridge *", {"id": id, "tenant": tenant, "dpid": id, "name": b"br%d" % id} | fields)
        self._check(lib.sim_set_bridge(self._sim, value, self._error))

    def port(self, bridge: int = 1, port_no: int = 0, kind: int = lib.DP_PORT_DUMMY, **fields) -> int:
        value = ffi.new("struct dp_port *", {"bridge": bridge, "port_no": port_no, "kind": kind} | fields)
        self._check(lib.sim_add_port(self._sim, value, self._error))
        return value.port_no

    def remove_port(self, bridge: int, port_no: int) -> None:
        self._check(lib.sim_remove_port(self._sim, bridge, port_no, self._error))

    def modify_port(self, bridge: int, port_no: int, config: int, mask: int) -> None:
        value = ffi.new("struct dp_port_mod *", {"port_no": port_no, "config": config, "mask": mask})
        self._check(lib.sim_modify_port(self._sim, bridge, value, self._error))

    def queues(self, port_no: int, *queues: tuple[int, int, int], max_kbps: int = 0, bridge: int = 1) -> None:
        """(id, min, max) in kbit/s"""
        head = ffi.new("struct dp_queues *", {"port_no": port_no, "n": len(queues), "max_kbps": max_kbps})
        array = ffi.new("struct dp_queue[]", [{"queue_id": i, "min_kbps": least, "max_kbps": most} for i, least, most in queues])
        self._check(lib.sim_set_queues(self._sim, bridge, head, array, self._error))

    def queue_stats(self, port_no: int, bridge: int = 1) -> dict[int, tuple[int, int, int]]:
        """By id: packets, bytes, dropped"""
        head, array = ffi.new("struct dp_queues *"), ffi.new("struct dp_queue[]", lib.DP_MAX_QUEUES)
        assert lib.sim_queues(self._sim, bridge, port_no, head, array) == 0
        return {array[i].queue_id: (array[i].tx_packets, array[i].tx_bytes, array[i].tx_errors) for i in range(head.n)}

    def flow_mod(self, body: bytes, bridge: int = 1) -> None:
        self._check(lib.sim_flow_mod(self._sim, bridge, body, len(body), self._error))

    def group_mod(self, body: bytes, bridge: int = 1) -> None:
        """OpenFlow 1.5's."""
        self._check(lib.sim_group_mod(self._sim, bridge, body, len(body), self._error))

    def meter_mod(self, body: bytes, bridge: int = 1) -> None:
        self._check(lib.sim_meter_mod(self._sim, bridge, body, len(body), self._error))

    def tell(self, what: int, number: int, bridge: int = 1) -> bytes:
        """The entry that DP_GROUP_DESC, DP_GROUP_STATS, DP_METER_CONFIG or DP_METER_STATS gives; b"" where there is none."""
        n = self._check(lib.sim_tell(self._sim, bridge, what, number, self._buffer, len(self._buffer), self._error))
        return bytes(self._buffer[0:n])

    def bundle(self, step: int, bridge: int = 1) -> None:
        """0 opens, 1 commits, 2 discards."""
        self._check(lib.sim_bundle(self._sim, bridge, step, self._error))

    def packet_out(self, frame: bytes, actions: bytes, in_port: int = 0xfffffffd, bridge: int = 1,
                   buffer_id: int = NO_BUFFER) -> None:
        body = struct.pack("!IIH6x", buffer_id, in_port, len(actions)) + actions + frame
        self._check(lib.sim_packet_out(self._sim, bridge, body, len(body), self._error))
        lib.sim_run(self._sim)

    def inject(self, port_no: int, frame: bytes, bridge: int = 1, run: bool = True) -> None:
        """`run`: until nothing is on its way any more."""
        self._check(lib.sim_inject(self._sim, bridge, port_no, frame, len(frame), self._error))
        if run:
            lib.sim_run(self._sim)

    def collect(self, port_no: int, bridge: int = 1) -> list[bytes]:
        frames = []
        while n := self._check(lib.sim_collect(self._sim, bridge, port_no, self._buffer, len(self._buffer))):
            frames.append(bytes(self._buffer[0:n]))
        return frames

    def _notes(self, take) -> list[tuple[int, bytes]]:
        notes, bridge = [], ffi.new("uint32_t *")
        while n := self._check(take(self._sim, bridge, self._buffer, len(self._buffer))):
            notes.append((bridge[0], bytes(self._buffer[0:n])))
        return notes

    def packet_ins(self) -> list[tuple[int, bytes]]:
        return self._notes(lib.sim_packet_in)

    def flows_removed(self) -> list[tuple[int, bytes]]:
        return self._notes(lib.sim_flow_removed)

    def flow_stats(self, request: bytes = b"", bridge: int = 1) -> list[bytes]:
        n = self._check(lib.sim_flow_stats(self._sim, bridge, request, len(request), self._buffer, len(self._buffer),
                                           self._error))
        data, entries = bytes(self._buffer[0:n]), []
        while data:
            (length,) = struct.unpack_from("!H", data)
            entries.append(data[:length])
            data = data[length:]
        return entries

    def counters(self, bridge: int = 1) -> dict[int, tuple[int, int]]:
        """cookie -> packets, bytes"""
        return {cookie: (packets, octets) for cookie, packets, octets in
                (struct.unpack_from("!QQQ", entry, 24) for entry in self.flow_stats(bridge=bridge))}

    def warp(self, milliseconds: int) -> None:
        lib.sim_warp(self._sim, milliseconds)

    def drops(self, tenant: int = 1) -> dict[str, int]:
        row, accounts = ffi.new("struct dp_shm_worker *"), ffi.new("struct dp_shm_account[]", tenant + 1)
        lib.dp_shm_read_accounts(lib.sim_shm(self._sim), 0, row, accounts, tenant + 1)
        names, i = {}, 0
        while (name := lib.dp_drop_name(i)) != ffi.NULL:
            if accounts[tenant].drops[i]:
                names[ffi.string(name).decode()] = accounts[tenant].drops[i]
            i += 1
        return names

    def cache(self, tenant: int = 1):
        value = ffi.new("struct dp_cache *")
        self._check(lib.sim_cache(self._sim, tenant, value))
        return value
