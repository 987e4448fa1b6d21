/* Cycles per packet from guest to guest through two vhost-user ports, by stage. Guests and switch by turns on one core: what the
 * switch's code costs, without what the caches of two cores cost each other; under callgrind its instructions can be counted
 * (worker_step; with a slice=1000000, as under it time passes fifty times as fast). With cores=GUEST,WORKER on a core each, as the machine would run them.
 * rule=source: besides, a rule on a source address that no packet has, so that each address is a flow that the tables decide on.
 * tunnel=out: the second guest is the other end of a VXLAN tunnel, whose uplink is its port; tunnel=in: likewise, and it is the one that
 * sends. The cycles are both tenants' then.
 * rules=FILE frames=FILE: rules by OpenFlow 1.3 flow-mods one behind the other, and a capture of frames that are sent in turn
 * (benchmarks/acl_rules.py makes both); all frames go through once before anything counts.
 * Usage: bench_vhost [len=60] [flows=1] [rounds=300] [batch=32] [rule=port|address|source] [rules=FILE frames=FILE] [tunnel=out|in] [packed]
 *                    [cores=0,1] [slice=US] */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/bytes.h"
#include "base/clock.h"
#include "base/watch.h"
#include "bench/guest_load.h"
#include "bench/guest_port.h"
#include "flow/cache.h"
#include "flow/table.h"
#include "path/worker.h"
#include "tunnel/vtep.h"
#include "tunnel/vxlan.h"

#define PER_ROUND 3200
#define VNI 1001
#define NEAR {{[10] = 255, 255, 198, 51, 100, 1}}
#define FAR {{[10] = 255, 255, 198, 51, 100, 2}}
/* To NEAR, and in it 60 bytes of UDP. */
#define THROUGH_TUNNEL "0200000001010200000001020800450000600000400040110000c6336402c6336401c00012b5004c0000080000000003e900" \
    "02000000000202000000000108004500002e00004000401100000a0000010a00000203e80050001a0000000000000000000000000000000000000000"

static struct guest_port guests[2];
static const char *trouble;
static _Atomic bool ready;

static void *open_guests(void *arg)
{
    for (int i = 0; i < 2 && !trouble; i++)
        trouble = guest_port_open(&guests[i], 5);
    ready = true;
    return NULL;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* in_port 1 (with more than one flow: and IPv4 to 10.0.0.0/8): output to port 2; or the other way. */
static void add_rule(struct bridge *b, bool address, bool source, bool back)
{
    static const uint8_t port_rule[] = {0, 1, 0, 12, 0x80, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0};
    static const uint8_t address_rule[] = {0, 1, 0, 30, 0x80, 0, 0, 4, 0, 0, 0, 1, 0x80, 0, 10, 2, 8, 0, 0x80, 0, 0x19, 8, 10, 0, 0, 0,
                                           255, 0, 0, 0, 0, 0};
    static const uint8_t output[] = {0, 4, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0};
    uint8_t body[OFP_FLOW_MOD_FIXED + sizeof address_rule + sizeof output] = {[23] = 1};
    size_t n = address ? sizeof address_rule : sizeof port_rule;
    struct flow_mod_result r;
    fault f;
    memset(body + 24, 0xff, 12);
    memcpy(body + OFP_FLOW_MOD_FIXED, address ? address_rule : port_rule, n);
    if (source) {
        body[23] = 2;          /* priority */
        body[OFP_FLOW_MOD_FIXED + 20] = 0x17;      /* OXM: IPv4 source, all bits */
        memset(body + OFP_FLOW_MOD_FIXED + 22, 255, 4);
        memset(body + OFP_FLOW_MOD_FIXED + 26, 255, 4);
    }
    memcpy(body + OFP_FLOW_MOD_FIXED + n, output, sizeof output);
    if (back) {
        body[OFP_FLOW_MOD_FIXED + 11] = 2;
        body[OFP_FLOW_MOD_FIXED + n + 15] = 1;
    }
    if (flow_mod(b, body, OFP_FLOW_MOD_FIXED + n + sizeof output, &r, &f)) {
        fprintf(stderr, "%s\n", f.reason);
        exit(1);
    }
}

static bool add_rules(struct bridge *b, const char *path)
{
    static uint8_t message[65536];
    FILE *file = fopen(path, "rb");
    struct flow_mod_result r;
    fault f;
    bool good = file;
    while (good && fread(message, 8, 1, file) == 1) {
        size_t len = get16(message + 2);
        good = len >= 8 && fread(message, len - 8, 1, file) == 1 && !flow_mod(b, message, len - 8, &r, &f);
    }
    if (file)
        fclose(file);
    return good;
}

static void drain(struct guest_ring *r, unsigned *n)
{
    uint16_t slot;
    uint32_t len;
    while (guest_ring_get(r, &slot, &len)) {
        if (!r->send)
            guest_ring_put(r, guest_ring_slot(r), 0);
        ++*n;
    }
    if (!r->send)
        guest_ring_publish(r);
}

struct options {
    unsigned length, flows, rounds, batch, slice;
    int cores[2];              /* guests', worker's; -1: both here, by turns */
    bool address, source, packed, out, in;
    const char *rules, *frames;
};

static bool parse_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){.length = 60, .flows = 1, .rounds = 300, .batch = BATCH, .cores = {-1, -1}};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (!strcmp(a, "packed"))
            o->packed = true;
        else if (!strcmp(a, "tunnel=out"))
            o->out = true;
        else if (!strcmp(a, "tunnel=in"))
            o->in = true;
        else if (!strcmp(a, "rule=address"))
            o->address = true;
        else if (!strcmp(a, "rule=source"))
            o->source = true;
        else if (!strncmp(a, "rules=", 6))
            o->rules = a + 6;
        else if (!strncmp(a, "frames=", 7))
            o->frames = a + 7;
        else if (strcmp(a, "rule=port") && sscanf(a, "len=%u", &o->length) != 1 && sscanf(a, "flows=%u", &o->flows) != 1 &&
                 sscanf(a, "rounds=%u", &o->rounds) != 1 && sscanf(a, "batch=%u", &o->batch) != 1 &&
                 sscanf(a, "slice=%u", &o->slice) != 1 &&
                 sscanf(a, "cores=%d,%d", &o->cores[0], &o->cores[1]) != 2)
            return false;
    }
    return o->batch >= 1 && o->batch <= BATCH && o->rounds >= 4 && !o->rules == !o->frames;
}

