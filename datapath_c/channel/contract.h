/* The datapath channel: everything that the control plane may know of the datapath.
 *
 * Transport: one Unix SEQPACKET socket. Every message is one `struct dp_msg` followed by `len` bytes of body, at most
 * DP_MSG_MAX bytes in all. Integers are host-endian; bodies that are OpenFlow (marked OF) are OpenFlow 1.3 encodings in
 * network order, without the 8-byte ofp_header.
 *
 * A request carries an xid that its replies repeat. Every request but those with DP_F_QUIET gets one last reply of the same type
 * with DP_F_REPLY; a dump sends any number of replies with DP_F_MORE before it. A failed request is answered by type DP_ERROR with
 * a `struct dp_error`, and has changed nothing. Requests of one connection are carried out in order.
 *
 * Events (DP_EV_*) have xid 0 and go to the newest connection that said HELLO with DP_ROLE_CONTROL. An event that this
 * connection does not read in time is dropped when its bridge has DP_EVENT_BACKLOG of them waiting, and counted.
 *
 * This header is parsed by cffi as well: only enums, integer defines and plain structs of fixed-width members, laid out
 * without implicit padding. */
#ifndef VSWITCH_CONTRACT_H
#define VSWITCH_CONTRACT_H
#include <stdint.h>
/* cffi: begin */

#define DP_CONTRACT_VERSION 3
#define DP_MSG_MAX 65536
#define DP_NAME_MAX 64
#define DP_EVENT_BACKLOG 512
#define DP_MAX_WORKERS 64
#define DP_MAX_TENANTS 4096
#define DP_MAX_BRIDGES 16384
#define DP_MAX_PORTS 16384
#define DP_MAX_REMOTES 1024
#define DP_MAX_QUEUES 256

