#include "bench/guest_load.h"
#include <linux/virtio_net.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/checksum.h"

static uint64_t draw(struct load *l)
{
    /* splitmix64 (Vigna): every seed gives a full period */
    uint64_t z = l->seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void add_frame(struct load *l, const uint8_t *frame, uint32_t len)
{
    uint64_t at = l->n_frames ? l->offsets[l->n_frames - 1] + l->lengths[l->n_frames - 1] : 0;
    if (!(l->n_frames & (l->n_frames - 1))) {
        uint32_t room = l->n_frames ? l->n_frames * 2 : 1;
        l->offsets = realloc(l->offsets, room * sizeof *l->offsets);
        l->lengths = realloc(l->lengths, room * sizeof *l->lengths);
        if (!l->offsets || !l->lengths)
            abort();
    }
    while (at + len > l->n_bytes) {
        l->n_bytes = l->n_bytes ? l->n_bytes * 2 : 65536;
        if (!(l->bytes = realloc(l->bytes, l->n_bytes)))
            abort();
    }
    l->offsets[l->n_frames] = at;
    l->lengths[l->n_frames++] = len;
    memcpy(l->bytes + at, frame, len);
}

/* A frame from 10.0.0.1, port 1000, to 10.0.0.2, port 2000, zero behind the ports. Good until the next. */
static uint8_t *make_ip(uint32_t len, const uint8_t dst[6], const uint8_t src[6], uint8_t proto)
{
    static uint8_t f[65536];
    memset(f, 0, sizeof f);
    memcpy(f, dst, 6);
    memcpy(f + 6, src, 6);
    put16(f + 12, 0x0800);
    f[14] = 0x45;
    put16(f + 16, (uint16_t)(len - 14));
    f[22] = 64;
    f[23] = proto;
    put32(f + 26, 0x0a000001);
    put32(f + 30, 0x0a000002);
    uint16_t sum = (uint16_t)~csum_fold(csum_partial(f + 14, 20, 0));
    memcpy(f + 24, &sum, 2);
    put16(f + 34, 1000);
    put16(f + 36, 2000);
    return f;
}

static void make_udp(struct load *l, uint32_t len, const uint8_t dst[6], const uint8_t src[6])
{
    uint8_t *f = make_ip(len, dst, src, 17);
    put16(f + 38, (uint16_t)(len - 34));
    if (l->gso) {
        uint16_t open = csum_fold(csum_pseudo(f + 26, f + 30, false, 17, len - 34));
        memcpy(f + 40, &open, 2);
    }
    add_frame(l, f, len);
}

/* Its checksum is the pseudo-header's sum: to be completed by who cuts it. */
static void make_tcp(struct load *l, uint32_t len, const uint8_t dst[6], const uint8_t src[6])
{
    uint8_t *f = make_ip(len, dst, src, 6);
    f[46] = 0x50;
    f[47] = 0x10;
    put16(f + 48, 0xffff);
    uint16_t open = csum_fold(csum_pseudo(f + 26, f + 30, false, 6, len - 34));
    memcpy(f + 50, &open, 2);
    add_frame(l, f, len);
}

static const char *read_pcap(struct load *l, const char *path)
{
    struct {
        uint32_t magic, version, zone, sigfigs, snaplen, linktype;
    } head;
    struct {
        uint32_t s, us, kept, len;
    } record;
    static uint8_t frame[65536];
    FILE *f = fopen(path, "rb");
    if (!f)
        return "the capture can't be opened";
    const char *why = fread(&head, sizeof head, 1, f) == 1 && head.magic == 0xa1b2c3d4 && head.linktype == 1
                          ? NULL : "no capture (pcap, this machine's byte order, Ethernet)";
    while (!why && fread(&record, sizeof record, 1, f) == 1) {
        if (record.kept > sizeof frame || fread(frame, record.kept, 1, f) != 1)
            why = "the capture is cut short";
        else
            add_frame(l, frame, record.kept);
    }
    fclose(f);
    return why ? why : l->n_frames ? NULL : "the capture is empty";
}

static const char *read_hex(struct load *l, const char *text)
{
    static uint8_t frame[65536];
    uint32_t n = 0;
    for (unsigned byte; sscanf(text + 2 * n, "%2x", &byte) == 1 && n < sizeof frame; n++)
        frame[n] = (uint8_t)byte;
    add_frame(l, frame, n);
    return n >= 14 ? NULL : "hex: no frame";
}

/* OFFSET/WIDTH/COUNT[/FIRST][/random|/flip] */
static const char *parse_sweep(struct load *l, const char *text)
{
    struct load_sweep s = {0};
    int n = sscanf(text, "%u/%u/%u/%i", &s.offset, &s.width, &s.count, (int *)&s.first);
    s.random = strstr(text, "/random");
    s.flip = strstr(text, "/flip");
    if (s.flip)
        s.count = s.width * 8 + 1;
    if (n < 3 || (s.width != 1 && s.width != 2 && s.width != 4) || !s.count || l->n_sweeps == LOAD_MAX_SWEEPS)
        return "sweep: OFFSET/WIDTH/COUNT[/FIRST][/random|/flip], at most four";
    l->sweeps[l->n_sweeps++] = s;
    return NULL;
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
    return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) == 6;
}

