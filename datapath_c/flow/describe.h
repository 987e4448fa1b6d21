/* A program in words: what DP_TRACE shows. */
#ifndef VSWITCH_DESCRIBE_H
#define VSWITCH_DESCRIBE_H
#include <stdio.h>
#include "flow/program.h"

void describe_ops(FILE *out, const struct op *ops, unsigned n);
/* The fields of a mask that are not zero. */
void describe_mask(FILE *out, const uint64_t *mask);

#endif
