/* A match: value and mask over the key. Bits outside the mask are zero in the value. */
#ifndef VSWITCH_MATCH_H
#define VSWITCH_MATCH_H
#include <stdbool.h>
#include <stddef.h>
#include "base/fault.h"
#include "flow/fields.h"
#include "flow/key.h"

struct match {
    union key_words value, mask;
};

/* The words of a match whose mask is not zero, in order: how rules and masks are stored. `map` has bit i for word i. */
struct sparse {
    uint32_t map;
    uint64_t words[];
};

/* Parses a struct ofp_match (with its header and padding) at `data`; at most `len` bytes. Returns the bytes consumed, padding
 * included, or a negative errno with an OFPET_BAD_MATCH fault. OpenFlow 1.3.5, 7.2.3. */
int match_parse(const uint8_t *data, size_t len, struct match *m, fault *f);
/* Writes the ofp_match of `m` with header and padding; returns its length (a multiple of 8), or -ENOBUFS. */
int match_serialise(const struct match *m, uint8_t *out, size_t size);
/* The same, where `ids` are the only fields that have bits in the mask (match_fields()). */
int match_serialise_fields(const struct match *m, const uint8_t *ids, unsigned n, uint8_t *out, size_t size);
/* The fields that have bits in a mask, in order; at most `max`. */
unsigned match_fields(const union key_words *mask, uint8_t *ids, unsigned max);
/* One OXM TLV, as in set-field. Returns bytes of the TLV, or a negative errno. `*has_mask` as in the header. */
int oxm_parse(const uint8_t *data, size_t len, int *field, uint8_t value[16], uint8_t mask[16], bool *has_mask, fault *f);
/* Appends the OXM TLV of a field with its full mask; returns bytes written. The value is in network order. */
size_t oxm_put(uint8_t *out, int field, const void *value);
/* Whether what the match fixes satisfies `prereq` (enum dp_prereq). */
bool match_has_prereq(const struct match *m, uint32_t prereq);

static inline void field_store(union key_words *k, int field, const uint8_t *v)
{
    memcpy((uint8_t *)k + field_places[field].offset, v, field_places[field].size);
}

static inline void field_load(const union key_words *k, int field, uint8_t *v)
{
    memcpy(v, (const uint8_t *)k + field_places[field].offset, field_places[field].size);
}

#endif
