/* A controller that sends as fast as it can: N flow_mods (OpenFlow 1.3, five fields, a set-field and an output each) over each
 * of the Unix sockets named, then a barrier; tells the seconds from the first byte to the last barrier's reply.
 *
 * flow_sender N FIRST SOCKET... : rules are numbered from FIRST on, so that a second run adds others.
 * flow_sender bundle N FIRST SOCKET... : the same as one ordered, atomic bundle each (ONF's extension 230 of OpenFlow 1.3), until its
 * commit's reply.
 * flow_sender file PATH SOCKET : sends the messages in that file, then a barrier; tells the seconds until its reply, and the errors.
 * flow_sender dump SOCKET : asks for all rules and counts the entries of the answer, as fast as it comes; tells the seconds and
 * their number. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>

enum { HELLO = 0, ERROR = 1, ECHO_REQUEST = 2, EXPERIMENTER = 4, FLOW_MOD = 14, MULTIPART_REQUEST = 18, MULTIPART_REPLY = 19, BARRIER = 20, BARRIER_REPLY = 21, MAX_MESSAGE = 256 };

enum { BUNDLE_OPEN = 0, BUNDLE_COMMIT = 4, BUNDLE_COMMIT_REPLY = 5, BUNDLE_CONTROL = 2300, BUNDLE_ADD = 2301, ADD_HEAD = 24 };

struct sender {
    int fd;
    const uint8_t *at;
    size_t left, held;
    uint8_t in[65536];
    int done, errors;
};

static uint8_t *put16(uint8_t *p, uint16_t v)
{
    v = htons(v);
    memcpy(p, &v, 2);
    return p + 2;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    v = htonl(v);
    memcpy(p, &v, 4);
    return p + 4;
}

static size_t header(uint8_t *out, uint8_t type, uint16_t len, uint32_t xid)
{
    out[0] = 4;
    out[1] = type;
    put16(out + 2, len);
    put32(out + 4, xid);
    return len;
}

static size_t flow_mod(uint8_t *out, uint32_t i)
{
    memset(out, 0, MAX_MESSAGE);
    uint8_t *p = out + 8 + 16;
    p += 2;                    /* table 0, add */
    p += 4;                    /* no timeouts */
    p = put16(p, 100);
    p = put32(p, 0xffffffff);
    p = put32(p, 0xffffffff);
    p = put32(p, 0xffffffff);
    p += 4;                    /* flags */
    uint8_t *match = p;
    p = put16(p, 1) + 2;
    p = put32(put32(p, 0x80000004), 1);
    p = put16(put32(p, 0x80000a02), 0x0800);
    p = put32(p, 0x80001401);
    *p++ = 6;
    p = put32(put32(p, 0x80001804), 0x0a000000 + i);
    p = put16(put32(p, 0x80001c02), 80);
    put16(match + 2, (uint16_t)(p - match));
    p = match + (p - match + 7) / 8 * 8;
    uint8_t *apply = p;
    p = put16(p, 4) + 6;
    p = put16(put16(p, 25), 16);
    p = put32(p, 0x80000606);
    memcpy(p, "\2\0\0\0\0\1", 6);
    p += 8;
    p = put32(put16(put16(p, 0), 16), 2);
    p += 8;
    put16(apply + 2, (uint16_t)(p - apply));
    return header(out, FLOW_MOD, (uint16_t)(p - out), i + 1);
}

static size_t bundle(uint8_t *out, uint32_t experiment, uint16_t type, size_t len, uint32_t xid)
{
    put16(put16(put32(put32(put32(out + 8, 0x4f4e4600), experiment), 1), type), 3);
    return header(out, EXPERIMENTER, (uint16_t)len, xid);
}

static size_t bundled(uint8_t *out, uint32_t i)
{
    size_t len = flow_mod(out + ADD_HEAD, i);
    return bundle(out, BUNDLE_ADD, 0, ADD_HEAD + len, i + 1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void take(struct sender *s)
{
    ssize_t n = recv(s->fd, s->in + s->held, sizeof s->in - s->held, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            exit((fprintf(stderr, "connection lost\n"), 1));
        return;
    }
    s->held += (size_t)n;
    size_t at = 0;
    while (s->held - at >= 8) {
        size_t len = (size_t)(s->in[at + 2] << 8 | s->in[at + 3]);
        if (s->held - at < len)
            break;
        if (s->in[at + 1] == BARRIER_REPLY || (s->in[at + 1] == EXPERIMENTER && s->in[at + 21] == BUNDLE_COMMIT_REPLY))
            s->done = 1;
        if (s->in[at + 1] == ERROR)
            s->errors++;
        at += len;
    }
    memmove(s->in, s->in + at, s->held -= at);
}

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    uint8_t hello[8], answer[65536];
    strncpy(a.sun_path, path, sizeof a.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a))
        exit((perror(path), 1));
    send(fd, hello, header(hello, HELLO, 8, 0), 0);
    recv(fd, answer, sizeof answer, 0);
    return fd;
}

