/* A run of bits of a match field, as Nicira's actions, copy-field and masked set-field name them; and the headers, of any
 * dialect, by which a field is named on the wire. Values are numbers of up to 128 bits. */
#ifndef VSWITCH_SUBFIELD_H
#define VSWITCH_SUBFIELD_H
#include <stdbool.h>
#include <stddef.h>
#include "flow/fields.h"
#include "flow/key.h"

typedef unsigned __int128 u128;

/* Fields that only NXM knows: views of others. */
enum {
    PF_VLAN_TCI = N_FIELDS,    /* the outer tag's 16 bits, with OFPVID_PRESENT for CFI */
    PF_IP_TOS,                 /* ip_dscp, shifted left by 2 */
    PF_IN_PORT16,              /* OpenFlow 1.0's port number */
    N_ALL_FIELDS
};

struct subfield {
    int field;
    uint16_t ofs, n_bits;
};

/* What a match field's header says, in whatever dialect: OXM, NXM, or ONF's experimenter class. */
struct field_header {
    int field;                 /* or a PF_* */
    bool has_mask;
    uint8_t length;            /* of the payload as the header has it, experimenter id included */
    uint8_t size;              /* bytes of the header: 4 or 8 */
};

/* Reads the header at `data`. 0, -EINVAL for a cut-off one, -ENOENT for a field that is not known (size and length are
 * filled in). */
int field_header_parse(const uint8_t *data, size_t len, struct field_header *h);
/* The header by which NXM's users know the field: NXM's where there is one, else OXM's; with length. */
uint32_t field_nxm_header(int field);

unsigned field_bits(int field);
unsigned field_bytes(int field);
const char *field_name(int field);
uint32_t field_prereq(int field);
bool field_settable(int field);

u128 field_get(const union key_words *k, int field);
void field_set(union key_words *k, int field, u128 value);

static inline u128 bits_mask(unsigned n)
{
    return n >= 128 ? ~(u128)0 : ((u128)1 << n) - 1;
}

static inline u128 subfield_get(const union key_words *k, const struct subfield *s)
{
    return field_get(k, s->field) >> s->ofs & bits_mask(s->n_bits);
}

static inline void subfield_set(union key_words *k, const struct subfield *s, u128 value)
{
    u128 mask = bits_mask(s->n_bits) << s->ofs;
    field_set(k, s->field, (field_get(k, s->field) & ~mask) | (value << s->ofs & mask));
}

/* Big-endian numbers of `n` bytes, at most 16. */
u128 number_get(const uint8_t *p, unsigned n);
void number_put(uint8_t *p, unsigned n, u128 v);

#endif
