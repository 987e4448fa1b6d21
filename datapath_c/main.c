/* vswitch-datapath: options, then the main loop. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "channel/server.h"

static const char usage[] =
    "usage: vswitch-datapath --socket PATH [--workers N] [--poll] [--policy NAME] [--slice-ns N]\n"
    "  --socket PATH   Unix socket of the control channel (created)\n"
    "  --workers N     packet-processing threads, 1..64 (default 1)\n"
    "  --poll          workers never sleep, for cores of their own\n"
    "  --policy NAME   who runs next: wfq (default), round-robin, none\n"
    "  --slice-ns N    how long one tenant runs at a time, 500..1000000 (default 1400)\n";

/* The policy of that name, or one that there isn't. */
static uint32_t policy_number(const char *name)
{
    uint32_t n = 0;
    while (dp_policy_name(n) && strcmp(dp_policy_name(n), name))
        n++;
    return n;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'}, {"workers", required_argument, NULL, 'w'}, {"poll", no_argument, NULL, 'p'},
        {"policy", required_argument, NULL, 'P'}, {"slice-ns", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'}, {0}};
    const char *path = NULL;
    unsigned workers = 1;
    bool poll = false;
    struct dp_scheduler scheduler = {0};
    fault f;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 's':
            path = optarg;
            break;
        case 'w':
            workers = (unsigned)atoi(optarg);
            break;
        case 'p':
            poll = true;
            break;
        case 'P':
            scheduler.policy = policy_number(optarg);
            break;
        case 'S':
            scheduler.slice_ns = (uint32_t)atoi(optarg);
            break;
        default:
            fputs(usage, o == 'h' ? stdout : stderr);
            return o == 'h' ? 0 : 2;
        }
    }
    if (!path || optind != argc || workers < 1 || workers > DP_MAX_WORKERS) {
        fputs(usage, stderr);
        return 2;
    }
    int error = 0;
    clock_init(false);
    struct datapath *dp = datapath_new(workers, true, poll, &error);
    if (!dp) {
        fprintf(stderr, "vswitch-datapath: can't start: %s\n", strerror(-error));
        return 1;
    }
    if (datapath_set_scheduler(dp, &scheduler, &f)) {
        fprintf(stderr, "vswitch-datapath: %s: %s\n", f.field, f.reason);
        return 2;
    }
    struct server *s = server_new(dp, path, &error);
    if (!s) {
        fprintf(stderr, "vswitch-datapath: %s: %s\n", path, strerror(-error));
        return 1;
    }
    bool orderly = server_run(s);
    server_free(s);
    datapath_free(dp, !orderly);
    return 0;
}
