/* Any bytes as the messages of a virtual machine monitor to a vhost-user port, with files of memory where they ask for some.
 * Input: messages of request, flags (2: a file comes along; 4: two), length, body. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "flow/bridge.h"
#include "path/datapath.h"
#include "path/worker.h"
#include "port/vhost.h"

#define FILE_SIZE 65536

static struct datapath *dp;
static struct vhost *device;
static int file_fd, pair[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int error;
    fault f;
    clock_init(true);
    dp = datapath_new(1, false, false, &error);
    struct dp_tenant t = {.id = 1, .weight = 1};
    struct dp_bridge b = {.id = 1, .tenant = 1};
    struct dp_port p = {.bridge = 1, .port_no = 1, .kind = DP_PORT_VHOST_USER, .n_queues = 2};
    snprintf(p.socket, sizeof p.socket, "/tmp/fuzz_vhost.%d", (int)getpid());
    if (!dp || datapath_set_tenant(dp, &t, &f) || datapath_set_bridge(dp, &b, &f) || datapath_add_port(dp, &p, &f))
        abort();
    unlink(p.socket);
    device = bridge_port(dp->bridges[1], 1)->driver;
    file_fd = memfd_create("guest", MFD_CLOEXEC);
    return ftruncate(file_fd, FILE_SIZE) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    device->peer.fd = dup(pair[0]);
    const char *why = NULL;
    while (!why && size >= 3) {
        struct vhost_msg *m = &device->in;
        memset(m, 0, sizeof *m);
        m->request = data[0];
        m->flags = VHOST_VERSION | (data[1] & VHOST_NEED_REPLY);
        m->size = data[2];
        device->n_in_fds = data[1] & 2 ? 1 : data[1] & 4 ? 2 : 0;
        for (unsigned i = 0; i < device->n_in_fds; i++)
            device->in_fds[i] = dup(file_fd);
        data += 3;
        size -= 3;
        uint32_t n = m->size < size ? m->size : (uint32_t)size;
        memcpy(m->bytes, data, n);
        data += n;
        size -= n;
        why = vhost_handle(device);
        while (device->n_in_fds)
            close(device->in_fds[--device->n_in_fds]);
        for (int i = 0; i < 4; i++)
            worker_step(dp->workers[0]);
        char answer[4096];
        while (recv(pair[1], answer, sizeof answer, MSG_DONTWAIT) > 0)
            ;
    }
    int fd = device->peer.fd;
    vhost_disconnect(device, "the input ends");
    if (fd < 0)
        abort();
    return 0;
}
