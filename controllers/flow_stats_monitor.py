"""Prints the busiest rules and ports of every switch, on Ryu's API (OpenFlow 1.3).

It only looks: run it beside an app that forwards (`vswitch-controller learning_switch flow_stats_monitor`). The seconds
between two readings are in FLOW_STATS_INTERVAL (10 when it isn't set), how many rules it prints in FLOW_STATS_TOP (10).
"""
import os

from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3


class FlowStatsMonitor(app_manager.RyuApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.interval = float(os.environ.get("FLOW_STATS_INTERVAL", "10"))
        self.top = int(os.environ.get("FLOW_STATS_TOP", "10"))
        self.datapaths = {}
        self.readings = {}      # (datapath id, what) -> (seconds, packets, bytes) of the last reading
        self.parts = {}         # (datapath id, xid) -> entries of a reply in several messages
        self.thread = hub.spawn(self.ask_for_ever)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def state_change(self, event):
        datapath = event.datapath
        if event.state == MAIN_DISPATCHER:
            self.datapaths[datapath.id] = datapath
        elif self.datapaths.get(datapath.id) is datapath:
            del self.datapaths[datapath.id]
            self.readings = {key: reading for key, reading in self.readings.items() if key[0] != datapath.id}

    def ask_for_ever(self):
        while True:
            for datapath in list(self.datapaths.values()):
                parser = datapath.ofproto_parser
                datapath.send_msg(parser.OFPFlowStatsRequest(datapath))
                datapath.send_msg(parser.OFPPortStatsRequest(datapath, 0, datapath.ofproto.OFPP_ANY))
            hub.sleep(self.interval)

    def whole(self, message):
        """All entries of a reply once its last part is here, else None."""
        datapath = message.datapath
        entries = self.parts.setdefault((datapath.id, message.xid), [])
        entries += message.body
        if message.flags & datapath.ofproto.OFPMPF_REPLY_MORE:
            return None
        return self.parts.pop((datapath.id, message.xid))

    def rate(self, datapath, what, seconds, packets, octets):
        """Packets and bytes a second since the last reading; (0, 0) for the first."""
        last = self.readings.get((datapath.id, what))
        self.readings[datapath.id, what] = seconds, packets, octets
        if last is None or seconds <= last[0]:
            return 0.0, 0.0
        elapsed = seconds - last[0]
        return (packets - last[1]) / elapsed, (octets - last[2]) / elapsed

    @set_ev_cls(ofp_event.EventOFPFlowStatsReply, MAIN_DISPATCHER)
    def flow_stats(self, event):
        entries = self.whole(event.msg)
        if entries is None:
            return
        datapath = event.msg.datapath
        lines = []
        for entry in entries:
            match = sorted(entry.match.items(), key=str)
            what = (entry.table_id, entry.priority, str(match))
            seconds = entry.duration_sec + entry.duration_nsec / 1e9
            rate = self.rate(datapath, what, seconds, entry.packet_count, entry.byte_count)
            fields = ",".join(f"{name}={value}" for name, value in match) or "any"
            lines.append((rate[1], f"table={entry.table_id} priority={entry.priority} {fields}: {rate[0]:.0f} packets/s "
                                   f"{rate[1]:.0f} bytes/s ({entry.packet_count} packets)"))
        self.logger.info("switch %016x: %d rules", datapath.id, len(entries))
        for _, line in sorted(lines, reverse=True)[:self.top]:
            self.logger.info("  %s", line)

    @set_ev_cls(ofp_event.EventOFPPortStatsReply, MAIN_DISPATCHER)
    def port_stats(self, event):
        entries = self.whole(event.msg)
        if entries is None:
            return
        datapath = event.msg.datapath
        for entry in sorted(entries, key=lambda item: item.port_no):
            seconds = entry.duration_sec + entry.duration_nsec / 1e9
            received = self.rate(datapath, ("rx", entry.port_no), seconds, entry.rx_packets, entry.rx_bytes)
            sent = self.rate(datapath, ("tx", entry.port_no), seconds, entry.tx_packets, entry.tx_bytes)
            self.logger.info("  port %d: in %.0f packets/s %.0f bytes/s, out %.0f packets/s %.0f bytes/s, drops %d",
                             entry.port_no, *received, *sent, entry.rx_dropped + entry.tx_dropped)
