#include "channel/lanes.h"
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "sched/policy.h"

#define LANE_SLICE_US 50       /* of one tenant's work, while others wait */
#define BESIDE_US 10000        /* since two tenants' requests came one after the other: there are likely more */
#define UNREAD_BESIDE 32768    /* bytes that a client has not read yet, beyond which parts of replies wait meanwhile */

struct request {
    struct request *next;
    struct client *client;
    void *state;               /* of a handler that isn't through */
    struct dp_msg msg;
    uint8_t body[];
};

/* A reply that is being made, part by part. */
struct job {
    struct job *next;
    struct client *client;
    struct dp_msg request;
    bool (*step)(struct client *, const struct dp_msg *, void *);
    void (*release)(void *);
    void *context;
};

struct lane {
    struct entity entity;      /* first */
    uint32_t tenant;
    struct request *first, **last;
    struct job *jobs, **last_job;
    bool job_next;             /* requests and parts of replies take turns */
};

struct lanes {
    struct datapath *dp;
    struct runqueue queue;
    struct lane *of[DP_MAX_TENANTS];
    struct lane *current;
    const struct lane *latest; /* that a request came for */
    uint64_t beside_until;     /* clock; 0 = requests of one tenant alone come */
    uint64_t deadline;
    uint32_t n_blocked;        /* lanes with work whose clients don't read what they get */
};

struct lanes *lanes_new(struct datapath *dp)
{
    struct lanes *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->dp = dp;
    runqueue_init(&l->queue, &policy_wfq, clock_from_us(LANE_SLICE_US));
    return l;
}

static void drop_request(struct lane *lane, struct request **link)
{
    struct request *r = *link;
    *link = r->next;
    if (lane->last == &r->next)
        lane->last = link;
    client_queued(r->client, -(long)r->msg.len);
    free(r->state);
    free(r);
}

static void drop_job(struct lane *lane, struct job **link)
{
    struct job *j = *link;
    *link = j->next;
    if (lane->last_job == &j->next)
        lane->last_job = link;
    j->release(j->context);
    free(j);
}

void lanes_free(struct lanes *l)
{
    for (uint32_t i = 0; i < DP_MAX_TENANTS; i++) {
        struct lane *lane = l->of[i];
        if (!lane)
            continue;
        while (lane->jobs)
            drop_job(lane, &lane->jobs);
        while (lane->first)
            drop_request(lane, &lane->first);
        free(lane);
    }
    runqueue_destroy(&l->queue);
    free(l);
}

bool lanes_take(uint16_t type)
{
    switch (type) {
    case DP_BRIDGE_DEL:
    case DP_PORT_DEL:
    case DP_PORT_MOD:
    case DP_REMOTES_SET:
    case DP_REMOTES_GET:
    case DP_INJECT:
    case DP_COLLECT:
        return true;
    case DP_CACHE_STATS:
    case DP_SHUTDOWN:
    case DP_SCHEDULER_SET:
    case DP_SCHEDULER_GET:
        return false;
    default:
        return type >= DP_FLOW_MOD && type < DP_EV_PACKET_IN;
    }
}

static struct lane *lane_of(struct lanes *l, const struct dp_msg *m)
{
    const struct bridge *b = m->object < DP_MAX_BRIDGES ? l->dp->bridges[m->object] : NULL;
    if (!b)
        return NULL;
    const struct tenant *t = b->tenant;
    struct lane *lane = l->of[t->conf.id];
    if (!lane) {
        if (!(lane = calloc(1, sizeof *lane)))
            return NULL;
        lane->tenant = t->conf.id;
        lane->last = &lane->first;
        lane->last_job = &lane->jobs;
        lane->entity.vtime = l->queue.vtime;
        l->of[t->conf.id] = lane;
    }
    lane->entity.weight = (uint64_t)t->conf.weight * WEIGHT_ONE;
    return lane;
}

bool lanes_add(struct lanes *l, struct client *c, const struct dp_msg *m, const uint8_t *body)
{
    struct lane *lane = lane_of(l, m);
    struct request *r = lane ? malloc(sizeof *r + m->len) : NULL;
    if (!r)
        return false;
    if (lane != l->latest) {
        l->beside_until = l->latest ? clock_now() + clock_from_us(BESIDE_US) : 0;
        l->latest = lane;
    }
    r->next = NULL;
    r->client = c;
    r->state = NULL;
    r->msg = *m;
    memcpy(r->body, body, m->len);
    *lane->last = r;
    lane->last = &r->next;
    client_queued(c, (long)m->len);
    if (!lane->entity.runnable) {
        lane->entity.since = clock_now();
        runqueue_wake(&l->queue, &lane->entity);
    }
    return true;
}

