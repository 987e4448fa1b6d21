#include "channel/server.h"
#include <errno.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/defer.h"
#include "base/watch.h"
#include "channel/lanes.h"
#include "flow/bundle.h"
#include "flow/table.h"
#include "port/port.h"

#define TICK_MS 250
#define QUEUE_HIGH (4u << 20)  /* bytes waiting for a client before its requests wait too */
#define QUEUE_LOW (1u << 20)   /* beyond which parts of long replies wait */
#define QUEUED_MAX (16u << 20) /* bytes of requests that wait for their tenant's turn */
#define REQUESTS_PER_TURN 64
#define LETTERS_PER_TURN 64
#define TICK_US 100            /* of housekeeping, likewise */
#define LOOK_AGAIN_US 50       /* for a client that is to read */
#define TURN_US 50             /* of tenants' work between two looks at what has come: another tenant's request may have */

struct outgoing {
    struct outgoing *next;
    size_t len;
    int fd;                    /* -1, or to be passed along */
    bool droppable;
    struct dp_msg msg;
    uint8_t body[];
};

struct client {
    struct client *next;
    struct server *server;
    uint64_t id;
    int fd;
    uint32_t role;
    struct outgoing *first, **last;
    size_t waiting;
    size_t queued;             /* bytes of requests in lanes */
    bool dead;
    uint16_t events[DP_MAX_BRIDGES];
};

struct server {
    struct datapath *dp;
    int listen_fd, epoll_fd, signal_fd, timer_fd;
    struct client *clients;
    struct client *control;
    struct lanes *lanes;
    struct letter *letters;    /* from workers, not yet carried out */
    uint64_t next_id;
    bool stop, orderly;
    char path[sizeof ((struct sockaddr_un *)0)->sun_path];
    uint8_t buffer[DP_MSG_MAX];
};

struct lanes *client_lanes(const struct client *c)
{
    return c->server->lanes;
}

bool client_reads(const struct client *c)
{
    return c->waiting < QUEUE_HIGH;
}

bool client_has_room(const struct client *c)
{
    return c->waiting < QUEUE_LOW;
}

size_t client_unread(const struct client *c)
{
    int bytes = 0;
    return ioctl(c->fd, SIOCOUTQ, &bytes) < 0 || bytes < 0 ? 0 : (size_t)bytes;
}

struct datapath *client_datapath(struct client *c)
{
    return c->server->dp;
}

void *client_server(struct client *c)
{
    return c->server;
}

uint64_t client_id(const struct client *c)
{
    return c->id;
}

struct client *client_by_id(void *server, uint64_t id)
{
    struct server *s = server;
    for (struct client *c = s->clients; c; c = c->next)
        if (c->id == id && !c->dead)
            return c;
    return NULL;
}

/* Whether workers may write to the control connection: never in front of what waits to be sent. */
static void open_to_workers(const struct server *s)
{
    const struct client *c = s->control;
    atomic_store_explicit(&s->dp->packet_in_fd, c && !c->dead && !c->first ? c->fd : -1, memory_order_release);
}

void client_set_role(struct client *c, uint32_t role)
{
    c->role = role;
    if (role == DP_ROLE_CONTROL)
        c->server->control = c;
    open_to_workers(c->server);
}

void server_stop(struct client *c)
{
    c->server->stop = c->server->orderly = true;
}

/* ---- sending ---- */

