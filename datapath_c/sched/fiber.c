#include "sched/fiber.h"
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#endif
#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#define GUARD 4096

static __thread struct fiber *leaving, *entering;

static void landed(struct fiber *self)
{
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(self->fake_stack, &leaving->bottom, &leaving->size);
#else
    (void)self;
#endif
}

static void about_to_leave(struct fiber *from, struct fiber *to)
{
    leaving = from;
    entering = to;
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->size);
#endif
}

static void body(void)
{
    struct fiber *f = entering;
    landed(f);
    for (;;) {
        f->fn(f->arg);
        f->done = true;
        fiber_switch(f, f->back);
    }
}

#ifdef __x86_64__

/* System V ABI: rbx, rbp, r12 to r15 are the callee's to keep. The floating-point control words are never changed here. */
void fiber_swap(void **save, void *load);
__asm__(".text\n"
        ".p2align 4\n"
        ".hidden fiber_swap\n"
        ".globl fiber_swap\n"
        ".type fiber_swap, @function\n"
        "fiber_swap:\n"
        "    push %rbp\n"
        "    push %rbx\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbx\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size fiber_swap, . - fiber_swap\n");

static bool prepare(struct fiber *f)
{
    /* Six registers, where to return to, and the place where body()'s caller would be: aligned as after a call. */
    uint64_t *top = (uint64_t *)((uint8_t *)f->memory + GUARD + FIBER_STACK) - 1;
    top[0] = 0;
    top[-1] = (uint64_t)(uintptr_t)body;
    for (int i = 2; i <= 7; i++)
        top[-i] = 0;
    f->sp = top - 7;
    return true;
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
    about_to_leave(from, to);
    fiber_swap(&from->sp, to->sp);
    landed(from);
}

#else
#include <ucontext.h>

static bool prepare(struct fiber *f)
{
    ucontext_t *c = calloc(1, sizeof *c);
    if (!c || getcontext(c)) {
        free(c);
        return false;
    }
    c->uc_stack.ss_sp = (uint8_t *)f->memory + GUARD;
    c->uc_stack.ss_size = FIBER_STACK;
    makecontext(c, body, 0);
    f->sp = c;
    return true;
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
    if (!from->sp && !(from->sp = calloc(1, sizeof(ucontext_t))))
        abort();
    about_to_leave(from, to);
    swapcontext(from->sp, to->sp);
    landed(from);
}
#endif

struct fiber *fiber_new(void)
{
    struct fiber *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->memory = mmap(NULL, GUARD + FIBER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f->memory == MAP_FAILED) {
        free(f);
        return NULL;
    }
    mprotect(f->memory, GUARD, PROT_NONE);
    f->bottom = (uint8_t *)f->memory + GUARD;
    f->size = FIBER_STACK;
    if (!prepare(f)) {
        munmap(f->memory, GUARD + FIBER_STACK);
        free(f);
        return NULL;
    }
    return f;
}

void fiber_free(struct fiber *f)
{
#ifndef __x86_64__
    free(f->sp);
#endif
    munmap(f->memory, GUARD + FIBER_STACK);
    free(f);
}