enum dp_type {
    DP_ERROR = 0,
    DP_HELLO = 1,          /* dp_hello -> dp_hello_reply; the reply carries the counters' memfd (SCM_RIGHTS) */
    DP_TENANT_SET = 2,     /* dp_tenant: creates or changes */
    DP_TENANT_DEL = 3,     /* object = tenant id; EBUSY while it owns a bridge */
    DP_TENANT_LIST = 4,    /* -> dp_tenant[] over replies */
    DP_BRIDGE_SET = 5,     /* dp_bridge: creates or changes (the tenant of a bridge can't change) */
    DP_BRIDGE_DEL = 6,     /* object = bridge id; takes its ports and rules with it */
    DP_BRIDGE_LIST = 7,    /* -> dp_bridge[] */
    DP_PORT_ADD = 8,       /* dp_port -> dp_port as created (port_no, mac, slot filled in) */
    DP_PORT_DEL = 9,       /* object = bridge, dp_port_ref */
    DP_PORT_MOD = 10,      /* object = bridge, dp_port_mod */
    DP_PORT_LIST = 11,     /* object = bridge or 0 for all -> dp_port[] */
    DP_VTEP_SET = 12,      /* dp_vtep: (re)opens the host's tunnel end point */
    DP_VTEP_GET = 13,      /* -> dp_vtep */
    DP_REMOTES_SET = 14,   /* object = bridge, dp_remotes + addresses: replaces a vxlan port's flood list */
    DP_REMOTES_GET = 15,   /* object = bridge, dp_port_ref -> dp_remotes + addresses */
    DP_FLOW_MOD = 16,      /* object = bridge; dp_batch of OF flow_mod bodies -> dp_batch_reply */
    DP_FLOW_DUMP = 17,     /* object = bridge; OF flow_stats_request -> OF flow_stats[] over replies */
    DP_FLOW_AGGREGATE = 18,/* object = bridge; OF aggregate_stats_request -> OF aggregate_stats_reply */
    DP_TABLE_STATS = 19,   /* object = bridge -> OF table_stats[] of the tables in use and of table 0 */
    DP_PORT_STATS = 20,    /* object = bridge; dp_port_ref (OFPP_ANY = all) -> OF port_stats[] */
    DP_PACKET_OUT = 21,    /* object = bridge; OF packet_out (buffer_id or data) */
    DP_BARRIER = 22,       /* object = bridge; replied when all before it is in force on every worker */
    DP_MAC_LIST = 23,      /* object = bridge -> dp_mac[] */
    DP_MAC_FLUSH = 24,     /* object = bridge */
    DP_TRACE = 25,         /* object = bridge; dp_trace + frame -> text: what would happen to it, and why */
    DP_INJECT = 26,        /* object = bridge; dp_port_ref + frame: arrives at a dummy port */
    DP_COLLECT = 27,       /* object = bridge; dp_port_ref -> dp_batch of the frames a dummy port has sent (and forgets) */
    DP_CACHE_STATS = 28,   /* -> dp_cache[] , one per tenant with a cache */
    DP_SHUTDOWN = 29,      /* end the datapath in order: taps go away */
    DP_GROUP_MOD = 30,     /* object = bridge; OF 1.5 group_mod */
    DP_GROUP_DESC = 31,    /* object = bridge; dp_number: group or OFPG_ALL -> OF 1.5 group_desc[] over replies */
    DP_GROUP_STATS = 32,   /* likewise -> OF 1.3 group_stats[] */
    DP_METER_MOD = 33,     /* object = bridge; OF 1.3 meter_mod */
    DP_METER_CONFIG = 34,  /* object = bridge; dp_number: meter or OFPM_ALL -> OF 1.3 meter_config[] */
    DP_METER_STATS = 35,   /* likewise -> OF 1.3 meter_stats[] */
    DP_TABLE_MOD = 38,     /* object = bridge; dp_table: how one table, or with table_id 0xff every, is configured */
    DP_TABLE_DESC = 39,    /* object = bridge -> dp_table[] of the tables that are configured or in use */
    DP_QUEUES_SET = 36,    /* object = bridge; dp_queues + dp_queue[n] by rising queue_id: replaces a port's queues and rate */
    DP_QUEUES_GET = 37,    /* object = bridge; dp_port_ref (OFPP_ANY = all) -> over replies, a port each: dp_queues + dp_queue[n] */
    DP_BUNDLE_OPEN = 40,   /* object = bridge: changes of its rules from here on are made for later */
    DP_BUNDLE_ADD = 41,    /* object = bridge; as DP_FLOW_MOD. The first error of a bundle is its end: what follows is ignored */
    DP_BUNDLE_COMMIT = 42, /* object = bridge: everything comes into force at one moment. ECANCELED where something was refused:
                            * then nothing has changed */
    DP_BUNDLE_DISCARD = 43,/* object = bridge: nothing has changed */
    DP_FLOW_WATCH = 44,    /* object = bridge; dp_flow_watch: whether DP_EV_FLOW_UPDATE is sent */
    DP_SCHEDULER_SET = 45, /* dp_scheduler: from now on */
    DP_SCHEDULER_GET = 46, /* -> dp_scheduler */
    DP_PORT_DETAIL = 47,   /* object = bridge; dp_port_ref -> text: what its driver knows of itself, lines of a name, a space, a text */
    DP_RULE_COSTS = 48,    /* object = bridge; dp_number: how many, at most 64 -> so many of dp_rule_cost + OF flow_stats entry,
                            * the rules that cost most time, dearest first, over replies */
    DP_BALANCE_SET = 49,   /* dp_balance: from now on */
    DP_BALANCE_GET = 50,   /* -> dp_balance */
    DP_EV_PACKET_IN = 64,  /* object = bridge; dp_packet_in, user's data, OF packet_in body (buffer_id, total_len, ..., data) */
    DP_EV_FLOW_REMOVED = 65, /* object = bridge; dp_flow_removed + OF flow_removed body; for every rule that times out,
                              * and for deletions of rules that asked for it */
    DP_EV_PORT_STATUS = 66,/* object = bridge; dp_port (reason in `reason`) */
    DP_EV_FLOW_UPDATE = 67,/* object = bridge; dp_flow_update + OF flow_stats entry: a rule came, went or changed. Precedes the
                            * reply to the request that did it */
    DP_EV_TABLE_STATUS = 68,/* object = bridge; dp_table, with the reason */
    DP_EV_FLOW_STATS = 69  /* object = bridge; OF flow_stats entry: thresholds of its rule's trigger were passed */
};