static void stay_on(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static struct load stream;
static unsigned sender;        /* of the guests */
static unsigned received, returned;
static _Atomic bool over;

static void send_batch_of(unsigned n)
{
    struct guest_ring *out = &guests[sender].rings[1];
    for (unsigned i = 0; i < n; i++) {
        uint16_t slot = guest_ring_slot(out);
        guest_ring_put(out, slot, load_frame(&stream, guest_ring_frame(out, slot), 0));
    }
    guest_ring_publish(out);
}

/* Both guests on a core of their own. */
static void *play_guests(void *options)
{
    const struct options *o = options;
    stay_on(o->cores[0]);
    while (!over) {
        drain(&guests[sender].rings[1], &returned);
        if (guests[sender].rings[1].n_free >= o->batch)
            send_batch_of(o->batch);
        drain(&guests[!sender].rings[0], &received);
    }
    return NULL;
}

/* About PER_ROUND packets; returns how many. */
static uint64_t run_round(struct worker *w, const struct options *o, const struct dp_shm_account *account)
{
    uint64_t before = account->rx_packets;
    while (account->rx_packets - before < PER_ROUND) {
        if (o->cores[0] >= 0) {
            worker_step(w);
            continue;
        }
        worker_account(w, &w->row->system[DP_SYS_IDLE]);
        drain(&guests[sender].rings[1], &returned);
        send_batch_of(o->batch);
        for (unsigned all = received, i = 0; i < 1000 && received - all < o->batch; i++) {
            worker_step(w);
            drain(&guests[!sender].rings[0], &received);
        }
    }
    return account->rx_packets - before;
}

static void must(int e, const fault *f)
{
    if (e) {
        fprintf(stderr, "%s: %s\n", f->field, f->reason);
        exit(1);
    }
}

/* Port 2 of the first bridge, whose uplink is to be port 1 of the second. */
static void add_tunnel(struct datapath *dp)
{
    static const struct dp_addr near = NEAR, far = FAR;
    struct dp_vtep v = {.local4 = near, .uplink_bridge = "under", .uplink_port = "wire"};
    struct dp_tenant t = {.id = 2, .weight = 1};
    struct dp_bridge b = {.id = 2, .tenant = 2, .name = "under"};
    struct dp_port p = {.bridge = 1, .port_no = 2, .kind = DP_PORT_VXLAN, .vni = VNI, .name = "vx"};
    fault f;
    must(datapath_set_tenant(dp, &t, &f), &f);
    must(datapath_set_bridge(dp, &b, &f), &f);
    must(vtep_set(dp, &v, &f), &f);
    must(datapath_add_port(dp, &p, &f), &f);
    must(vxlan_set_remotes(datapath_port(dp, 1, 2, &f), &far, 1, &f), &f);
    neighbour_tell(neighbour_find(&dp->vtep->uplink.neighbours, &far, true), (const uint8_t *)"\2\0\0\0\1\2");
}

static uint64_t cycles(const struct datapath *dp, int stage)
{
    return shm_account(dp, 0, 1)->cycles[stage] + shm_account(dp, 0, 2)->cycles[stage];
}

int main(int argc, char **argv)
{
    struct options o;
    int error;
    fault f;
    if (!parse_options(&o, argc, argv)) {
        fprintf(stderr, "usage: see the head of bench_vhost.c\n");
        return 2;
    }
    clock_init(false);
    struct datapath *dp = datapath_new(1, false, true, &error);
    struct dp_tenant t = {.id = 1, .weight = 1};
    struct dp_bridge b = {.id = 1, .tenant = 1};
    datapath_set_tenant(dp, &t, &f);
    datapath_set_bridge(dp, &b, &f);
    bool tunnel = o.in || o.out;
    sender = o.in;
    if (tunnel)
        add_tunnel(dp);
    for (uint32_t i = 0; i < 2; i++) {
        struct dp_port p = {.bridge = tunnel && i ? 2 : 1, .port_no = tunnel ? 1 : i + 1, .kind = DP_PORT_VHOST_USER, .name = "wire",
                            .mac = {2, 0, 0, 0, 1, 1}};
        snprintf(p.socket, sizeof p.socket, "/tmp/bench_vhost.%d.%u", (int)getpid(), i);
        if (datapath_add_port(dp, &p, &f)) {
            fprintf(stderr, "%s\n", f.reason);
            return 1;
        }
        guests[i] = (struct guest_port){.path = strdup(p.socket), .n_pairs = 1, .size = 256, .buffer_len = 2048, .frame_max = 2048,
                                        .packed = o.packed};
    }
    if (!o.rules)
        add_rule(dp->bridges[1], o.address, false, o.in);
    else if (!add_rules(dp->bridges[1], o.rules)) {
        fprintf(stderr, "no rules in %s\n", o.rules);
        return 1;
    }
    if (o.source)
        add_rule(dp->bridges[1], true, true, o.in);
    pthread_t thread;
    pthread_create(&thread, NULL, open_guests, NULL);
    for (int i = 0; !ready || i < 100; i += ready) {
        watch_run(dp->watch_fd);
        usleep(1000);
    }
    pthread_join(thread, NULL);
    if (trouble) {
        fprintf(stderr, "%s\n", trouble);
        return 1;
    }
    struct worker *w = dp->workers[0];
    if (o.slice)
        w->slice = w->stall = clock_from_us(o.slice);
    struct dp_shm_account *account = shm_account(dp, 0, 1);
    char text[512];
    if (o.in)
        strcpy(text, "0:hex=" THROUGH_TUNNEL);
    else if (o.frames)
        snprintf(text, sizeof text, "0:pcap=%s", o.frames);
    else
        snprintf(text, sizeof text, "0:len=%u,flows=%u", o.length, o.flows);
    if (load_parse(&stream, text))
        return 1;
    if (o.cores[0] >= 0) {
        stay_on(o.cores[1]);
        pthread_create(&thread, NULL, play_guests, &o);
    }
    for (uint64_t seen = account->rx_packets; o.frames && account->rx_packets - seen < 2 * stream.n_frames;)
        run_round(w, &o, account);
    double (*cost)[DP_N_STAGES + 1] = calloc(o.rounds, sizeof *cost);
    uint64_t packets = 0, turns = account->turns, exact = account->emc_hits, masked = account->megaflow_hits;
    for (unsigned r = 0; r < o.rounds; r++) {
        uint64_t before[DP_N_STAGES], polls = w->row->system[DP_SYS_POLL];
        for (int s = 0; s < DP_N_STAGES; s++)
            before[s] = cycles(dp, s);
        uint64_t n = run_round(w, &o, account);
        packets += n;
        for (int s = 0; s < DP_N_STAGES; s++)
            cost[r][s] = (double)(cycles(dp, s) - before[s]) / (double)n;
        cost[r][DP_N_STAGES] = (double)(w->row->system[DP_SYS_POLL] - polls) / (double)n;
    }
    double total = 0, *column = calloc(o.rounds, sizeof *column);
    printf("%u bytes, %u flows, %.1f packets a turn; cycles per packet:", o.length, o.frames ? stream.n_frames : o.flows,
           (double)packets / (double)(account->turns - turns));
    for (uint32_t s = 0; s <= DP_N_STAGES; s++) {
        for (uint32_t r = 0; r < o.rounds; r++)
            column[r] = cost[r][s];
        qsort(column, o.rounds, sizeof *column, compare);
        if (column[o.rounds / 4] > 0.05)
            printf(" %s %.1f,", s < DP_N_STAGES ? dp_stage_name(s) : "poll", column[o.rounds / 4]);
        total += column[o.rounds / 4];
    }
    printf(" together %.1f (lower quartile of %u)\n", total, o.rounds);
    struct cache *c = o.frames ? w->tenants[1]->cache : NULL;
    if (c)
        printf("%u megaflows of %u masks, %u places in the exact-match cache; of the packets %.1f %% hit that, %.1f %% the masks\n",
               c->n_flows, c->n_tables, c->exact.mask + 1, 100 * (double)(account->emc_hits - exact) / (double)packets,
               100 * (double)(account->megaflow_hits - masked) / (double)packets);
    over = true;
    if (o.cores[0] >= 0)
        pthread_join(thread, NULL);
    free(column);
    free(cost);
    guest_port_close(&guests[0]);
    guest_port_close(&guests[1]);
    datapath_free(dp, false);
    return 0;
}