/* Rules in one part of the answer, each behind its length. */
static long entries(const uint8_t *p, size_t len)
{
    long n = 0;
    for (size_t at = 16; at + 2 <= len; n++)
        at += (size_t)(p[at] << 8 | p[at + 1]);
    return n;
}

static int dump(const char *path)
{
    static uint8_t in[1 << 20];
    uint8_t request[56] = {0};
    int fd = connect_to(path);
    header(request, MULTIPART_REQUEST, sizeof request, 1);
    put16(request + 8, 1);
    request[16] = 0xff;
    put32(put32(request + 20, 0xffffffff), 0xffffffff);
    put16(put16(request + 48, 1), 4);
    double start = now();
    send(fd, request, sizeof request, 0);
    size_t held = 0;
    long rules = 0;
    for (int more = 1; more;) {
        ssize_t n = recv(fd, in + held, sizeof in - held, 0);
        if (n <= 0)
            return fprintf(stderr, "connection lost\n"), 1;
        held += (size_t)n;
        size_t at = 0;
        for (size_t len; held - at >= 16 && held - at >= (len = (size_t)(in[at + 2] << 8 | in[at + 3])); at += len) {
            if (in[at + 1] == ERROR)
                return fprintf(stderr, "refused\n"), 1;
            if (in[at + 1] != MULTIPART_REPLY)
                continue;
            rules += entries(in + at, len);
            more = in[at + 11] & 1;
        }
        memmove(in, in + at, held -= at);
    }
    printf("%.6f %ld\n", now() - start, rules);
    return 0;
}

/* The file's bytes with a barrier behind them. */
static uint8_t *load(const char *path, uint8_t **end)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END))
        exit((perror(path), 1));
    size_t size = (size_t)ftell(f);
    uint8_t *all = malloc(size + 8);
    rewind(f);
    if (!all || fread(all, 1, size, f) != size)
        exit((perror(path), 1));
    fclose(f);
    *end = all + size + header(all + size, BARRIER, 8, 0xffffff);
    return all;
}

/* `n` rules from number `first` on. */
static uint8_t *make(int in_bundle, uint32_t n, uint32_t first, uint8_t **end)
{
    uint8_t *all = malloc((size_t)(n + 2) * (ADD_HEAD + MAX_MESSAGE)), *p = all;
    if (in_bundle)
        p += bundle(p, BUNDLE_CONTROL, BUNDLE_OPEN, ADD_HEAD, 1);
    for (uint32_t i = 0; i < n; i++)
        p += in_bundle ? bundled(p, first + i) : flow_mod(p, first + i);
    p += in_bundle ? bundle(p, BUNDLE_CONTROL, BUNDLE_COMMIT, ADD_HEAD, 0xffffff) : header(p, BARRIER, 8, 0xffffff);
    *end = p;
    return all;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "dump"))
        return dump(argv[2]);
    int from_file = argc == 4 && !strcmp(argv[1], "file");
    int in_bundle = argc > 1 && !strcmp(argv[1], "bundle");
    argv += in_bundle;
    argc -= in_bundle;
    int m = argc - 3, open = m;
    uint8_t *end, *all = from_file ? load(argv[2], &end) : make(in_bundle, (uint32_t)atoi(argv[1]), (uint32_t)atoi(argv[2]), &end);
    struct sender *senders = calloc((size_t)m, sizeof *senders);
    struct pollfd *polls = calloc((size_t)m, sizeof *polls);
    for (int i = 0; i < m; i++) {
        senders[i].fd = connect_to(argv[i + 3]);
        senders[i].at = all;
        senders[i].left = (size_t)(end - all);
    }
    usleep(200000);
    double start = now();
    while (open) {
        for (int i = 0; i < m; i++)
            polls[i] = (struct pollfd){senders[i].fd, (short)(POLLIN | (senders[i].left ? POLLOUT : 0)), 0};
        poll(polls, (nfds_t)m, 10000);
        for (int i = 0; i < m; i++) {
            struct sender *s = &senders[i];
            if (s->done)
                continue;
            if (s->left && polls[i].revents & POLLOUT) {
                ssize_t sent = send(s->fd, s->at, s->left < 262144 ? s->left : 262144, MSG_DONTWAIT);
                if (sent > 0) {
                    s->at += sent;
                    s->left -= (size_t)sent;
                }
            }
            if (polls[i].revents & (POLLIN | POLLHUP))
                take(s);
            open -= s->done;
        }
    }
    int errors = 0;
    for (int i = 0; i < m; i++)
        errors += senders[i].errors;
    printf("%.6f %d\n", now() - start, errors);
    return 0;
}