enum dp_table_config {     /* OpenFlow 1.4.1, 7.2.2: ofp_table_config */
    DP_TABLE_MISS_CONTINUE = 1,    /* a miss goes to the next table; OFPTC_TABLE_MISS_* of OpenFlow 1.1 and 1.2 */
    DP_TABLE_MISS_DROP = 2,
    DP_TABLE_EVICTION = 4,
    DP_TABLE_VACANCY = 8
};

enum dp_table_event {      /* OpenFlow 1.4.1, 7.4.5: ofp_table_reason */
    DP_TABLE_VACANCY_DOWN = 3,
    DP_TABLE_VACANCY_UP = 4
};

enum dp_update {           /* OpenFlow 1.4's ofp_flow_update_event */
    DP_UPDATE_ADDED = 1,
    DP_UPDATE_REMOVED = 2,
    DP_UPDATE_MODIFIED = 3
};

enum dp_flags {
    DP_F_REPLY = 1,
    DP_F_MORE = 2,
    DP_F_QUIET = 4,        /* of a DP_PACKET_OUT: it is answered only if it is refused */
    DP_F_BARRIER = 8       /* of a DP_FLOW_MOD: a barrier follows it. The last reply comes when that is passed; the dp_batch_reply is
                            * in it, or in one with DP_F_MORE before it where the barrier takes its time */
};

enum dp_role {
    DP_ROLE_OBSERVER = 0,
    DP_ROLE_CONTROL = 1
};

enum dp_port_kind {
    DP_PORT_TAP = 1,
    DP_PORT_NETDEV = 2,
    DP_PORT_VXLAN = 3,
    DP_PORT_PATCH = 4,
    DP_PORT_DUMMY = 5,
    DP_PORT_VHOST_USER = 6
};

enum dp_xdp_mode {         /* how a netdev port comes to AF_XDP; the names are Open vSwitch's. What can't be had ends at AF_PACKET */
    DP_XDP_OFF = 0,        /* AF_PACKET */
    DP_XDP_BEST_EFFORT = 1,/* the best that the driver can: zero-copy, native with copies, generic */
    DP_XDP_ZERO_COPY = 2,  /* native, zero-copy alone */
    DP_XDP_NATIVE = 3,     /* native, with copies */
    DP_XDP_GENERIC = 4     /* the kernel's own, which every interface has */
};

enum dp_steering {         /* which of the packets that a netdev port's device receives are the switch's */
    DP_STEER_ALL = 0,
    DP_STEER_VTEP = 1      /* the tunnel end point's, while the port is its uplink; all else is the kernel's stack's */
};

enum dp_policy {           /* who runs next on a worker */
    DP_POLICY_WFQ = 0,     /* by virtual time and weight */
    DP_POLICY_ROUND_ROBIN = 1,
    DP_POLICY_NONE = 2     /* no protection: first come, first served, without slices and limits */
};

enum dp_miss {
    DP_MISS_DROP = 0,      /* OpenFlow 1.3: no table-miss entry, the packet is dropped (fail mode secure) */
    DP_MISS_NORMAL = 1,    /* table 0's miss forwards like a learning switch (fail mode standalone, no controller there) */
    DP_MISS_CONTROLLER = 2 /* any table's miss goes to the controller (OpenFlow 1.0 to 1.2), with cookie 2^64-1 */
};

enum dp_port_reason {
    DP_PORT_ADDED = 0,     /* as OFPPR_* */
    DP_PORT_DELETED = 1,
    DP_PORT_MODIFIED = 2
};

struct dp_msg {
    uint16_t type;         /* enum dp_type */
    uint16_t flags;        /* enum dp_flags */
    uint32_t xid;          /* 0 for events */
    uint32_t object;       /* bridge or tenant id, as the type says */
    uint32_t len;          /* bytes of body */
};

struct dp_error {
    int32_t error;         /* errno value, > 0 */
    uint16_t of_type;      /* OFPT_ERROR type and code (OpenFlow 1.3, 7.4.4); 0xffff where none fits */
    uint16_t of_code;
    char field[DP_NAME_MAX];  /* what was wrong, named as the API names it; "" where the whole request was */
    char reason[128];
};

struct dp_hello {
    uint32_t version;      /* DP_CONTRACT_VERSION */
    uint32_t role;         /* enum dp_role */
};

