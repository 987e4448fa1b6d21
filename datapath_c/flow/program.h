/* What to do with a packet, decided: the straight-line program that a walk through the tables comes to. */
#ifndef VSWITCH_PROGRAM_H
#define VSWITCH_PROGRAM_H
#include <stdbool.h>
#include <stdint.h>

struct group;
struct meter;
struct rule;
struct rule_stats;
struct table;
struct port;

enum op_code {
    OP_OUTPUT,                 /* port; not to where it came from */
    OP_OUTPUT_IN_PORT,
    OP_NORMAL,
    OP_FLOOD,                  /* arg: OFPPC_* bits of ports that are left out (OFPP_ALL asks nothing of OFPPC_NO_FLOOD) */
    OP_CONTROLLER,             /* arg: max_len, arg2: controller id; reason, table; cookie, user's data */
    OP_SET_FIELD,              /* field, value */
    OP_PUSH_VLAN,              /* arg: ethertype, here and below */
    OP_POP_VLAN,
    OP_PUSH_MPLS,
    OP_POP_MPLS,
    OP_PUSH_PBB,
    OP_POP_PBB,
    OP_SET_MPLS_TTL,           /* arg: TTL */
    OP_DEC_MPLS_TTL,
    OP_SET_NW_TTL,
    OP_DEC_NW_TTL,
    OP_COPY_TTL_OUT,
    OP_COPY_TTL_IN,
    OP_SET_QUEUE,              /* arg32: queue id */
    OP_DROP,                   /* arg: enum drop */
    OP_CLONE,                  /* arg32: so many ops that follow are for a copy */
    OP_TRUNC,                  /* arg32: cut the packet to so many bytes */
    OP_CONTEXT,                /* field, value: of the pipeline, for the packet-in that follows */
    OP_LEARN,                  /* bytes: a struct learned; the rule to add */
    OP_GROUP,                  /* group: the packet came to it */
    OP_BUCKET,                 /* group, row: the copy goes through this bucket */
    OP_SELECT,                 /* group; row: so many ops that follow are clones, of which one is carried out */
    OP_METER,                  /* meter, which may end the program for the packet */
    OP_COUNT,                  /* rule: matched behind a meter, so counted here */
    OP_FIN_TIMEOUT             /* rule whose timeouts shrink; arg: idle, arg2: hard */
};

struct op {
    uint8_t code;
    uint8_t field;             /* enum field_id */
    uint16_t arg;
    uint8_t reason, table;
    uint16_t arg2;             /* OP_CONTROLLER: controller id; OP_FIN_TIMEOUT: hard timeout */
    union {
        struct port *port;
        uint8_t value[16];
        struct {
            uint64_t cookie;
            const uint8_t *userdata;   /* 16 bits of length, then the bytes; or NULL */
        };
        uint32_t arg32;
        struct rule *rule;
        struct meter *meter;
        struct {
            const struct group *group;
            uint32_t row;
        };
        struct {
            const uint8_t *bytes;
            uint32_t len;
        };
    };
};

/* What learn (Nicira) came to for a packet: a flow_mod, and when it was last asked for. */
struct learned {
    uint64_t asked;            /* clock, 0 = never */
    uint32_t len, limit;       /* bytes; rules with its cookie in its table, 0 = any number */
    uint8_t flow_mod[];
};

struct program {
    uint16_t n_ops, n_rules;
    bool raw;                  /* outputs alone, to ports that need no more than the frame and take many for little */
    uint32_t size;             /* bytes, all that belongs to it */
    struct table *miss;        /* the table whose lookup found nothing, or NULL */
    struct rule_stats **counts;    /* of the rules that the packet matched, in order */
    struct op ops[];           /* the counts' pointers lie behind them, and what ops point to */
};

#endif