int lanes_continue(struct lanes *l, struct client *c, const struct dp_msg *request,
                   bool (*step)(struct client *, const struct dp_msg *, void *), void (*release)(void *), void *context,
                   fault *f)
{
    struct job *j = l->current ? malloc(sizeof *j) : NULL;
    if (!j) {
        release(context);
        return fault_set(f, 12, "", "out of memory");
    }
    *j = (struct job){.client = c, .request = *request, .step = step, .release = release, .context = context};
    *l->current->last_job = j;
    l->current->last_job = &j->next;
    return 0;
}

bool lanes_slice_over(const struct client *c)
{
    const struct lanes *l = client_lanes(c);
    return l->current && clock_now() >= l->deadline;
}

void **lanes_state(struct client *c)
{
    static void *none;
    struct lanes *l = client_lanes(c);
    none = NULL;
    return l->current && l->current->first ? &l->current->first->state : &none;
}

bool lanes_beside(const struct client *c)
{
    return client_lanes(c)->beside_until;
}

bool lanes_wait_for_reader(const struct lanes *l)
{
    return l->n_blocked && l->beside_until;
}

static bool can_request(const struct lane *lane)
{
    return lane->first && client_reads(lane->first->client);
}

static bool can_reply(const struct lane *lane)
{
    const struct client *c = lane->jobs ? lane->jobs->client : NULL;
    return c && client_has_room(c) && !(lanes_beside(c) && client_unread(c) > UNREAD_BESIDE);
}

/* One request, or as much of it as the slice has room for; or one part of a reply. */
static void step_lane(struct lane *lane)
{
    bool job = can_reply(lane) && (lane->job_next || !can_request(lane));
    lane->job_next = !job;
    if (job) {
        struct job *j = lane->jobs;
        if (j->step(j->client, &j->request, j->context))
            drop_job(lane, &lane->jobs);
    } else if (can_request(lane)) {
        struct request *r = lane->first;
        if (server_carry_out(r->client, &r->msg, r->body) != REQUEST_AGAIN)
            drop_request(lane, &lane->first);
    }
}

static void run_lane(struct lanes *l, struct lane *lane)
{
    uint64_t start = clock_now(), now = start;
    struct dp_shm_control *row = shm_control(l->dp, lane->tenant);
    row->waited += start - lane->entity.since;
    l->current = lane;
    l->deadline = start + l->queue.slice;
    do {
        step_lane(lane);
        row->steps++;
        now = clock_now();
    } while (now < l->deadline && (can_request(lane) || can_reply(lane)));
    l->current = NULL;
    row->cycles += now - start;
    lane->entity.since = now;
    runqueue_charge(&l->queue, &lane->entity, now - start);
    if (can_request(lane) || can_reply(lane))
        return;
    runqueue_sleep(&l->queue, &lane->entity);
    l->n_blocked += lane->first || lane->jobs;
}

/* Some client may have read what it got. */
static void unblock(struct lanes *l)
{
    l->n_blocked = 0;
    for (uint32_t i = 0; i < DP_MAX_TENANTS; i++) {
        struct lane *lane = l->of[i];
        if (!lane || lane->entity.runnable || !(lane->first || lane->jobs))
            continue;
        if (can_request(lane) || can_reply(lane)) {
            lane->entity.since = clock_now();
            runqueue_wake(&l->queue, &lane->entity);
        } else {
            l->n_blocked++;
        }
    }
}

bool lanes_run(struct lanes *l, uint64_t cycles)
{
    uint64_t now = clock_now(), end = now + cycles;
    if (now >= l->beside_until)        /* here alone: what waits for that is looked at next */
        l->beside_until = 0;
    if (l->n_blocked)
        unblock(l);
    struct entity *e;
    while ((e = runqueue_pick(&l->queue))) {
        run_lane(l, (struct lane *)e);
        if (clock_now() >= end)
            break;
    }
    return l->queue.n > 0;
}

void lanes_forget(struct lanes *l, struct client *c)
{
    for (uint32_t i = 0; i < DP_MAX_TENANTS; i++) {
        struct lane *lane = l->of[i];
        if (!lane)
            continue;
        for (struct request **link = &lane->first; *link;)
            if ((*link)->client == c)
                drop_request(lane, link);
            else
                link = &(*link)->next;
        for (struct job **link = &lane->jobs; *link;)
            if ((*link)->client == c)
                drop_job(lane, link);
            else
                link = &(*link)->next;
        if (!lane->first && !lane->jobs)
            runqueue_sleep(&l->queue, &lane->entity);
    }
}