struct dp_hello_reply {
    uint32_t version;
    uint32_t pid;
    uint32_t n_workers;
    uint32_t policy;       /* enum dp_policy */
    uint64_t tsc_hz;       /* cycles per second, for the counters */
    uint64_t incarnation;  /* differs from one start of the datapath to the next */
    uint64_t shm_size;     /* bytes behind the memfd */
};

struct dp_scheduler {
    uint32_t policy;       /* enum dp_policy */
    uint32_t slice_ns;     /* of a turn, 500..1000000; 0 = 1,400 */
};

struct dp_balance {        /* queues of ports move from busy workers to others */
    uint32_t interval;     /* seconds between two looks at what queues cost, 1..3600; 0 = none is moved */
    uint32_t load;         /* percent of its time that a worker must have been busy, 1..100; 0 = 95 */
    uint32_t improvement;  /* percent by which a move must lessen the variance of the workers' loads, 1..100; 0 = 25 */
    uint32_t reserved;
    uint64_t looks;        /* read only from here on; since the datapath started */
    uint64_t moves;
    uint64_t refused;      /* moves given up, because the queue had packets of the old worker's */
    char last_look[64];    /* what was found */
    char last_move[256];   /* which queue, from where to where, and why */
};

struct dp_tenant {
    uint32_t id;           /* 1..DP_MAX_TENANTS-1, chosen by the control plane */
    uint32_t weight;       /* 1..10000; shares of CPU time are in proportion */
    uint32_t cpu_min_ppm;  /* parts per million of one worker's time, 0 = none. All tenants' together at most what the workers have */
    uint32_t cpu_max_ppm;  /* likewise, over all workers; 0 = no limit; not below cpu_min_ppm */
    uint32_t max_rules;    /* over all its bridges; 0 = 1,000,000 */
    uint32_t max_megaflows;/* per worker; 0 = 65,536 */
    uint64_t max_memory;   /* bytes of rules; 0 = no limit but max_rules */
    char name[DP_NAME_MAX];
};

struct dp_bridge {
    uint32_t id;           /* 1..DP_MAX_BRIDGES-1, chosen by the control plane */
    uint32_t tenant;
    uint64_t dpid;
    uint32_t miss;         /* enum dp_miss */
    uint32_t mac_ageing;   /* seconds, 0 = 300 */
    uint32_t mac_max;      /* learned addresses, 0 = 8192 */
    uint32_t n_rules;      /* in lists: rules held */
    uint16_t miss_send_len;/* bytes of a packet in packet-ins of invalid TTLs; OFP 1.3 default 128 */
    uint16_t config_flags; /* ofp_config_flags (fragment handling) */
    uint32_t egress_table; /* first egress table (OpenFlow 1.5.1, 5.1), 1..253; 0 = none */
    char name[DP_NAME_MAX];
};

struct dp_port {
    uint32_t bridge;
    uint32_t port_no;      /* OpenFlow port number 1..0xffffff00, or 0xfffffffe LOCAL; 0 = the datapath picks one */
    uint32_t kind;         /* enum dp_port_kind */
    uint32_t config;       /* OFPPC_* bits (OpenFlow 1.3, 7.2.1) */
    uint32_t state;        /* OFPPS_* bits, read only */
    uint32_t slot;         /* index into the counters' port rows, read only */
    uint32_t n_queues;     /* tap: 1..16, 0 = 1; vhost-user: the most pairs of queues, likewise */
    uint32_t vni;          /* vxlan: 0..0xffffff, of this bridge alone */
    uint32_t mtu;          /* bytes, 0 = leave as it is (tap: 1500) */
    uint32_t peer_bridge;  /* patch */
    uint32_t peer_port;    /* patch: port_no of the peer; the pair works when both name each other */
    uint32_t learning;     /* vxlan: 1 = learn remote addresses from what arrives */
    uint32_t reason;       /* in DP_EV_PORT_STATUS: enum dp_port_reason */
    uint32_t speed_kbps;   /* read only */
    uint32_t busy_poll;    /* netdev with an xdp_mode: microseconds that one look may poll the driver's queue for, 0 = it interrupts */
    uint32_t steering;     /* netdev: enum dp_steering */
    uint8_t mac[6];        /* zero = the datapath picks one */
    uint8_t client;        /* vhost-user: 1 = connect to the socket, 0 = listen there */
    uint8_t xdp_mode;      /* netdev: enum dp_xdp_mode */
    char name[DP_NAME_MAX];   /* as the control plane calls it; the first 15 bytes show in OpenFlow */
    char ifname[16];       /* tap: device to create; netdev: device to use */
    char socket[108];      /* vhost-user: path of the Unix socket */
};

