#include <string.h>
#include "codec/codec.h"

uint8_t *codec_put(struct codec_buf *b, size_t len)
{
    static uint8_t beyond[65536];
    if (b->len + len > b->size || b->full) {
        b->full = 1;
        return len <= sizeof beyond ? beyond : NULL;
    }
    uint8_t *at = b->data + b->len;
    b->len += len;
    return at;
}

int codec_copy(struct codec_buf *b, const uint8_t *data, size_t len)
{
    if (b->len + len > b->size || b->full) {
        b->full = 1;
        return 0;
    }
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    return 1;
}

void codec_pad(struct codec_buf *b, size_t from)
{
    static const uint8_t zeros[8];
    codec_copy(b, zeros, (8 - (b->len - from) % 8) % 8);
}
