/* vswitch-guest: plays the guests' side of virtio-net over vhost-user sockets, one thread for all of them, and measures what the
 * switch behind the sockets does with their packets: rates, one-way latency, loss. Drives any vhost-user back-end.
 *
 * Prints one JSON object. Latency of a stamped frame is the time from when it was due (open loop) or sent (closed loop) to when
 * the loop found it; times in whose course the machine took this core away are told apart (`stalled`). What of a latency can be this
 * program's own is in `own`: how late a frame was sent, and the time between the look that found it and the one before. */
#include <getopt.h>
#include <linux/virtio_net.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "bench/guest_histogram.h"
#include "bench/guest_load.h"
#include "bench/guest_port.h"

#define MAX_PORTS 64
#define MAX_LOADS 64
#define RX_BURST 64
#define STALL_US 10            /* a turn of the loop longer than this is the machine's */
#define PAUSE_MS 40            /* a turn of the loop longer than this is somebody's who has stopped this program for a while */
#define LOST_MS 20             /* closed loop: what did not come back by then is lost */

static const char usage[] =
    "usage: vswitch-guest --port PATH[,KEY...] ... [--send PORT:KEY=VALUE,...] ... [options]\n"
    "  --port PATH[,listen][,packed][,mergeable][,event-idx][,in-order][,offloads][,udp-offloads][,huge][,pairs=N][,size=N][,buffer=N]\n"
    "      a guest's device; ports count from 0. listen: at the socket, else connect to it\n"
    "  --send PORT:len=60,flows=1,rate=PPS,poisson,outstanding=N,burst=32,train=N,stamp,gso=N,uso=N,ufo=N,queue=0,dst=MAC,src=MAC,pcap=FILE,hex=BYTES,\n"
    "              sweep=OFFSET/WIDTH/COUNT[/FIRST][/random|/flip],seed=N\n"
    "      a stream from that port; gso, uso, ufo: TCP segments or datagrams of len bytes, to be cut, or fragmented; rate 0 (default) is as fast as it goes; outstanding: a closed loop\n"
    "  --seconds S       measured (default 2)      --warm-up S   before that (default 0.5)\n"
    "                    SIGTERM ends the measurement early. SIGSTOP and SIGCONT: the time in between doesn't count\n"
    "                    SIGUSR1: results so far on a line of their own, and everything is counted anew\n"
    "  --wait S          for the back-end (default 10)\n"
    "  --go              when all is set up, print \"ready\" on stderr and wait for a line on stdin\n"
    "  --dump N          print the first N frames received, in hexadecimal, to stderr\n"
    "  --cpu N           run there\n";

struct result {
    uint64_t received, bytes;
};

static struct guest_port ports[MAX_PORTS];
static struct result results[MAX_PORTS];
static struct load loads[MAX_LOADS];
static struct histogram clean[MAX_LOADS], stalled[MAX_LOADS], own[MAX_LOADS];
static uint64_t looked[MAX_PORTS];
static unsigned n_ports, n_loads;
static uint64_t stall_end, stalls, stall_cycles;
static unsigned dump;

static const char *parse_port(struct guest_port *p, char *text)
{
    char *save = NULL;
    *p = (struct guest_port){.path = strtok_r(text, ",", &save), .n_pairs = 1, .size = 256, .buffer_len = 2048, .fd = -1,
                             .frame_max = 1600};
    for (char *key; (key = strtok_r(NULL, ",", &save));) {
        char *value = strchr(key, '=');
        if (value)
            *value++ = 0;
        if (!strcmp(key, "listen"))
            p->listen = true;
        else if (!strcmp(key, "packed"))
            p->packed = true;
        else if (!strcmp(key, "mergeable"))
            p->mergeable = true;
        else if (!strcmp(key, "event-idx"))
            p->event_idx = true;
        else if (!strcmp(key, "in-order"))
            p->in_order = true;
        else if (!strcmp(key, "offloads"))
            p->offloads = true;
        else if (!strcmp(key, "udp-offloads"))
            p->udp_offloads = true;
        else if (!strcmp(key, "indirect"))
            p->indirect = true;
        else if (!strcmp(key, "huge"))
            p->huge = true;
        else if (value && !strcmp(key, "pairs"))
            p->n_pairs = (unsigned)atoi(value);
        else if (value && !strcmp(key, "size"))
            p->size = (uint16_t)atoi(value);
        else if (value && !strcmp(key, "buffer"))
            p->buffer_len = (uint32_t)atoi(value);
        else
            return "an unknown key";
    }
    if (!p->n_pairs || p->n_pairs > GUEST_MAX_PAIRS || p->size < 4 || p->size & (p->size - 1) || p->buffer_len < 128)
        return "pairs is 1..16, size a power of two, buffer at least 128";
    return NULL;
}

