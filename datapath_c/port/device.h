/* Network devices of the kernel: looking at them, setting them up, and finding them again in whatever network namespace they
 * were moved to. Main thread. Functions return 0 or a negative errno. */
#ifndef VSWITCH_DEVICE_H
#define VSWITCH_DEVICE_H
#include <stdbool.h>
#include <stdint.h>

int device_set_mac(const char *ifname, const uint8_t mac[6]);
int device_get_mac(const char *ifname, uint8_t mac[6]);
int device_set_mtu(const char *ifname, uint32_t mtu);
int device_get_mtu(const char *ifname, uint32_t *mtu);
/* Sets the interface up. */
int device_up(const char *ifname);
int device_index(const char *ifname);
/* IFF_* flags, or a negative errno. */
int device_flags(const char *ifname);
/* How many queues it receives by, and sends by: 1 of each where it doesn't say. */
void device_queues(const char *ifname, unsigned *receive, unsigned *send);
/* Whether it is one end of a veth. */
bool device_is_veth(const char *ifname);
/* Marks a device, so that it is known again after it was renamed or moved. At most 255 bytes. */
int device_set_alias(const char *ifname, const char *alias);

/* Looks for the device with this alias here and in every network namespace that a process or a name under /run/netns holds.
 * 0: *ns is an open descriptor of its namespace and ifname its name there. -ENODEV when there is none. */
int device_find_alias(const char *alias, int *ns, char ifname[16]);

/* Enters a namespace, and goes back to the one returned. Negative errno on failure. */
int netns_enter(int ns);
void netns_leave(int previous);

#endif
