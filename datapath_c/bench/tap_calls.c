/* What a frame from one tap to another costs by readv and writev, and by io_uring with several frames in a call: nanoseconds of this
 * thread's CPU time a frame, medians, as a Markdown table. In a network namespace of its own; needs root.
 * Usage: tap_calls [FRAME_BYTES] */
#include <fcntl.h>
#include <liburing.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 9
#define SECONDS 0.3
#define MOST 32                /* frames a call */
#define ROOM 2048
#define PROTOCOL 0x88b5        /* IEEE 802, for experiments: nobody's */

static atomic_bool stop;
static int from, to;
static struct io_uring ring;
static struct frame {
    char header[10], bytes[ROOM];
    struct iovec v[2];
} frames[MOST];

static void need(bool fine, const char *what)
{
    if (!fine) {
        perror(what);
        exit(1);
    }
}

static int make_tap(const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK), s = socket(AF_INET, SOCK_DGRAM, 0);
    strcpy(r.ifr_name, name);
    need(fd >= 0 && !ioctl(fd, TUNSETIFF, &r), "tap");
    r.ifr_flags = IFF_UP;
    need(!ioctl(s, SIOCSIFFLAGS, &r), name);
    close(s);
    return fd;
}

/* Keeps the first tap full. */
static void *send_frames(void *arg)
{
    static unsigned char frame[ROOM] = {[0] = 2, [6] = 2, [11] = 1, [12] = PROTOCOL >> 8, [13] = PROTOCOL & 0xff};
    struct sockaddr_ll to_tap = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("from")};
    struct iovec v = {frame, *(size_t *)arg};
    struct mmsghdr m[MOST] = {0};
    int s = socket(AF_PACKET, SOCK_RAW, 0), bypass = 1;
    setsockopt(s, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof bypass);
    need(!bind(s, (struct sockaddr *)&to_tap, sizeof to_tap), "bind");
    for (int i = 0; i < MOST; i++)
        m[i].msg_hdr = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1};
    while (!stop)
        if (sendmmsg(s, m, MOST, 0) < 0)
            sched_yield();
    return NULL;
}

static int by_calls(int n)
{
    int k = 0;
    for (ssize_t got; k < n && (got = readv(from, frames[k].v, 2)) > 0; k++)
        frames[k].v[1].iov_len = (size_t)got - sizeof frames[k].header;
    for (int i = 0; i < k; i++)
        need(writev(to, frames[i].v, 2) > 0, "writev");
    return k;
}

/* What is in the ring, which ends in the call: nothing here waits. Returns how many frames it was done for, whose lengths are set. */
static int carry_out(int n)
{
    struct io_uring_cqe *c;
    unsigned head, seen = 0;
    int good = 0;
    need(io_uring_submit_and_wait(&ring, (unsigned)n) == n, "io_uring");
    io_uring_for_each_cqe(&ring, head, c) {
        seen++;
        good += c->res > 0;
        if (c->res > 0)
            frames[c->user_data].v[1].iov_len = (size_t)c->res - sizeof frames->header;
    }
    io_uring_cq_advance(&ring, seen);
    return good;
}

static int by_ring(int n)
{
    for (int i = 0; i < n; i++) {
        struct io_uring_sqe *s = io_uring_get_sqe(&ring);
        io_uring_prep_readv(s, from, frames[i].v, 2, 0);
        s->user_data = (uint64_t)i;
    }
    int k = carry_out(n);      /* the first ones: they were asked for in order */
    for (int i = 0; i < k; i++) {
        struct io_uring_sqe *s = io_uring_get_sqe(&ring);
        io_uring_prep_writev(s, to, frames[i].v, 2, 0);
        s->user_data = (uint64_t)i;
    }
    need(!k || carry_out(k) == k, "write");
    return k;
}

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cost(int (*move)(int), int n)
{
    double before = now(CLOCK_THREAD_CPUTIME_ID), end = now(CLOCK_MONOTONIC) + SECONDS;
    unsigned long moved = 0;
    while (now(CLOCK_MONOTONIC) < end) {
        for (int i = 0; i < n; i++) {
            frames[i].v[0] = (struct iovec){frames[i].header, sizeof frames[i].header};
            frames[i].v[1] = (struct iovec){frames[i].bytes, ROOM};
        }
        int k = move(n);
        if (!k)
            sched_yield();
        moved += (unsigned)k;
    }
    return (now(CLOCK_THREAD_CPUTIME_ID) - before) * 1e9 / (double)(moved ? moved : 1);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static const int batches[] = {1, 2, 4, 8, 16, 32};
    size_t len = argc > 1 ? (size_t)atoi(argv[1]) : 60;
    pthread_t sender;
    need(len >= 60 && len <= ROOM, "FRAME_BYTES");
    need(!unshare(CLONE_NEWNET), "a network namespace");
    from = make_tap("from");
    to = make_tap("to");
    int e = io_uring_queue_init(2 * MOST, &ring, 0);
    if (e) {
        fprintf(stderr, "no io_uring here: %s\n", strerror(-e));
        return 1;
    }
    pthread_create(&sender, NULL, send_frames, &len);
    printf("| frames a call, %zu bytes | readv, writev | io_uring | ratio |\n|---|---|---|---|\n", len);
    for (unsigned b = 0; b < sizeof batches / sizeof *batches; b++) {
        double calls[ROUNDS], rings[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            calls[i] = cost(by_calls, batches[b]);
            rings[i] = cost(by_ring, batches[b]);
        }
        qsort(calls, ROUNDS, sizeof *calls, ascending);
        qsort(rings, ROUNDS, sizeof *rings, ascending);
        printf("| %d | %.0f ns | %.0f ns | %.2f |\n", batches[b], calls[ROUNDS / 2], rings[ROUNDS / 2], rings[ROUNDS / 2] / calls[ROUNDS / 2]);
    }
    stop = true;
    pthread_join(sender, NULL);
    return 0;
}