struct dp_port_ref {
    uint32_t port_no;      /* 0xffffffff (OFPP_ANY) = all, where the type allows it */
};

struct dp_port_mod {
    uint32_t port_no;
    uint32_t config;
    uint32_t mask;
    uint8_t mac[6];        /* must be the port's own (OFPPMFC_BAD_HW_ADDR), or zero = not checked */
    uint8_t reserved[2];
};

struct dp_addr {
    uint8_t ip[16];        /* IPv6, or IPv4 as ::ffff:a.b.c.d */
};

struct dp_vtep {
    struct dp_addr local4; /* address to bind; all zero = no IPv4 underlay; ::ffff:0.0.0.0 = any */
    struct dp_addr local6; /* address to bind; all zero = no IPv6 underlay */
    uint16_t port;         /* UDP destination port, 0 = 4789 (RFC 7348) */
    uint16_t any6;         /* 1 = bind IPv6 to :: */
    uint32_t uplink_checksum;  /* 1 = outer UDP checksums of what leaves through the uplink; 0 = none (RFC 7348, 5) */
    char uplink_bridge[DP_NAME_MAX];   /* port through which tunnels go as raw frames, there yet or not; "" = UDP sockets */
    char uplink_port[DP_NAME_MAX];
    char uplink_device[16];/* device whose routes and neighbours are the kernel's for the uplink; "" = the datapath asks for remotes itself */
};

struct dp_remotes {
    uint32_t port_no;
    uint32_t n;            /* struct dp_addr[n] follows, n <= DP_MAX_REMOTES */
};

struct dp_queues {
    uint32_t port_no;
    uint32_t n;            /* struct dp_queue[n] follows, n <= DP_MAX_QUEUES */
    uint32_t max_kbps;     /* what may leave through the port in all, 10^3 bit/s; 0 = no limit */
    uint32_t reserved;
};

struct dp_queue {
    uint32_t queue_id;     /* 0..0xfffffffe; packets that name no queue, or none that there is, are queue 0's */
    uint32_t min_kbps;     /* what it may send whatever the port's other queues do; 0 = nothing */
    uint32_t max_kbps;     /* 0 = the port's */
    uint32_t reserved;
    uint64_t tx_bytes;     /* from here on in DP_QUEUES_GET */
    uint64_t tx_packets;
    uint64_t tx_errors;    /* packets dropped for a rate */
    uint64_t age_nsec;
};

struct dp_batch {
    uint32_t n;            /* n times: uint32_t length, then that many bytes (not aligned, no padding) */
};

struct dp_batch_reply {
    uint32_t n_applied;    /* items carried out; the others changed nothing */
    uint32_t n_errors;     /* struct dp_batch_error[n_errors] follows; at most 256 are named */
};

struct dp_batch_error {
    uint32_t index;        /* of the item in the request */
    struct dp_error error;
};

struct dp_table {
    uint8_t table_id;      /* 0xff in DP_TABLE_MOD = all */
    uint8_t vacancy_down;  /* percent of free places below which, */
    uint8_t vacancy_up;    /* and above which again, DP_EV_TABLE_STATUS is sent */
    uint8_t vacancy;       /* percent free; read only */
    uint32_t config;       /* enum dp_table_config bits */
    uint32_t max_entries;  /* 0 = 1,000,000 */
    uint32_t reason;       /* in events: enum dp_table_event */
};

struct dp_rule_cost {
    uint64_t cycles;       /* spent on its packets, over all workers: an estimate from samples */
    uint64_t len;          /* of the entry that follows */
};

struct dp_number {
    uint32_t number;
};

struct dp_flow_watch {
    uint32_t on;
};

struct dp_flow_update {
    uint16_t what;         /* enum dp_update */
    uint16_t reason;       /* OFPRR_*, of DP_UPDATE_REMOVED */
    uint32_t xid;          /* of the request on the channel that did it; 0 = a timeout, or a packet that taught it */
    uint32_t item;         /* index in that request's batch; of the commit, 0 */
};

