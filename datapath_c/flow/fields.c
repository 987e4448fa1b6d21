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

int field_by_oxm(uint16_t class, uint8_t field)
{
    if (class == 0x8000)
        return field <= F_IPV6_EXTHDR ? field : -1;
    if (class == 0x0001)
        for (int i = F_TUN_IPV4_SRC; i < N_FIELDS; i++)
            if ((fields[i].oxm >> 9 & 0x7f) == field)
                return i;
    return -1;
}

const struct dp_field *dp_field_at(uint32_t i)
{
    return i < N_FIELDS ? &fields[i] : NULL;
}
