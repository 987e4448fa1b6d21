#include "flow/describe.h"
#include "flow/openflow.h"
#include "flow/group.h"
#include "flow/match.h"
#include "flow/meter.h"
#include "path/drops.h"
#include "port/port.h"

static void describe_op(FILE *out, const struct op *op)
{
    switch (op->code) {
    case OP_OUTPUT:
        fprintf(out, "output to port %u (%s)", op->port->port_no, op->port->conf.name);
        break;
    case OP_OUTPUT_IN_PORT:
        fprintf(out, "output to the port it came from");
        break;
    case OP_NORMAL:
        fprintf(out, "NORMAL: learn the source, send to where the destination was learned");
        break;
    case OP_FLOOD:
        fprintf(out, op->arg & OFPPC_NO_FLOOD ? "flood" : "output to all ports");
        break;
    case OP_CONTROLLER:
        fprintf(out, "packet-in to the controller, at most %u bytes", op->arg);
        break;
    case OP_SET_FIELD:
        fprintf(out, "set %s to 0x", fields[op->field].name);
        for (unsigned i = 0; i < fields[op->field].bytes; i++)
            fprintf(out, "%02x", op->value[i]);
        break;
    case OP_PUSH_VLAN:
        fprintf(out, "push VLAN 0x%04x", op->arg);
        break;
    case OP_POP_VLAN:
        fprintf(out, "pop VLAN");
        break;
    case OP_PUSH_MPLS:
        fprintf(out, "push MPLS 0x%04x", op->arg);
        break;
    case OP_POP_MPLS:
        fprintf(out, "pop MPLS, 0x%04x below", op->arg);
        break;
    case OP_PUSH_PBB:
        fprintf(out, "push PBB");
        break;
    case OP_POP_PBB:
        fprintf(out, "pop PBB");
        break;
    case OP_SET_MPLS_TTL:
    case OP_SET_NW_TTL:
        fprintf(out, "set %s TTL to %u", op->code == OP_SET_NW_TTL ? "IP" : "MPLS", op->arg);
        break;
    case OP_DEC_MPLS_TTL:
    case OP_DEC_NW_TTL:
        fprintf(out, "decrement %s TTL", op->code == OP_DEC_NW_TTL ? "IP" : "MPLS");
        break;
    case OP_COPY_TTL_OUT:
    case OP_COPY_TTL_IN:
        fprintf(out, "copy TTL %s", op->code == OP_COPY_TTL_IN ? "in" : "out");
        break;
    case OP_SET_QUEUE:
        fprintf(out, "set queue %u", op->arg32);
        break;
    case OP_GROUP:
        fprintf(out, "group %u", op->group->id);
        break;
    case OP_BUCKET:
        fprintf(out, "bucket %u", op->group->buckets[op->row - 1].id);
        break;
    case OP_SELECT:
        fprintf(out, "one of the copies in the next %u, by hash:", op->row);
        break;
    case OP_METER:
        fprintf(out, "meter %u", op->meter->id);
        break;
    case OP_COUNT:
        fprintf(out, "(counted on the rule)");
        break;
    case OP_CLONE:
        fprintf(out, "for a copy, the next %u:", op->arg32);
        break;
    case OP_TRUNC:
        fprintf(out, "cut to %u bytes", op->arg32);
        break;
    case OP_CONTEXT:
        fprintf(out, "(%s for the packet-in)", fields[op->field].name);
        break;
    case OP_LEARN:
        fprintf(out, "learn a rule");
        break;
    case OP_FIN_TIMEOUT:
        fprintf(out, "shorten the rule's timeouts");
        break;
    default:
        fprintf(out, "drop: %s", dp_drop_text(op->arg));
    }
}

void describe_ops(FILE *out, const struct op *ops, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        fprintf(out, "  ");
        describe_op(out, &ops[i]);
        fprintf(out, "\n");
    }
}

void describe_mask(FILE *out, const uint64_t *mask)
{
    const uint8_t *bytes = (const uint8_t *)mask;
    const char *separator = "";
    bool named[N_FIELDS] = {false};
    for (int i = 0; i < N_FIELDS; i++) {
        const struct field_place *at = &field_places[i];
        bool any = false, again = false;
        for (unsigned j = 0; j < at->size; j++)
            any |= bytes[at->offset + j] != 0;
        /* Fields share their place in the key (IPv4, IPv6 and ARP addresses; ports and ICMP): the first name stands for all. */
        for (int j = 0; j < i; j++)
            again |= named[j] && field_places[j].offset < at->offset + at->size &&
                     at->offset < field_places[j].offset + field_places[j].size;
        if (any && !again) {
            fprintf(out, "%s%s", separator, fields[i].name);
            separator = ", ";
            named[i] = true;
        }
    }
}
