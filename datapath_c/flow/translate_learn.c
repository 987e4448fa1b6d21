/* Nicira's learn: what a packet's walk makes of it is a flow_mod, which the main thread carries out (path/learn.c). */
#include "base/bytes.h"
#include "flow/nicira.h"
#include "flow/tally.h"
#include "flow/translating.h"

#define MAX_LEARNED 2048       /* bytes of a learned rule's flow_mod */

static u128 source_value(struct translation *x, const struct learn_spec *s)
{
    if (s->immediate)
        return number_get(s->value, (s->n_bits + 15u) / 16 * 2) & bits_mask(s->n_bits);
    return read_subfield(x, &s->src);
}

static size_t put_load(uint8_t *out, const struct subfield *dst, u128 value)
{
    uint32_t header = field_nxm_header(dst->field);
    put16(out, OFPAT_EXPERIMENTER);
    put32(out + 4, NX_VENDOR);
    if (dst->n_bits <= 64) {
        put16(out + 2, 24);
        put16(out + 8, NXAST_REG_LOAD);
        put16(out + 10, (uint16_t)(dst->ofs << 6 | (dst->n_bits - 1)));
        put32(out + 12, header);
        put64(out + 16, (uint64_t)value);
        return 24;
    }
    unsigned n = field_bytes(dst->field);
    size_t len = (NX_HEADER + 4u + 2 * n + 7) / 8 * 8;
    memset(out + NX_HEADER, 0, len - NX_HEADER);
    put16(out + 2, (uint16_t)len);
    put16(out + 8, NXAST_REG_LOAD2);
    put32(out + NX_HEADER, (header & ~0xffu) | 1 << 8 | 2 * n);
    number_put(out + NX_HEADER + 4, n, value << dst->ofs);
    number_put(out + NX_HEADER + 4 + n, n, bits_mask(dst->n_bits) << dst->ofs);
    return len;
}

static size_t put_output(uint8_t *out, uint32_t port)
{
    memset(out, 0, 16);
    put16(out + 2, 16);
    put32(out + 4, port);
    return 16;
}

/* A learned rule's first action: its timeouts shrink when a connection ends. */
static size_t put_fin_timeout(uint8_t *out, const uint8_t *timeouts)
{
    memset(out, 0, 16);
    put16(out, OFPAT_EXPERIMENTER);
    put16(out + 2, 16);
    put32(out + 4, NX_VENDOR);
    put16(out + 8, NXAST_FIN_TIMEOUT);
    memcpy(out + NX_HEADER, timeouts, 4);
    return 16;
}

/* Whether the rule may be there as far as the limit goes: it is there already, or it is one of few. */
static bool is_within(const struct bridge *b, const uint8_t *a, const struct match *m, uint32_t limit)
{
    struct table *t = atomic_load_explicit(&((struct bridge *)b)->tables[a[26]], memory_order_acquire);
    if (!t || tally_below(t, get64(a + 16), limit))
        return t != NULL;
    const struct subtables *masks = atomic_load_explicit(&t->cls.subtables, memory_order_acquire);
    step(masks ? (int32_t)masks->n / 8 + 1 : 1);
    uint32_t version = atomic_load_explicit(&((struct bridge *)b)->version, memory_order_acquire);
    struct cls_rule *same = classifier_find(&t->cls, m, get16(a + 14), version);
    return same && rule_of(same)->cookie == get64(a + 16);
}

void learn_action(struct translation *x, const uint8_t *a, size_t len)
{
    uint8_t actions[MAX_LEARNED / 2];
    struct match m = {0};
    struct learn_spec s;
    struct subfield result = {0};
    bool second = get16(a + 8) == NXAST_LEARN2;
    size_t n = get32(a + 28) ? put_fin_timeout(actions, a + 28) : 0, at = second ? NX_LEARN2_FIXED : NX_LEARN_FIXED;
    if (second)
        nx_learn_result(a, len, &at, &result);
    while (!nx_learn_next(a, len, &at, &s)) {
        step(1);
        u128 v = source_value(x, &s);
        if (s.dst_type == NX_LEARN_DST_MATCH) {
            subfield_set(&m.value, &s.dst, v);
            subfield_set(&m.mask, &s.dst, bits_mask(s.n_bits));
            continue;
        }
        if (n + 64 > sizeof actions) {
            x->overflow = true;
            return;
        }
        if (s.dst_type == NX_LEARN_DST_LOAD)
            n += put_load(actions + n, &s.dst, v);
        else
            n += put_output(actions + n, s.n_bits == 16 && v >= 0xff00 ? 0xffff0000u | (uint32_t)v : (uint32_t)v);
    }
    uint32_t limit = second ? get32(a + NX_LEARN2_LIMIT) : 0;
    bool within = !limit || is_within(x->bridge, a, &m, limit);
    if (result.n_bits)
        write_subfield(x, &result, within);
    if (!within) {
        TRACE(x, "    learn: table %u has its %u rules with this cookie\n", a[26], limit);
        return;
    }
    struct learned *l = (struct learned *)emit_bytes(x, sizeof *l + MAX_LEARNED);
    if (!l)
        return;
    uint8_t *d = l->flow_mod;
    memset(d, 0, OFP_FLOW_MOD_FIXED);
    memcpy(d, a + 16, 8);      /* cookie */
    d[16] = a[26];
    d[17] = OFPFC_ADD;
    memcpy(d + 18, a + 10, 6); /* idle and hard timeout, priority */
    put32(d + 24, OFP_NO_BUFFER);
    put32(d + 28, OFPP_ANY);
    put32(d + 32, OFPG_ANY);
    put16(d + 36, get16(a + 24) & NX_LEARN_F_SEND_FLOW_REM ? OFPFF_SEND_FLOW_REM : 0);
    int match_len = match_serialise(&m, d + OFP_FLOW_MOD_FIXED, MAX_LEARNED - sizeof actions - OFP_FLOW_MOD_FIXED - 8);
    if (match_len < 0) {
        x->overflow = true;
        return;
    }
    size_t end = OFP_FLOW_MOD_FIXED + (size_t)match_len;
    if (n) {
        put16(d + end, OFPIT_APPLY_ACTIONS);
        put16(d + end + 2, (uint16_t)(8 + n));
        put32(d + end + 4, 0);
        memcpy(d + end + 8, actions, n);
        end += 8 + n;
    }
    l->asked = 0;
    l->limit = limit;
    l->len = (uint32_t)end;
    x->n_bytes -= (unsigned)((MAX_LEARNED - end) / 8 * 8);
    struct op *op = emit(x, OP_LEARN);
    op->bytes = (const uint8_t *)l;
    op->len = (uint32_t)(sizeof *l + end);
    TRACE(x, "    learn: a rule for table %u, priority %u\n", d[16], get16(d + 22));
}
