/* Small messages there and back over one TCP connection, and the machine's stalls.
 *
 *   round_trip server                     answers what it is sent, one connection after another
 *   round_trip client ADDRESS COUNT       prints the time of each round trip, ns a line
 *   round_trip stalls MILLISECONDS        spins; prints each gap of more than 100 us between two looks at the clock, ns a line:
 *                                         gaps in which the kernel gave the core to another thread are left out */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 7200
#define MESSAGE 64
#define WARM_UP 200
#define GAP 100000

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int whole(int fd, char *message)
{
    return recv(fd, message, MESSAGE, MSG_WAITALL) == MESSAGE;
}

static void answer(int fd)
{
    char message[MESSAGE];
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    while (whole(fd, message))
        if (send(fd, message, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
            break;
    close(fd);
}

static void serve(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 8))
        fail("bind");
    for (int client; (client = accept(fd, NULL, NULL)) >= 0;)
        answer(client);
}

static void ask(const char *address, int count)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    char message[MESSAGE] = {0};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    uint64_t *times = calloc((size_t)count, sizeof *times);
    if (!inet_aton(address, &a.sin_addr) || !times || connect(fd, (struct sockaddr *)&a, sizeof a))
        fail(address);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (int i = -WARM_UP; i < count; i++) {
        uint64_t start = now();
        if (send(fd, message, MESSAGE, 0) != MESSAGE || !whole(fd, message))
            fail("round trip");
        if (i >= 0)
            times[i] = now() - start;
    }
    for (int i = 0; i < count; i++)
        printf("%llu\n", (unsigned long long)times[i]);
}

static long switches(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_nivcsw + r.ru_nvcsw;
}

static void stalls(int milliseconds)
{
    long seen = switches();
    for (uint64_t last = now(), end = last + (uint64_t)milliseconds * 1000000, t; last < end; last = t) {
        t = now();
        if (t - last <= GAP)
            continue;
        long s = switches();
        if (s == seen)
            printf("%llu\n", (unsigned long long)(t - last));
        seen = s;
        t = now();
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "server"))
        serve();
    else if (argc == 4 && !strcmp(argv[1], "client"))
        ask(argv[2], atoi(argv[3]));
    else if (argc == 3 && !strcmp(argv[1], "stalls"))
        stalls(atoi(argv[2]));
    else
        return 2;
    return 0;
}
