#include "base/fault.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fill(fault *f, int error, uint16_t type, uint16_t code, const char *field, const char *format, va_list args)
{
    memset(f, 0, sizeof *f);
    f->error = error;
    f->of_type = type;
    f->of_code = code;
    snprintf(f->field, sizeof f->field, "%s", field);
    vsnprintf(f->reason, sizeof f->reason, format, args);
}

int fault_set(fault *f, int error, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(f, error, 0xffff, 0xffff, field, format, args);
    va_end(args);
    return -error;
}

int fault_openflow(fault *f, uint16_t type, uint16_t code, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(f, EINVAL, type, code, field, format, args);
    va_end(args);
    return -EINVAL;
}