struct dp_packet_in {
    uint16_t controller_id;/* of Nicira's controller action, else 0 */
    uint16_t userdata_len; /* bytes of its user's data, which follow */
    uint32_t reserved;
};

struct dp_flow_removed {
    uint32_t want;         /* 1 = the rule had OFPFF_SEND_FLOW_REM: controllers are to be told */
    uint32_t reserved;
};

struct dp_mac {
    uint8_t mac[6];
    uint16_t vlan;         /* VLAN id, 0 = untagged */
    uint32_t port_no;
    uint32_t age;          /* seconds since last seen */
};

struct dp_trace {
    uint32_t in_port;
    uint32_t reserved;
};

struct dp_cache {
    uint32_t tenant;
    uint32_t worker;
    uint32_t megaflows;
    uint32_t masks;
    uint64_t emc_hits;
    uint64_t megaflow_hits;
    uint64_t misses;
    uint64_t stale;        /* entries found out of date and translated again */
};

/* ---- Counters in shared memory (read only for the control plane) ----
 * One writer a row. A worker's rows change together under its `seq` (odd while it writes); dp_shm_read_accounts() copies
 * one worker's accounts consistently. Offsets are from the start of the mapping. */

enum dp_stage {            /* what a tenant's cycles were spent in */
    DP_STAGE_RX = 0,
    DP_STAGE_PARSE = 1,
    DP_STAGE_LOOKUP = 2,
    DP_STAGE_SLOW = 3,
    DP_STAGE_ACT = 4,
    DP_STAGE_TX = 5,
    DP_STAGE_TUNNEL = 6,
    DP_STAGE_CONTROL = 7,
    DP_N_STAGES = 8
};

enum dp_system {           /* what a worker's cycles that are no tenant's were spent in */
    DP_SYS_IDLE = 0,       /* asleep, or polling with nobody active */
    DP_SYS_POLL = 1,       /* looking for ready ports while somebody is active */
    DP_SYS_HOUSEKEEPING = 2,
    DP_SYS_DEMUX = 3,      /* shared uplink packets that turned out to be nobody's */
    DP_N_SYSTEM = 4
};

#define DP_N_DROPS 32
#define DP_N_BLOCKERS 4
#define DP_N_HIST 40

struct dp_shm_header {
    uint64_t magic;        /* 0x5653574954434831 */
    uint32_t version;      /* DP_CONTRACT_VERSION */
    uint32_t n_workers;
    uint32_t max_tenants;
    uint32_t max_ports;
    uint64_t tsc_hz;
    uint64_t workers_off;  /* struct dp_shm_worker[n_workers] */
    uint64_t accounts_off; /* struct dp_shm_account[n_workers][max_tenants] */
    uint64_t ports_off;    /* struct dp_shm_port[n_workers][max_ports] */
    uint64_t control_off;  /* struct dp_shm_control[max_tenants] */
};

struct dp_shm_worker {
    uint64_t seq;
    uint64_t start;        /* time-stamp counter when the accounts began */
    uint64_t now;          /* time-stamp counter of the last charge: now - start = sum of all accounts */
    uint64_t system[DP_N_SYSTEM];  /* cycles */
    uint64_t loops;
    uint64_t sleeps;
    uint64_t stalls;       /* gaps that no work explains: the machine took the core away */
    uint64_t stall_cycles;
    uint64_t longest;      /* cycles, longest stretch between two scheduling decisions, without stalls where they could be told */
    uint64_t longest_raw;  /* the same with stalls */
    uint64_t longest_tenant;   /* whose turn it was, 0 = the system's own work */
    uint64_t longest_stage;    /* enum dp_stage in which it ended */
    uint64_t longest_port;     /* slot of the port that the batch came from plus 1, 0 = none */
    uint64_t stretch[DP_N_HIST];   /* histogram of such stretches: bucket i counts [2^i, 2^(i+1)) cycles */
};

struct dp_blocker {
    uint64_t cycles;       /* waited while this tenant had the core; an estimate from samples */
    uint64_t tenant;       /* 0 = none yet */
};

