#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include "base/bytes.h"
#include "channel/exchange.h"
#include "codec/codec.h"

enum { OF_HEADER = 8, OFPT10_BARRIER_REQUEST = 18, OFPT_BARRIER_REQUEST = 20, MOST = 16 };

/* The request's length; 0 where the bytes are something else. */
static size_t make_request(struct exchange *x, const uint8_t *in, size_t len)
{
    const uint8_t *barrier = in + len - OF_HEADER;
    if (len <= OF_HEADER || barrier[0] != x->version || get16(barrier + 2) != OF_HEADER ||
        barrier[1] != (x->version == 1 ? OFPT10_BARRIER_REQUEST : OFPT_BARRIER_REQUEST))
        return 0;
    struct codec_run runs[1];
    uint32_t items[MOST];
    size_t used, room = sizeof x->sent - sizeof(struct dp_msg) - 4;
    uint8_t *batch = x->sent + sizeof(struct dp_msg) + 4;
    uint32_t n = codec_scan(x->version, x->form, in, len - OF_HEADER, batch, room, room, items, MOST, runs, 1, &used);
    if (n != 1 || used != len - OF_HEADER || runs[0].kind != CODEC_FLOW_MODS)
        return 0;
    x->n = runs[0].n;
    x->at = sizeof(struct dp_msg) + 4;
    x->len = runs[0].out_len;
    struct dp_msg head = {.type = DP_FLOW_MOD, .flags = DP_F_BARRIER, .xid = x->xid, .object = x->object, .len = 4 + x->len};
    memcpy(x->sent, &head, sizeof head);
    memcpy(x->sent + sizeof head, &x->n, 4);
    return x->at + x->len;
}

static ssize_t await(struct exchange *x)
{
    struct pollfd p = {.fd = x->fd, .events = POLLIN};
    struct timespec t = {.tv_nsec = (long)(x->microseconds % 1000000) * 1000};
    if (ppoll(&p, 1, &t, NULL) <= 0)
        return 0;
    ssize_t n = recv(x->fd, x->got, sizeof x->got, MSG_DONTWAIT);
    return n > 0 ? n : 0;
}

static int is_clean(const struct exchange *x)
{
    struct dp_msg head;
    struct dp_batch_reply reply;
    if (x->got_len != sizeof head + sizeof reply)
        return 0;
    memcpy(&head, x->got, sizeof head);
    memcpy(&reply, x->got + sizeof head, sizeof reply);
    return head.type == DP_FLOW_MOD && head.flags == DP_F_REPLY && head.xid == x->xid && head.len == sizeof reply &&
           !reply.n_errors;
}

int exchange_rules(struct exchange *x, const uint8_t *in, uint32_t len)
{
    size_t n = make_request(x, in, len);
    if (!n || send(x->fd, x->sent, n, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)n)
        return EXCHANGE_NOT;
    x->got_len = (uint32_t)await(x);
    if (!is_clean(x))
        return EXCHANGE_SENT;
    codec_make_records(x->sent + x->at, x->len);
    return EXCHANGE_DONE;
}