const char *load_parse(struct load *l, char *text)
{
    char *save = NULL, *colon = strchr(text, ':');
    uint8_t dst[6] = {2, 0, 0, 0, 0, 2}, src[6] = {2, 0, 0, 0, 0, 1};
    uint32_t len = 60, flows = 1;
    const char *why = NULL;
    l->port = (uint32_t)atoi(text);
    l->burst = 32;
    l->seed = 1 + l->id;
    for (char *key = colon ? strtok_r(colon + 1, ",", &save) : NULL; key && !why; key = strtok_r(NULL, ",", &save)) {
        char *value = strchr(key, '=');
        if (value)
            *value++ = 0;
        else
            value = "1";
        if (!strcmp(key, "len"))
            len = (uint32_t)atoi(value);
        else if (!strcmp(key, "flows"))
            flows = (uint32_t)atoi(value);
        else if (!strcmp(key, "queue"))
            l->queue = (uint32_t)atoi(value);
        else if (!strcmp(key, "rate"))
            l->rate = atof(value);
        else if (!strcmp(key, "poisson"))
            l->poisson = true;
        else if (!strcmp(key, "stamp"))
            l->stamp = true;
        else if (!strcmp(key, "outstanding"))
            l->outstanding = (uint32_t)atoi(value);
        else if (!strcmp(key, "burst"))
            l->burst = (uint32_t)atoi(value);
        else if (!strcmp(key, "train"))
            l->train = (uint32_t)atoi(value);
        else if (!strcmp(key, "gso") || !strcmp(key, "uso") || !strcmp(key, "ufo")) {
            l->gso = (uint32_t)atoi(value);
            l->gso_type = *key == 'g' ? VIRTIO_NET_HDR_GSO_TCPV4 : key[1] == 's' ? 5 : VIRTIO_NET_HDR_GSO_UDP;
        }
        else if (!strcmp(key, "seed"))
            l->seed = (uint64_t)atoll(value);
        else if (!strcmp(key, "dst"))
            why = parse_mac(value, dst) ? NULL : "dst: no MAC address";
        else if (!strcmp(key, "src"))
            why = parse_mac(value, src) ? NULL : "src: no MAC address";
        else if (!strcmp(key, "pcap"))
            why = read_pcap(l, value);
        else if (!strcmp(key, "hex"))
            why = read_hex(l, value);
        else if (!strcmp(key, "sweep"))
            why = parse_sweep(l, value);
        else
            why = "an unknown key";
    }
    if (why)
        return why;
    if (len < 60 || len > 65535 || !l->burst || l->burst > 256)
        return "len is 60..65535, burst 1..256";
    if (!l->n_frames && l->gso_type == VIRTIO_NET_HDR_GSO_TCPV4)
        make_tcp(l, len, dst, src);
    else if (!l->n_frames)
        make_udp(l, len, dst, src);
    if (flows > 1) {
        /* 10.0.0.1 and up, and with them the source ports */
        l->sweeps[l->n_sweeps++] = (struct load_sweep){.offset = 26, .width = 4, .count = flows, .first = 0x0a000001};
        l->sweeps[l->n_sweeps++] = (struct load_sweep){.offset = 34, .width = 2, .count = flows < 50000 ? flows : 50000, .first = 1000};
    }
    if (l->outstanding)
        l->stamp = true;
    return NULL;
}

uint32_t load_longest(const struct load *l)
{
    uint32_t longest = 0;
    for (uint32_t i = 0; i < l->n_frames; i++)
        longest = l->lengths[i] > longest ? l->lengths[i] : longest;
    return longest;
}

uint32_t load_frame(struct load *l, uint8_t *to, uint64_t stamp)
{
    uint32_t i = l->next, len = l->lengths[i];
    if (l->n_frames > 1)
        l->next = i + 1 < l->n_frames ? i + 1 : 0;
    memcpy(to, l->bytes + l->offsets[i], len);
    for (unsigned k = 0; k < l->n_sweeps; k++) {
        struct load_sweep *s = &l->sweeps[k];
        uint32_t step = s->random ? (uint32_t)(draw(l) % s->count) : s->at, value = s->first + step;
        if (s->flip)
            value = step ? s->first ^ 1u << (step - 1) : s->first;
        s->at = s->at + 1 < s->count ? s->at + 1 : 0;
        if (s->width == 4)
            put32(to + s->offset, value);
        else if (s->width == 2)
            put16(to + s->offset, (uint16_t)value);
        else
            to[s->offset] = (uint8_t)value;
    }
    if (l->stamp) {
        uint32_t late = l->late < LOAD_MAX_LATE ? (uint32_t)l->late : LOAD_MAX_LATE, tag[2] = {LOAD_MARK, l->id | late << 8};
        memcpy(to + len - 16, tag, 8);
        memcpy(to + len - 8, &stamp, 8);
    }
    return len;
}

double load_gap(struct load *l, double hz)
{
    double mean = hz / l->rate;
    if (l->train) {
        l->in_train = (l->in_train + 1) % l->train;
        return l->in_train ? 0 : mean * l->train;
    }
    if (!l->poisson)
        return mean;
    return -log(((double)(draw(l) >> 11) + 0.5) / (double)(1ull << 53)) * mean;
}

bool load_tag(const uint8_t *frame, uint32_t len, uint32_t *id, uint32_t *late, uint64_t *stamp)
{
    uint32_t tag[2];
    if (len < 30)
        return false;
    memcpy(tag, frame + len - 16, 8);
    memcpy(stamp, frame + len - 8, 8);
    *id = tag[1] & 0xff;
    *late = tag[1] >> 8;
    return tag[0] == LOAD_MARK;
}
