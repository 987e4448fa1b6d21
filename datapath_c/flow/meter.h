/* Meters (OpenFlow 1.3.5, 5.7; 1.5.1, 5.11): packets above a rate are dropped or marked. A meter is replaced as a whole when it
 * changes; any worker meters through it, without locks. */
#ifndef VSWITCH_METER_H
#define VSWITCH_METER_H
#include "base/fault.h"
#include "base/packet.h"
#include "base/rate.h"
#include "flow/bridge.h"

#define METER_MAX_BANDS 8
#define BRIDGE_MAX_METERS 65536
#define OFPM_MAX 0xffff0000u
#define OFPM_SLOWPATH 0xfffffffdu
#define OFPM_CONTROLLER 0xfffffffeu
#define OFPM_ALL 0xffffffffu

enum { OFPMF_KBPS = 1, OFPMF_PKTPS = 2, OFPMF_BURST = 4, OFPMF_STATS = 8 };
enum { OFPMBT_DROP = 1, OFPMBT_DSCP_REMARK = 2 };

struct meter_counts {
    uint64_t packets, bytes;
};

struct band {
    uint16_t type;
    uint8_t prec_level;
    uint32_t rate, burst;
    struct rate pace;          /* of bits or packets */
};

struct meter {
    uint32_t id;
    uint16_t flags;
    uint32_t n_bands, n_workers;
    uint64_t created;
    struct meter_counts *counts;   /* n_workers rows: the meter, then its bands */
    struct band bands[];
};

enum meter_verdict { METER_PASS, METER_DROP, METER_REMARK };

struct meter *meter_find(const struct bridge *b, uint32_t id);
/* Worker: meters one packet. With METER_REMARK, `*prec_level` says by how much. */
enum meter_verdict meter_packet(struct meter *m, unsigned worker, const struct packet *p, uint64_t now, uint8_t *prec_level);
/* Whether some band marks packets. */
bool meter_remarks(const struct meter *m);

/* Main thread. Carries out an OpenFlow 1.3 ofp_meter_mod body. 0, or a negative errno with a fault; then nothing has changed. */
int meter_mod(struct bridge *b, const uint8_t *body, size_t len, fault *f);
/* Write OpenFlow 1.3's ofp_meter_config and ofp_meter_stats; return their length. `out` has room for 256 bytes. */
size_t meter_config_put(const struct meter *m, uint8_t *out);
size_t meter_stats_put(const struct bridge *b, const struct meter *m, uint64_t now, uint8_t *out);
void meters_free(struct bridge *b);

#endif
