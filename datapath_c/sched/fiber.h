/* A stack of one's own, so that what runs on it can be left in the middle and gone on with later. One thread's: a fiber is
 * never switched to by another thread than the one that first did.
 *
 * The switch saves what the platform's calling convention says a callee keeps: six registers on x86-64; elsewhere ucontext. */
#ifndef VSWITCH_FIBER_H
#define VSWITCH_FIBER_H
#include <stdbool.h>
#include <stddef.h>

/* Room for a walk of the greatest depth (TRANSLATE_MAX_DEPTH) under the sanitizers. A page that is never reached costs
 * nothing. */
#define FIBER_STACK (1u << 20)

struct fiber {
    void *sp;                  /* while it isn't running */
    void (*fn)(void *);        /* called when it is first switched to, and anew after it has returned */
    void *arg;
    struct fiber *back;        /* where it goes when fn returns */
    bool done;                 /* fn has returned */
    struct fiber *next;        /* for its keeper */
    void *memory;
    const void *bottom;        /* for the address sanitizer */
    size_t size;
    void *fake_stack;
};

/* NULL without memory. */
struct fiber *fiber_new(void);
void fiber_free(struct fiber *f);
/* Leaves `from` (the one that is running) and goes on in `to`. Returns when somebody switches back. The thread's own stack is
 * a struct fiber that is all zero. */
void fiber_switch(struct fiber *from, struct fiber *to);

#endif
