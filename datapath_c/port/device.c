#include "port/device.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int request(const char *ifname, unsigned long op, struct ifreq *r)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    snprintf(r->ifr_name, sizeof r->ifr_name, "%s", ifname);
    int e = ioctl(fd, op, r) ? -errno : 0;
    close(fd);
    return e;
}

int device_set_mac(const char *ifname, const uint8_t mac[6])
{
    struct ifreq r = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};
    memcpy(r.ifr_hwaddr.sa_data, mac, 6);
    return request(ifname, SIOCSIFHWADDR, &r);
}

int device_get_mac(const char *ifname, uint8_t mac[6])
{
    struct ifreq r = {0};
    int e = request(ifname, SIOCGIFHWADDR, &r);
    memcpy(mac, r.ifr_hwaddr.sa_data, 6);
    return e;
}

int device_set_mtu(const char *ifname, uint32_t mtu)
{
    struct ifreq r = {.ifr_mtu = (int)mtu};
    return request(ifname, SIOCSIFMTU, &r);
}

int device_get_mtu(const char *ifname, uint32_t *mtu)
{
    struct ifreq r = {0};
    int e = request(ifname, SIOCGIFMTU, &r);
    *mtu = (uint32_t)r.ifr_mtu;
    return e;
}

int device_flags(const char *ifname)
{
    struct ifreq r = {0};
    int e = request(ifname, SIOCGIFFLAGS, &r);
    return e ? e : (uint16_t)r.ifr_flags;
}

int device_up(const char *ifname)
{
    int flags = device_flags(ifname);
    if (flags < 0)
        return flags;
    struct ifreq r = {.ifr_flags = (short)(flags | IFF_UP)};
    return request(ifname, SIOCSIFFLAGS, &r);
}

int device_index(const char *ifname)
{
    struct ifreq r = {0};
    int e = request(ifname, SIOCGIFINDEX, &r);
    return e ? e : r.ifr_ifindex;
}

void device_queues(const char *ifname, unsigned *receive, unsigned *send)
{
    struct ethtool_channels c = {.cmd = ETHTOOL_GCHANNELS};
    struct ifreq r = {.ifr_data = (void *)&c};
    *receive = *send = 1;
    if (request(ifname, SIOCETHTOOL, &r))
        return;
    *receive = c.combined_count + c.rx_count ? c.combined_count + c.rx_count : 1;
    *send = c.combined_count + c.tx_count ? c.combined_count + c.tx_count : 1;
}

bool device_is_veth(const char *ifname)
{
    struct ethtool_drvinfo d = {.cmd = ETHTOOL_GDRVINFO};
    struct ifreq r = {.ifr_data = (void *)&d};
    return !request(ifname, SIOCETHTOOL, &r) && !strcmp(d.driver, "veth");
}

struct link_request {
    struct nlmsghdr n;
    struct ifinfomsg i;
    char attributes[512];
};

static void add_attribute(struct link_request *q, unsigned short type, const void *data, size_t len)
{
    struct rtattr *a = (struct rtattr *)((char *)q + NLMSG_ALIGN(q->n.nlmsg_len));
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(len);
    memcpy(RTA_DATA(a), data, len);
    q->n.nlmsg_len = (uint32_t)(NLMSG_ALIGN(q->n.nlmsg_len) + RTA_ALIGN(a->rta_len));
}

int device_set_alias(const char *ifname, const char *alias)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    struct link_request q = {.n = {.nlmsg_len = NLMSG_LENGTH(sizeof q.i), .nlmsg_type = RTM_SETLINK,
                                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK}};
    q.i.ifi_index = device_index(ifname);
    add_attribute(&q, IFLA_IFALIAS, alias, strlen(alias) + 1);
    struct {
        struct nlmsghdr n;
        struct nlmsgerr e;
        char room[1024];
    } answer;
    int e = 0;
    if (send(fd, &q, q.n.nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0)
        e = -errno;
    else if (answer.n.nlmsg_type == NLMSG_ERROR)
        e = answer.e.error;
    close(fd);
    return e;
}

/* Looks in the current namespace. */
static bool find_here(const char *alias, char ifname[16])
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct link_request q = {.n = {.nlmsg_len = NLMSG_LENGTH(sizeof q.i), .nlmsg_type = RTM_GETLINK,
                                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
    bool found = false, done = fd < 0 || send(fd, &q, q.n.nlmsg_len, 0) < 0;
    static char buffer[65536] __attribute__((aligned(8)));
    while (!done) {
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0)
            break;
        for (struct nlmsghdr *h = (struct nlmsghdr *)buffer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            if (h->nlmsg_type != RTM_NEWLINK) {
                done = true;
                break;
            }
            struct ifinfomsg *i = NLMSG_DATA(h);
            int left = (int)h->nlmsg_len - (int)NLMSG_LENGTH(sizeof *i);
            const char *name = NULL, *has = NULL;
            for (struct rtattr *a = IFLA_RTA(i); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
                if (a->rta_type == IFLA_IFNAME)
                    name = RTA_DATA(a);
                else if (a->rta_type == IFLA_IFALIAS)
                    has = RTA_DATA(a);
            }
            if (name && has && !strcmp(has, alias)) {
                snprintf(ifname, 16, "%s", name);
                found = true;
            }
        }
    }
    if (fd >= 0)
        close(fd);
    return found;
}

int netns_enter(int ns)
{
    int previous = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (previous < 0)
        return -errno;
    if (setns(ns, CLONE_NEWNET)) {
        int e = -errno;
        close(previous);
        return e;
    }
    return previous;
}

void netns_leave(int previous)
{
    if (setns(previous, CLONE_NEWNET) == 0)
        close(previous);
}

#define MAX_NAMESPACES 4096

struct seen {
    unsigned n;
    ino_t inodes[MAX_NAMESPACES];
};

/* Opens a namespace not looked at yet and looks there. */
static int try_namespace(const char *path, struct seen *seen, const char *alias, char ifname[16])
{
    struct stat st;
    if (stat(path, &st) || seen->n == MAX_NAMESPACES)
        return -ENODEV;
    for (unsigned i = 0; i < seen->n; i++)
        if (seen->inodes[i] == st.st_ino)
            return -ENODEV;
    seen->inodes[seen->n++] = st.st_ino;
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0)
        return -ENODEV;
    int previous = netns_enter(ns);
    if (previous >= 0) {
        bool found = find_here(alias, ifname);
        netns_leave(previous);
        if (found)
            return ns;
    }
    close(ns);
    return -ENODEV;
}

int device_find_alias(const char *alias, int *ns, char ifname[16])
{
    static struct seen seen;
    static const char *const folders[] = {"/run/netns", "/proc"};
    seen.n = 0;
    int found = try_namespace("/proc/thread-self/ns/net", &seen, alias, ifname);
    for (int i = 0; i < 2 && found < 0; i++) {
        DIR *d = opendir(folders[i]);
        struct dirent *e;
        while (d && found < 0 && (e = readdir(d))) {
            char path[300];
            if (e->d_name[0] == '.' || (i == 1 && (e->d_name[0] < '0' || e->d_name[0] > '9')))
                continue;
            snprintf(path, sizeof path, i ? "%s/%s/ns/net" : "%s/%s", folders[i], e->d_name);
            found = try_namespace(path, &seen, alias, ifname);
        }
        if (d)
            closedir(d);
    }
    if (found < 0)
        return -ENODEV;
    *ns = found;
    return 0;
}
