#include "flow/fields.h"
#include <stddef.h>
#include "flow/key.h"

const struct dp_field fields[N_FIELDS] = {
#define FIELD(id, label, class, number, nbits, nbytes, member, mask, set, pre)                                         \
    [F_##id] = {.name = label, .oxm = (uint32_t)(class) << 16 | (number) << 9, .bits = nbits, .bytes = nbytes,         \
                .maskable = mask, .settable = set, .prereq = DP_PRE_##pre},
#include "flow/fields.def"
#undef FIELD
};

const struct field_place field_places[N_FIELDS] = {
#define FIELD(id, label, class, number, nbits, nbytes, member, mask, set, pre)                                         \
    [F_##id] = {offsetof(struct key, member), nbytes},
#include "flow/fields.def"
#undef FIELD
};

const struct dp_field *dp_field_at(uint32_t i)
{
    return i < N_FIELDS ? &fields[i] : NULL;
}