struct dp_shm_account {
    uint64_t cycles[DP_N_STAGES];
    uint64_t turns;        /* begun */
    uint64_t yields;       /* times that the slice was over in the middle of something; the turn was suspended then, if anybody else had work, */
    uint64_t overtaken;    /* and times that it was suspended because somebody woke who was due before */
    uint64_t waited;       /* cycles for which it had work and others had the core */
    uint64_t throttled;    /* cycles for which it had work and cpu_max didn't let it run */
    uint64_t rx_packets;
    uint64_t rx_bytes;
    uint64_t tx_packets;
    uint64_t tx_bytes;
    uint64_t emc_hits;
    uint64_t megaflow_hits;
    uint64_t slow;         /* packets that went through the tables */
    uint64_t packet_ins;
    uint64_t drops[DP_N_DROPS];    /* by enum drop; dp_drop_name() */
    struct dp_blocker blockers[DP_N_BLOCKERS];     /* whom it waited for most */
};

struct dp_shm_control {    /* the main thread's work for a tenant: rule changes, statistics, packet-outs */
    uint64_t cycles;
    uint64_t steps;        /* requests, or parts of them */
    uint64_t waited;       /* cycles for which requests waited for others' to be carried out */
};

struct dp_shm_port {
    uint64_t rx_packets;
    uint64_t rx_bytes;
    uint64_t tx_packets;
    uint64_t tx_bytes;
    uint64_t rx_drops;
    uint64_t tx_drops;
    uint64_t rx_errors;
    uint64_t tx_errors;
    uint64_t cycles;       /* spent on what it received, all stages */
    uint64_t rx_merged;    /* vxlan: TCP segments that rx_packets doesn't count, since they became part of one before them */
};

/* ---- What the cffi module offers besides ---- */

/* Copies worker `worker`'s row and its accounts of tenants [0, n) out of a mapping, all from one moment. 0, or -EAGAIN if
 * the writer never let go (the copy is then of several moments), -EINVAL for a worker that there is not. */
int dp_shm_read_accounts(const void *shm, uint32_t worker, struct dp_shm_worker *row, struct dp_shm_account *accounts,
                         uint32_t n);
/* Name of drop reason `reason` ("ttl", "no_rule", ...), or NULL past the last. */
const char *dp_drop_name(uint32_t reason);
/* One sentence that explains it. */
const char *dp_drop_text(uint32_t reason);
const char *dp_stage_name(uint32_t stage);
const char *dp_system_name(uint32_t system);
const char *dp_policy_name(uint32_t policy);

/* A match field, as OXM knows it (OpenFlow 1.3, 7.2.3.7). */
struct dp_field {
    char name[24];         /* as ovs-ofctl and the specification write it, lower case: "eth_dst", "ipv4_src" */
    uint32_t oxm;          /* class << 16 | field << 9, as in the OXM header with has-mask and length clear */
    uint16_t bits;         /* 1..128 */
    uint16_t bytes;        /* length of the value on the wire */
    uint8_t maskable;
    uint8_t settable;      /* set-field may change it */
    uint8_t reserved[2];
    uint32_t prereq;       /* enum dp_prereq */
};

enum dp_prereq {           /* what a match must also hold for the field to make sense */
    DP_PRE_NONE = 0,
    DP_PRE_VLAN = 1,       /* vlan_vid with OFPVID_PRESENT */
    DP_PRE_IP = 2,         /* eth_type 0x0800 or 0x86dd */
    DP_PRE_IPV4 = 3,
    DP_PRE_IPV6 = 4,
    DP_PRE_ARP = 5,
    DP_PRE_MPLS = 6,       /* eth_type 0x8847 or 0x8848 */
    DP_PRE_PBB = 7,
    DP_PRE_TCP = 8,
    DP_PRE_UDP = 9,
    DP_PRE_SCTP = 10,
    DP_PRE_ICMPV4 = 11,
    DP_PRE_ICMPV6 = 12,
    DP_PRE_ND = 13,        /* icmpv6_type 135 or 136 */
    DP_PRE_ND_SOL = 14,    /* 135 */
    DP_PRE_ND_ADV = 15,    /* 136 */
    DP_PRE_IN_PORT = 16
};

/* Field number i, or NULL past the last. */
const struct dp_field *dp_field_at(uint32_t i);

/* cffi: end */
#endif
