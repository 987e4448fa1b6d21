#include "flow/nicira.h"
#include <errno.h>
#include "flow/openflow.h"

/* The header at action[*at]; *at moves past it. */
static int take_field(const uint8_t *action, size_t len, size_t *at, int *field)
{
    struct field_header h;
    if (*at > len)
        return -EINVAL;
    int e = field_header_parse(action + *at, len - *at, &h);
    *at += h.size;
    *field = h.field;
    return e;
}

int nx_move_parse(const uint8_t *a, size_t len, struct move *m)
{
    /* n_bits, src_ofs, dst_ofs; then the headers: OpenFlow 1.5.1, 7.2.6.8 (copy-field); ONF's and Nicira's alike. */
    size_t numbers = get16(a) == OFPAT_COPY_FIELD ? 4 : get32(a + 4) == ONF_VENDOR ? 12 : 10;
    size_t at = get16(a) == OFPAT_COPY_FIELD ? 12 : get32(a + 4) == ONF_VENDOR ? 20 : 16;
    if (len < at)
        return -EINVAL;
    m->src.n_bits = m->dst.n_bits = get16(a + numbers);
    m->src.ofs = get16(a + numbers + 2);
    m->dst.ofs = get16(a + numbers + 4);
    int e = take_field(a, len, &at, &m->src.field);
    return e ? e : take_field(a, len, &at, &m->dst.field);
}

int nx_output_reg_parse(const uint8_t *a, size_t len, struct subfield *src, uint16_t *max_len)
{
    int field;
    if (len != 24)
        return -EINVAL;
    bool second = get16(a + 8) == NXAST_OUTPUT_REG2;
    size_t at = second ? 14 : 12;
    int e = take_field(a, len, &at, &field);
    *src = nx_subfield(field, get16(a + 10));
    *max_len = get16(a + (second ? 12 : 16));
    return e;
}

int nx_stack_parse(const uint8_t *a, size_t len, struct subfield *s)
{
    if (len != 24)
        return -EINVAL;
    size_t at = 12;
    int e = take_field(a, len, &at, &s->field);
    s->ofs = get16(a + 10);
    s->n_bits = at + 2 <= len ? get16(a + at) : 0;
    return e;
}

int nx_learn_result(const uint8_t *a, size_t len, size_t *at, struct subfield *s)
{
    if (!(get16(a + 24) & NX_LEARN_F_WRITE_RESULT))
        return 0;
    s->ofs = get16(a + NX_LEARN2_RESULT);
    s->n_bits = 1;
    return take_field(a, len, at, &s->field);
}

int nx_learn_next(const uint8_t *a, size_t len, size_t *at, struct learn_spec *s)
{
    if (*at + 2 > len)
        return 1;
    uint16_t header = get16(a + *at);
    if (!header)
        return 1;              /* padding */
    *at += 2;
    s->n_bits = header & NX_LEARN_N_BITS;
    s->dst_type = header & NX_LEARN_DST;
    s->immediate = header & NX_LEARN_SRC_IMMEDIATE;
    if (header >> 14 || s->dst_type == NX_LEARN_DST)
        return -ENOENT;
    if (s->immediate) {
        size_t bytes = (s->n_bits + 15u) / 16 * 2;
        if (*at + bytes > len || s->n_bits > 128)
            return -EINVAL;
        s->value = a + *at;
        *at += bytes;
    } else {
        int e = take_field(a, len, at, &s->src.field);
        if (e || *at + 2 > len)
            return e ? e : -EINVAL;
        s->src.n_bits = s->n_bits;
        s->src.ofs = get16(a + *at);
        *at += 2;
    }
    if (s->dst_type == NX_LEARN_DST_OUTPUT)
        return 0;
    int e = take_field(a, len, at, &s->dst.field);
    if (e || *at + 2 > len)
        return e ? e : -EINVAL;
    s->dst.n_bits = s->n_bits;
    s->dst.ofs = get16(a + *at);
    *at += 2;
    return 0;
}

int nx_tlv_parse(const uint8_t *tlv, size_t len, int *field, u128 *value, u128 *mask)
{
    struct field_header h;
    int e = field_header_parse(tlv, len, &h);
    if (e)
        return e;
    unsigned n = field_bytes(h.field);
    if (4u + h.length > len || h.length - (h.size - 4u) != n * (h.has_mask ? 2 : 1))
        return -EINVAL;
    *field = h.field;
    *value = number_get(tlv + h.size, n);
    *mask = h.has_mask ? number_get(tlv + h.size + n, n) : bits_mask(field_bits(h.field));
    return 4 + h.length;
}

const uint8_t *nx_next_applied(const uint8_t *instructions, size_t len, size_t *at, uint16_t subtype)
{
    for (size_t o = 0; o + 8 <= len; o += get16(instructions + o + 2)) {
        size_t end = o + get16(instructions + o + 2);
        if (get16(instructions + o) != OFPIT_APPLY_ACTIONS || *at >= end)
            continue;
        if (*at < o + 8)
            *at = o + 8;
        while (*at + 16 <= end) {
            const uint8_t *a = instructions + *at;
            *at += get16(a + 2);
            if (get16(a) == OFPAT_EXPERIMENTER && get32(a + 4) == NX_VENDOR && get16(a + 8) == subtype)
                return a;
        }
    }
    return NULL;
}