static void note_received(unsigned port, const uint8_t *frame, uint32_t len, uint64_t now)
{
    uint32_t id, late;
    uint64_t stamp;
    results[port].received++;
    results[port].bytes += len;
    if (dump) {
        dump--;
        for (uint32_t i = 0; i < len; i++)
            fprintf(stderr, "%02x", frame[i]);
        fprintf(stderr, "\n");
    }
    if (!load_tag(frame, len, &id, &late, &stamp) || id >= n_loads)
        return;
    struct load *l = &loads[id];
    if (stamp > now)
        return;
    l->returned++;
    l->last_return = now;
    histogram_add(stamp < stall_end ? &stalled[id] : &clean[id], now - stamp);
    if (stamp >= stall_end) {
        uint64_t sent = stamp + late, since = sent > looked[port] ? sent : looked[port];
        histogram_add(&own[id], late + (now > since ? now - since : 0));
    }
}

static bool receive(unsigned port)
{
    struct guest_port *p = &ports[port];
    bool any = false;
    uint64_t begun = __rdtsc();
    for (unsigned q = 0; q < p->n_pairs; q++) {
        struct guest_ring *r = &p->rings[2 * q];
        uint16_t slot;
        uint32_t len;
        unsigned n = 0;
        for (; n < RX_BURST && guest_ring_get(r, &slot, &len); n++) {
            note_received(port, guest_ring_frame(r, slot), len, __rdtsc());
            guest_ring_put(r, guest_ring_slot(r), 0);
        }
        if (n) {
            guest_ring_publish(r);
            any = true;
        }
    }
    looked[port] = begun;
    return any;
}

/* How many packets the stream owes now, and when the first was due. */
static uint32_t owed(struct load *l, uint64_t now)
{
    if (l->outstanding) {
        uint64_t on_way = l->sent - l->returned - l->lost;
        if (on_way >= l->outstanding && now - l->last_return > clock_from_ms(LOST_MS)) {
            l->lost += on_way;
            l->last_return = now;
            on_way = 0;
        }
        return on_way < l->outstanding ? l->outstanding - (uint32_t)on_way : 0;
    }
    if (l->rate == 0)
        return l->burst;
    return l->due <= (double)now ? l->burst : 0;
}

static void send_stream(struct load *l, uint64_t now)
{
    struct guest_ring *r = &ports[l->port].rings[2 * l->queue + 1];
    uint32_t n = owed(l, now);
    if (!n)
        return;
    if (r->n_free < n) {
        uint16_t slot;
        uint32_t len;
        while (guest_ring_get(r, &slot, &len))
            ;
    }
    if (l->rate == 0 && !l->outstanding && r->n_free < n) {
        l->full++;             /* as fast as it goes is in whole bursts */
        return;
    }
    unsigned sent = 0;
    bool paced = l->rate != 0 && !l->outstanding;
    for (; sent < n && sent < l->burst && (!paced || l->due <= (double)now); sent++) {
        if (!r->n_free) {
            l->full++;
            if (paced)
                l->due += load_gap(l, (double)clock_hz);
            break;
        }
        uint16_t slot = guest_ring_slot(r);
        uint64_t stamp = paced ? (uint64_t)l->due : now;
        l->late = now - stamp;
        uint8_t *frame = guest_ring_frame(r, slot);
        if (l->gso)
            *(struct virtio_net_hdr *)(frame - r->header) = (struct virtio_net_hdr){
                .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = l->gso_type, .hdr_len = l->gso_type == VIRTIO_NET_HDR_GSO_TCPV4 ? 54 : 42,
                .gso_size = (uint16_t)l->gso, .csum_start = 34, .csum_offset = l->gso_type == VIRTIO_NET_HDR_GSO_TCPV4 ? 16 : 6};
        guest_ring_put(r, slot, load_frame(l, frame, stamp));
        if (paced)
            l->due += load_gap(l, (double)clock_hz);
    }
    if (sent) {
        guest_ring_publish(r);
        l->sent += sent;
    }
}