static void watch(struct client *c)
{
    bool reads = c->waiting < QUEUE_HIGH && c->queued < QUEUED_MAX;
    uint32_t events = (c->first ? EPOLLOUT : 0u) | (reads ? EPOLLIN : 0u);
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(c->server->epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

void client_queued(struct client *c, long bytes)
{
    bool full = c->queued >= QUEUED_MAX;
    c->queued = (size_t)((long)c->queued + bytes);
    if (full != (c->queued >= QUEUED_MAX))
        watch(c);
}

static int transmit(struct client *c, struct dp_msg *msg, const void *body, int fd)
{
    struct iovec v[2] = {{msg, sizeof *msg}, {(void *)body, msg->len}};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
    if (fd >= 0) {
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &fd, sizeof fd);
    }
    return sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void send_message(struct client *c, struct dp_msg *msg, const void *body, int fd, bool droppable)
{
    if (c->dead)
        return;
    if (!c->first) {
        int e = transmit(c, msg, body, fd);
        if (!e)
            return;
        if (e != -EAGAIN) {
            c->dead = true;
            return;
        }
    }
    struct outgoing *o = malloc(sizeof *o + msg->len);
    if (!o)
        return;
    o->next = NULL;
    o->len = sizeof *msg + msg->len;
    o->fd = fd;
    o->droppable = droppable;
    o->msg = *msg;
    if (msg->len)
        memcpy(o->body, body, msg->len);
    *c->last = o;
    c->last = &o->next;
    open_to_workers(c->server);
    c->waiting += o->len;
    if (droppable)
        c->events[msg->object]++;
    watch(c);
}

static void flush(struct client *c)
{
    struct outgoing *o;
    while ((o = c->first)) {
        int e = transmit(c, &o->msg, o->body, o->fd);
        if (e == -EAGAIN)
            break;
        if (e) {
            c->dead = true;
            return;
        }
        c->waiting -= o->len;
        if (o->droppable)
            c->events[o->msg.object]--;
        c->first = o->next;
        if (!c->first)
            c->last = &c->first;
        free(o);
    }
    open_to_workers(c->server);
    watch(c);
}

static void respond(struct client *c, const struct dp_msg *request, uint16_t type, uint16_t flags, const void *body,
                    size_t len, int fd)
{
    struct dp_msg m = {.type = type, .flags = flags, .xid = request->xid, .object = request->object, .len = (uint32_t)len};
    send_message(c, &m, body, fd, false);
}

void reply(struct client *c, const struct dp_msg *request, const void *body, size_t len)
{
    respond(c, request, request->type, DP_F_REPLY, body, len, -1);
}

void reply_more(struct client *c, const struct dp_msg *request, const void *body, size_t len)
{
    respond(c, request, request->type, DP_F_REPLY | DP_F_MORE, body, len, -1);
}

void reply_fd(struct client *c, const struct dp_msg *request, const void *body, size_t len, int fd)
{
    respond(c, request, request->type, DP_F_REPLY, body, len, fd);
}

/* ---- events ---- */

static void event(struct datapath *dp, uint16_t type, uint32_t bridge, const void *body, size_t len, bool droppable)
{
    struct server *s = dp->channel;
    struct client *c = s->control;
    struct dp_msg m = {.type = type, .object = bridge, .len = (uint32_t)len};
    if (!c || c->dead)
        return;
    if (droppable && c->events[bridge] >= DP_EVENT_BACKLOG) {
        struct bridge *b = dp->bridges[bridge];
        if (b)
            shm_account(dp, 0, b->tenant->conf.id)->drops[DROP_PACKET_IN]++;
        return;
    }
    send_message(c, &m, body, -1, droppable);
}

static void on_packet_in(struct bridge *b, const uint8_t *body, size_t len)
{
    event(b->dp, DP_EV_PACKET_IN, b->conf.id, body, len, true);
}

static void on_rule_removed(struct bridge *b, const struct rule *r, uint8_t reason)
{
    struct {
        struct dp_flow_removed head;
        uint8_t body[40 + 1024];
    } e = {.head.want = r->flags & OFPFF_SEND_FLOW_REM ? 1 : 0};
    size_t len = flow_removed_put(r, reason, clock_now(), e.body);
    event(b->dp, DP_EV_FLOW_REMOVED, b->conf.id, &e, sizeof e.head + len, false);
}

static void on_rule_changed(struct bridge *b, const struct rule *r, uint16_t what, uint8_t reason)
{
    static struct {
        struct dp_flow_update head;
        uint8_t entry[65536];
    } e;
    e.head = (struct dp_flow_update){.what = what, .reason = reason, .xid = b->dp->request_xid, .item = b->dp->request_item};
    size_t len = flow_entry_put(r, clock_now(), e.entry, sizeof e.entry);
    if (sizeof e.head + len <= DP_MSG_MAX - sizeof(struct dp_msg))
        event(b->dp, DP_EV_FLOW_UPDATE, b->conf.id, &e, sizeof e.head + len, false);
}

static void on_stats_triggered(struct bridge *b, const struct rule *r)
{
    static uint8_t entry[65536];
    size_t len = flow_entry_put(r, clock_now(), entry, sizeof entry);
    if (len <= DP_MSG_MAX - sizeof(struct dp_msg))
        event(b->dp, DP_EV_FLOW_STATS, b->conf.id, entry, len, true);
}

static void on_table_status(struct bridge *b, const struct dp_table *t)
{
    event(b->dp, DP_EV_TABLE_STATUS, b->conf.id, t, sizeof *t, false);
}

static void on_port_status(struct bridge *b, struct port *p, uint32_t reason)
{
    struct dp_port conf;
    datapath_port_conf(p, &conf);
    conf.reason = reason;
    event(b->dp, DP_EV_PORT_STATUS, b->conf.id, &conf, sizeof conf, false);
}

/* ---- receiving ---- */

/* Requests after which only turns of the bridge's tenant may have in hand what was unlinked. */
static bool changes_rules(uint16_t type)
{
    return type == DP_FLOW_MOD || type == DP_GROUP_MOD || type == DP_METER_MOD || type == DP_TABLE_MOD ||
           (type >= DP_BUNDLE_OPEN && type <= DP_BUNDLE_DISCARD);
}

static int carry_out(struct client *c, const struct dp_msg *m, const uint8_t *body, fault *f)
{
    struct datapath *dp = c->server->dp;
    dp->request_xid = m->xid;
    dp->request_item = 0;
    const struct bridge *b = changes_rules(m->type) && m->object < DP_MAX_BRIDGES ? dp->bridges[m->object] : NULL;
    defer_owner(b ? b->tenant->conf.id : 0);
    int e = handlers[m->type].fn(c, m, body, f);
    defer_owner(0);
    dp->request_xid = 0;
    return e;
}

int server_carry_out(struct client *c, const struct dp_msg *m, const uint8_t *body)
{
    fault f = {.error = EINVAL, .of_type = 0xffff, .of_code = 0xffff};
    int e;
    if (m->type >= n_handlers || !handlers[m->type].fn)
        e = fault_set(&f, ENOSYS, "type", "unknown request %u", m->type);
    else if (m->len < handlers[m->type].min_len)
        e = fault_set(&f, EINVAL, "len", "request %u has %u bytes, not %u", m->type, m->len, handlers[m->type].min_len);
    else
        e = carry_out(c, m, body, &f);
    if (e < 0)
        respond(c, m, DP_ERROR, DP_F_REPLY, &f, sizeof f, -1);
    return e;
}

static void receive(struct client *c)
{
    struct server *s = c->server;
    for (int i = 0; i < REQUESTS_PER_TURN && !c->dead && c->waiting < QUEUE_HIGH && c->queued < QUEUED_MAX; i++) {
        ssize_t n = recv(c->fd, s->buffer, sizeof s->buffer, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        struct dp_msg m;
        if (n < (ssize_t)sizeof m) {
            c->dead = true;
            return;
        }
        memcpy(&m, s->buffer, sizeof m);
        if (m.len != (size_t)n - sizeof m) {
            c->dead = true;    /* the peer speaks another protocol */
            return;
        }
        if (!lanes_take(m.type) || !lanes_add(s->lanes, c, &m, s->buffer + sizeof m))
            server_carry_out(c, &m, s->buffer + sizeof m);
    }
}

static void accept_client(struct server *s)
{
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *c = fd >= 0 ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        if (fd >= 0)
            close(fd);
        return;
    }
    int size = 4 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    c->server = s;
    c->fd = fd;
    c->id = ++s->next_id;
    c->last = &c->first;
    c->next = s->clients;
    s->clients = c;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static void close_fd(void *fd)
{
    close((int)(intptr_t)fd);
}

static void free_client(struct client *c)
{
    if (c->server->control == c)
        c->server->control = NULL;
    open_to_workers(c->server);
    epoll_ctl(c->server->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    shutdown(c->fd, SHUT_RDWR);
    defer(close_fd, (void *)(intptr_t)c->fd);
    lanes_forget(c->server->lanes, c);
    while (c->first) {
        struct outgoing *o = c->first;
        c->first = o->next;
        free(o);
    }
    free(c);
}

/* Bundles that nobody will commit any more. */
static void discard_bundles(struct client *c)
{
    for (unsigned i = 0; i < DP_MAX_BRIDGES; i++) {
        struct bridge *b = c->server->dp->bridges[i];
        if (b && bundle_owner(b) == c->id)
            bundle_discard(b);
    }
}

static void bury_dead(struct server *s)
{
    for (struct client **link = &s->clients, *c; (c = *link);) {
        if (!c->dead) {
            link = &c->next;
            continue;
        }
        *link = c->next;
        discard_bundles(c);
        free_client(c);
    }
}

/* ---- life ---- */

static int listen_at(const char *path, int *fd)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return -ENAMETOOLONG;
    strcpy(a.sun_path, path);
    *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return -errno;
    if (bind(*fd, (struct sockaddr *)&a, sizeof a)) {
        int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        bool alive = errno == EADDRINUSE && !connect(probe, (struct sockaddr *)&a, sizeof a);
        close(probe);
        if (alive)
            return -EADDRINUSE;
        unlink(path);
        if (bind(*fd, (struct sockaddr *)&a, sizeof a))
            return -errno;
    }
    return listen(*fd, 16) ? -errno : 0;
}

static void add_fd(struct server *s, int fd, void *tag)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = tag};
    epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

struct server *server_new(struct datapath *dp, const char *path, int *error)
{
    struct server *s = calloc(1, sizeof *s);
    if (!s || (*error = listen_at(path, &s->listen_fd))) {
        free(s);
        return NULL;
    }
    snprintf(s->path, sizeof s->path, "%s", path);
    s->dp = dp;
    s->lanes = lanes_new(dp);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    s->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct itimerspec t = {{0, TICK_MS * 1000000L}, {0, TICK_MS * 1000000L}};
    timerfd_settime(s->timer_fd, 0, &t, NULL);
    add_fd(s, s->listen_fd, &s->listen_fd);
    add_fd(s, s->signal_fd, &s->signal_fd);
    add_fd(s, s->timer_fd, &s->timer_fd);
    add_fd(s, dp->mail.event_fd, &dp->mail);
    add_fd(s, dp->watch_fd, &dp->watch_fd);
    dp->channel = s;
    dp->packet_in = on_packet_in;
    dp->rule_removed = on_rule_removed;
    dp->rule_changed = on_rule_changed;
    dp->port_status = on_port_status;
    dp->table_status = on_table_status;
    dp->stats_triggered = on_stats_triggered;
    return s;
}

void server_free(struct server *s)
{
    for (struct client *c = s->clients, *next; c; c = next) {
        next = c->next;
        free_client(c);
    }
    lanes_free(s->lanes);
    s->dp->packet_in = NULL;
    s->dp->rule_removed = NULL;
    s->dp->rule_changed = NULL;
    s->dp->port_status = NULL;
    s->dp->table_status = NULL;
    s->dp->stats_triggered = NULL;
    unlink(s->path);
    close(s->listen_fd);
    close(s->epoll_fd);
    close(s->signal_fd);
    close(s->timer_fd);
    free(s);
}

static void on_event(struct server *s, const struct epoll_event *e)
{
    uint64_t count;
    if (e->data.ptr == &s->listen_fd) {
        accept_client(s);
    } else if (e->data.ptr == &s->signal_fd) {
        s->stop = s->orderly = true;
    } else if (e->data.ptr == &s->timer_fd) {
        if (read(s->timer_fd, &count, sizeof count) > 0)
            datapath_begin_tick(s->dp);
    } else if (e->data.ptr == &s->dp->mail) {
        s->letters = s->letters ? s->letters : mailbox_take(&s->dp->mail);
    } else if (e->data.ptr == &s->dp->watch_fd) {
        watch_run(s->dp->watch_fd);
    } else {
        struct client *c = e->data.ptr;
        if (e->events & EPOLLOUT)
            flush(c);
        if (e->events & EPOLLIN)
            receive(c);
        else if (e->events & (EPOLLHUP | EPOLLERR))
            c->dead = true;
    }
}

static void carry_out_letters(struct server *s)
{
    for (int i = 0; i < LETTERS_PER_TURN && s->letters; i++) {
        struct letter *l = s->letters;
        s->letters = l->next;
        l->fn(l, s->dp);
    }
}

static int wait_for_events(struct server *s, struct epoll_event *events, int max, bool more)
{
    struct timespec soon = {.tv_nsec = LOOK_AGAIN_US * 1000};
    return !more && lanes_wait_for_reader(s->lanes) ? epoll_pwait2(s->epoll_fd, events, max, &soon, NULL)
                                                    : epoll_wait(s->epoll_fd, events, max, more ? 0 : -1);
}

bool server_run(struct server *s)
{
    struct epoll_event events[64];
    bool more = false;
    while (!s->stop) {
        int n = wait_for_events(s, events, 64, more);
        for (int i = 0; i < n && !s->stop; i++)
            on_event(s, &events[i]);
        carry_out_letters(s);
        more = lanes_run(s->lanes, clock_from_us(TURN_US));
        more |= s->letters != NULL;
        more |= datapath_tick_some(s->dp, clock_from_us(TICK_US));
        bury_dead(s);
        if (defer_pending() > 1024)
            defer_run();
    }
    for (struct client *c = s->clients; c; c = c->next)
        flush(c);
    return s->orderly;
}
