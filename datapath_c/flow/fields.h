/* Match fields: their ids, and where each lies in struct key. The list itself is fields.def. */
#ifndef VSWITCH_FIELDS_H
#define VSWITCH_FIELDS_H
#include <stdint.h>
#include "channel/contract.h"

enum field_id {
#define FIELD(id, ...) F_##id,
#include "flow/fields.def"
#undef FIELD
    N_FIELDS
};

/* Where the field's value lies in struct key, in network byte order. */
struct field_place {
    uint16_t offset;
    uint16_t size;
};

extern const struct dp_field fields[N_FIELDS];
extern const struct field_place field_places[N_FIELDS];

/* The field of OXM or NXM class `class` and number `number` (may be a PF_* of subfield.h), or -1. */
int field_by_oxm(uint16_t class, uint8_t number);

#endif
