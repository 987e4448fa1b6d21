/* Why a request was refused: what struct dp_error says, filled in by whoever finds out. Functions return 0 or a negative
 * errno and fill the fault they were given. */
#ifndef VSWITCH_FAULT_H
#define VSWITCH_FAULT_H
#include "channel/contract.h"

typedef struct dp_error fault;

/* Fills `f` and returns -error. */
int fault_set(fault *f, int error, const char *field, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The same with an OFPT_ERROR type and code; error is EINVAL. */
int fault_openflow(fault *f, uint16_t type, uint16_t code, const char *field, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