static void reset(uint64_t now)
{
    memset(results, 0, sizeof results);
    memset(clean, 0, sizeof clean);
    memset(stalled, 0, sizeof stalled);
    memset(own, 0, sizeof own);
    stalls = stall_cycles = 0;
    for (unsigned i = 0; i < n_loads; i++) {
        struct load *l = &loads[i];
        uint64_t on_way = l->outstanding ? l->sent - l->returned - l->lost : 0;
        l->sent = on_way;
        l->returned = l->lost = l->full = 0;
        l->last_return = now;
    }
}

static volatile sig_atomic_t ended, asked;

static void end_early(int signal)
{
    ended = 1;
}

static void ask(int signal)
{
    asked = 1;
}

/* What was due in the meantime isn't made up for, and what was on its way isn't counted as the switch's. */
static void after_pause(uint64_t now)
{
    stall_end = now;
    for (unsigned i = 0; i < n_loads; i++) {
        loads[i].due = (double)now;
        loads[i].last_return = now;
    }
}

static void print_latency(const char *name, const struct histogram *h)
{
    double ns = 1e9 / (double)clock_hz;
    printf("\"%s\": {\"samples\": %llu", name, (unsigned long long)h->n);
    if (h->n)
        printf(", \"mean_ns\": %.0f, \"p50_ns\": %.0f, \"p90_ns\": %.0f, \"p99_ns\": %.0f, \"p999_ns\": %.0f, \"p9999_ns\": %.0f, "
               "\"max_ns\": %.0f", (double)h->sum / (double)h->n * ns, (double)histogram_at(h, .5) * ns,
               (double)histogram_at(h, .9) * ns, (double)histogram_at(h, .99) * ns, (double)histogram_at(h, .999) * ns,
               (double)histogram_at(h, .9999) * ns, (double)h->max * ns);
    printf("}");
}

static void print_results(double seconds)
{
    printf("{\"seconds\": %g, \"tsc_hz\": %llu, \"stalls\": %llu, \"stall_ms\": %.3f, \"ports\": [", seconds,
           (unsigned long long)clock_hz, (unsigned long long)stalls, (double)stall_cycles / (double)clock_hz * 1e3);
    for (unsigned i = 0; i < n_ports; i++) {
        uint64_t kicks = 0;
        for (unsigned q = 0; q < 2 * ports[i].n_pairs; q++)
            kicks += ports[i].rings[q].kicks;
        printf("%s{\"received\": %llu, \"bytes\": %llu, \"mpps\": %.4f, \"gbits\": %.4f, \"kicks\": %llu, \"huge\": %s}", i ? ", " : "",
               (unsigned long long)results[i].received, (unsigned long long)results[i].bytes,
               (double)results[i].received / seconds / 1e6, (double)results[i].bytes * 8 / seconds / 1e9, (unsigned long long)kicks,
               ports[i].huge ? "true" : "false");
    }
    printf("], \"streams\": [");
    for (unsigned i = 0; i < n_loads; i++) {
        printf("%s{\"port\": %u, \"sent\": %llu, \"mpps\": %.4f, \"full\": %llu, \"returned\": %llu, \"lost\": %llu, ", i ? ", " : "",
               loads[i].port, (unsigned long long)loads[i].sent, (double)loads[i].sent / seconds / 1e6,
               (unsigned long long)loads[i].full, (unsigned long long)loads[i].returned, (unsigned long long)loads[i].lost);
        print_latency("latency", &clean[i]);
        printf(", ");
        print_latency("stalled", &stalled[i]);
        printf(", ");
        print_latency("own", &own[i]);
        printf("}");
    }
    printf("]}\n");
}

