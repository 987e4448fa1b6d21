/* Groups and meters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "channel/handlers.h"
#include "flow/group.h"
#include "flow/meter.h"

#define PART_MAX (DP_MSG_MAX - sizeof(struct dp_msg))
#define OFPG_ALL 0xfffffffcu
#define ENTRY_MAX 65535

enum { OFPMMFC_UNKNOWN_METER = 3 };

int handle_group_mod(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    int e = b ? group_mod(b, body, m->len, f) : -ENOENT;
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

int handle_meter_mod(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    int e = b ? meter_mod(b, body, m->len, f) : -ENOENT;
    if (!e)
        reply(c, m, NULL, 0);
    return e;
}

typedef size_t (*put_fn)(const struct bridge *b, const void *object, uint8_t *out, size_t size);

/* Every object of the map, or the one of that number, in as many parts as they take. */
static int tell(struct client *c, const struct dp_msg *m, const struct bridge *b, id_map_ref *ref, uint32_t number,
                uint32_t all, put_fn put, fault *f)
{
    const struct id_map *map = atomic_load_explicit(ref, memory_order_relaxed);
    uint8_t *out = malloc(PART_MAX + ENTRY_MAX);
    size_t len = 0;
    if (!out)
        return fault_set(f, ENOMEM, "", "out of memory");
    for (uint32_t i = 0; map && i < map->n; i++) {
        if (number != all && map->at[i].id != number)
            continue;
        size_t n = put(b, map->at[i].object, out + len, ENTRY_MAX);
        if (len && len + n > PART_MAX) {
            reply_more(c, m, out, len);
            memmove(out, out + len, n);
            len = 0;
        }
        len += n;
    }
    reply(c, m, out, len);
    free(out);
    return 0;
}

static size_t put_desc(const struct bridge *b, const void *object, uint8_t *out, size_t size)
{
    (void)b;
    return group_desc_put(object, out, size);
}

static size_t put_stats(const struct bridge *b, const void *object, uint8_t *out, size_t size)
{
    return group_stats_put(b, object, clock_now(), out, size);
}

static size_t put_config(const struct bridge *b, const void *object, uint8_t *out, size_t size)
{
    (void)b;
    (void)size;
    return meter_config_put(object, out);
}

static size_t put_meter_stats(const struct bridge *b, const void *object, uint8_t *out, size_t size)
{
    (void)size;
    return meter_stats_put(b, object, clock_now(), out);
}

static int tell_groups(struct client *c, const struct dp_msg *m, const uint8_t *body, put_fn put, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    struct dp_number which;
    if (!b)
        return -ENOENT;
    memcpy(&which, body, sizeof which);
    return tell(c, m, b, &b->groups, which.number, OFPG_ALL, put, f);
}

static int tell_meters(struct client *c, const struct dp_msg *m, const uint8_t *body, put_fn put, fault *f)
{
    struct bridge *b = datapath_bridge(client_datapath(c), m->object, f);
    struct dp_number which;
    if (!b)
        return -ENOENT;
    memcpy(&which, body, sizeof which);
    if (which.number != OFPM_ALL && !meter_find(b, which.number))
        return fault_openflow(f, OFPET_METER_MOD_FAILED, OFPMMFC_UNKNOWN_METER, "meter_id", "there is no meter %u",
                              which.number);
    return tell(c, m, b, &b->meters, which.number, OFPM_ALL, put, f);
}

int handle_group_desc(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    return tell_groups(c, m, body, put_desc, f);
}

int handle_group_stats(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    return tell_groups(c, m, body, put_stats, f);
}

int handle_meter_config(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    return tell_meters(c, m, body, put_config, f);
}

int handle_meter_stats(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    return tell_meters(c, m, body, put_meter_stats, f);
}
