/* What two cores of this machine can do at the moment: cycles of a cache line there and back, and of a ring from core to core that
 * copies 64 or 1,500 bytes a packet in batches of 32. Prints JSON. Usage: core_floor CORE CORE */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#define ROUNDS 200000
#define SLOTS 256
#define STRIDE 2048

static struct {
    _Alignas(64) _Atomic unsigned ping;
    _Alignas(64) _Atomic unsigned pong;
    _Alignas(64) _Atomic unsigned head;
    _Alignas(64) _Atomic unsigned tail;
} shared;
static unsigned char *slots;
static unsigned bytes, packets;
static int cores[2];

static void run_on(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void *answer(void *arg)
{
    run_on(cores[1]);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        while (atomic_load_explicit(&shared.ping, memory_order_acquire) != i)
            ;
        atomic_store_explicit(&shared.pong, i, memory_order_release);
    }
    return NULL;
}

static void *produce(void *arg)
{
    static unsigned char frame[STRIDE];
    run_on(cores[1]);
    for (unsigned i = 0; i < packets; i += 32) {
        while (i - atomic_load_explicit(&shared.tail, memory_order_acquire) > SLOTS - 32)
            ;
        for (unsigned k = 0; k < 32; k++)
            memcpy(slots + (i + k) % SLOTS * STRIDE, frame, bytes);
        atomic_store_explicit(&shared.head, i + 32, memory_order_release);
    }
    return NULL;
}

static double ring(unsigned size, unsigned n)
{
    static unsigned char frame[32][STRIDE];
    pthread_t thread;
    bytes = size;
    packets = n;
    atomic_store(&shared.head, 0);
    atomic_store(&shared.tail, 0);
    pthread_create(&thread, NULL, produce, NULL);
    unsigned long long busy = 0;
    for (unsigned i = 0; i < n; i += 32) {
        while (atomic_load_explicit(&shared.head, memory_order_acquire) - i < 32)
            ;
        unsigned long long from = __rdtsc();
        for (unsigned k = 0; k < 32; k++)
            memcpy(frame[k], slots + (i + k) % SLOTS * STRIDE, size);
        atomic_store_explicit(&shared.tail, i + 32, memory_order_release);
        busy += __rdtsc() - from;
    }
    pthread_join(thread, NULL);
    return (double)busy / n;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    cores[0] = argc > 1 ? atoi(argv[1]) : 0;
    cores[1] = argc > 2 ? atoi(argv[2]) : 1;
    run_on(cores[0]);
    slots = aligned_alloc(4096, SLOTS * STRIDE);
    memset(slots, 1, SLOTS * STRIDE);
    pthread_create(&thread, NULL, answer, NULL);
    unsigned long long from = __rdtsc();
    for (unsigned i = 1; i <= ROUNDS; i++) {
        atomic_store_explicit(&shared.ping, i, memory_order_release);
        while (atomic_load_explicit(&shared.pong, memory_order_acquire) != i)
            ;
    }
    double line = (double)(__rdtsc() - from) / ROUNDS;
    pthread_join(thread, NULL);
    printf("{\"line_there_and_back\": %.0f, \"ring_64\": %.1f, \"ring_1500\": %.1f}\n", line, ring(64, 3200000), ring(1500, 640000));
    return 0;
}