static void run(double seconds)
{
    uint64_t now = __rdtsc(), end = now + (uint64_t)(seconds * (double)clock_hz), limit = clock_from_us(STALL_US);
    for (uint64_t before, begin = now; now < end && !ended;) {
        if (__builtin_expect(asked, 0)) {
            asked = 0;
            print_results((double)(now - begin) / (double)clock_hz);
            fflush(stdout);
            reset(begin = now = __rdtsc());
        }
        for (unsigned i = 0; i < n_loads; i++)
            send_stream(&loads[i], __rdtsc());
        for (unsigned i = 0; i < n_ports; i++)
            receive(i);
        before = now;
        now = __rdtsc();
        if (now - before > clock_from_ms(PAUSE_MS)) {
            after_pause(now);
            end += now - before;
        } else if (now - before > limit) {
            stalls++;
            stall_cycles += now - before;
            stall_end = now;
        }
    }
}

static int complain(const char *what, const char *where, const char *why)
{
    fprintf(stderr, "vswitch-guest: %s %s: %s\n", what, where, why);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'}, {"send", 1, NULL, 's'}, {"seconds", 1, NULL, 't'}, {"warm-up", 1, NULL, 'u'}, {"wait", 1, NULL, 'w'},
        {"go", 0, NULL, 'g'}, {"cpu", 1, NULL, 'c'}, {"dump", 1, NULL, 'd'}, {"help", 0, NULL, 'h'}, {0}};
    double seconds = 2, warm_up = 0.5, wait = 10;
    bool go = false;
    cpu_set_t set;
    const char *why;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'p':
            if (n_ports == MAX_PORTS || (why = parse_port(&ports[n_ports++], optarg)))
                return complain("--port", optarg, n_ports > MAX_PORTS ? "too many" : why);
            break;
        case 's':
            loads[n_loads].id = n_loads;
            if (n_loads == MAX_LOADS || (why = load_parse(&loads[n_loads++], optarg)))
                return complain("--send", optarg, n_loads > MAX_LOADS ? "too many" : why);
            break;
        case 't':
            seconds = atof(optarg);
            break;
        case 'u':
            warm_up = atof(optarg);
            break;
        case 'w':
            wait = atof(optarg);
            break;
        case 'g':
            go = true;
            break;
        case 'd':
            dump = (unsigned)atoi(optarg);
            break;
        case 'c':
            CPU_ZERO(&set);
            CPU_SET(atoi(optarg), &set);
            if (sched_setaffinity(0, sizeof set, &set))
                return complain("--cpu", optarg, "can't run there");
            break;
        default:
            fputs(usage, o == 'h' ? stdout : stderr);
            return o == 'h' ? 0 : 2;
        }
    }
    if (!n_ports || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    clock_init(false);
    signal(SIGTERM, end_early);
    signal(SIGUSR1, ask);
    for (unsigned i = 0; i < n_loads; i++) {
        struct load *l = &loads[i];
        if (l->port >= n_ports || l->queue >= ports[l->port].n_pairs)
            return complain("--send", "", "no such port or queue");
        if (load_longest(l) > ports[l->port].frame_max)
            ports[l->port].frame_max = load_longest(l);
    }
    for (unsigned i = 0; i < n_ports; i++)
        if ((why = guest_port_open(&ports[i], wait)))
            return complain("port", ports[i].path, why);
    if (go) {
        char line[16];
        fprintf(stderr, "ready\n");
        if (!fgets(line, sizeof line, stdin))
            return 1;
    }
    uint64_t now = __rdtsc();
    for (unsigned i = 0; i < n_loads; i++) {
        loads[i].due = (double)now;
        loads[i].last_return = now;
    }
    run(warm_up);
    reset(__rdtsc());
    run(seconds);
    print_results(seconds);
    for (unsigned i = 0; i < n_ports; i++)
        guest_port_close(&ports[i]);
    return 0;
}
