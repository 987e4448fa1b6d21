"""A learning switch on Ryu's API (OpenFlow 1.3).

It forgets what it learned on a port that goes down, so that a container that moves is found again, and it keeps VLANs apart.
"""
from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib.packet import ether_types, ethernet, packet, vlan
from ryu.ofproto import ofproto_v1_3

IDLE_TIMEOUT = 60       # seconds: a pair that is silent for so long is learned again
PRIORITY = 10


class LearningSwitch(app_manager.RyuApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.places = {}        # datapath id -> {(vlan, mac): port}

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def connected(self, event):
        datapath = event.msg.datapath
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        self.places[datapath.id] = {}
        to_controller = parser.OFPActionOutput(ofproto.OFPP_CONTROLLER, ofproto.OFPCML_NO_BUFFER)
        self.add_rule(datapath, 0, parser.OFPMatch(), [to_controller])
        self.logger.info("switch %016x is here", datapath.id)

    def add_rule(self, datapath, priority, match, actions, idle_timeout=0):
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        instructions = [parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions)]
        datapath.send_msg(parser.OFPFlowMod(datapath=datapath, priority=priority, match=match, instructions=instructions,
                                            idle_timeout=idle_timeout))

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def packet_in(self, event):
        message = event.msg
        datapath = message.datapath
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        in_port = message.match["in_port"]
        frame = packet.Packet(message.data)
        addresses = frame.get_protocol(ethernet.ethernet)
        if addresses is None or addresses.ethertype == ether_types.ETH_TYPE_LLDP:
            return
        tag = frame.get_protocol(vlan.vlan)
        vid = tag.vid if tag else 0
        places = self.places.setdefault(datapath.id, {})
        places[vid, addresses.src] = in_port

        out_port = places.get((vid, addresses.dst), ofproto.OFPP_FLOOD)
        actions = [parser.OFPActionOutput(out_port)]
        if out_port != ofproto.OFPP_FLOOD:
            tagged = ofproto.OFPVID_PRESENT | vid if tag else ofproto.OFPVID_NONE
            match = parser.OFPMatch(in_port=in_port, eth_src=addresses.src, eth_dst=addresses.dst, vlan_vid=tagged)
            self.add_rule(datapath, PRIORITY, match, actions, IDLE_TIMEOUT)
        data = message.data if message.buffer_id == ofproto.OFP_NO_BUFFER else None
        datapath.send_msg(parser.OFPPacketOut(datapath=datapath, buffer_id=message.buffer_id, in_port=in_port, actions=actions,
                                              data=data))

    @set_ev_cls(ofp_event.EventOFPPortStatus, MAIN_DISPATCHER)
    def port_status(self, event):
        message = event.msg
        datapath = message.datapath
        ofproto, parser = datapath.ofproto, datapath.ofproto_parser
        down = message.desc.state & ofproto.OFPPS_LINK_DOWN or message.desc.config & ofproto.OFPPC_PORT_DOWN
        if message.reason != ofproto.OFPPR_DELETE and not down:
            return
        port = message.desc.port_no
        places = self.places.get(datapath.id, {})
        self.places[datapath.id] = {key: place for key, place in places.items() if place != port}
        for match, out_port in ((parser.OFPMatch(), port), (parser.OFPMatch(in_port=port), ofproto.OFPP_ANY)):
            datapath.send_msg(parser.OFPFlowMod(
                datapath=datapath, command=ofproto.OFPFC_DELETE, table_id=ofproto.OFPTT_ALL, priority=PRIORITY, match=match,
                out_port=out_port, out_group=ofproto.OFPG_ANY, instructions=[]))
