/* Objects of a bridge by their 32-bit number: groups, meters. Main thread changes, workers look up (RCU): the map is replaced as
 * a whole. */
#ifndef VSWITCH_ID_MAP_H
#define VSWITCH_ID_MAP_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct id_map {
    uint32_t n;
    struct id_entry {
        uint32_t id;
        void *object;
    } at[];                    /* by rising id */
};

typedef struct id_map *_Atomic id_map_ref;

/* The object, or NULL. Readers inside a read-side section. */
void *id_map_find(id_map_ref *ref, uint32_t id);
/* Puts `object` in under `id`, in place of what was there; NULL takes it out. 0 or -ENOMEM. */
int id_map_set(id_map_ref *ref, uint32_t id, void *object);
void id_map_free(id_map_ref *ref);

#endif
