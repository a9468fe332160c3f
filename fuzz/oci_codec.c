/* Compressed layers: the first byte chooses gzip or zstd and the size of the pieces. */
#include "oci/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(codec_cleanup) struct codec *c = NULL;
    static uint8_t room[65536];
    size_t made = 0;
    bool done = false;
    if (!size || codec_decoder(data[0] & 1 ? LAYER_ZSTD : LAYER_GZIP, &c, NULL))
        return 0;
    size_t piece = (size_t)(data[0] >> 1) * 512 + 1;
    struct codec_io io = {.in = data + 1, .in_len = size - 1, .last = true};
    while (!done && made < (8u << 20)) {
        size_t before = io.in_len;
        io.out = room;
        io.out_len = piece;
        if (codec_step(c, &io, &done, NULL))
            break;
        if (io.out_len > piece || io.in_len > before || (!done && io.out_len && !io.in_len))
            abort();
        made += piece - io.out_len;
    }
    return 0;
}
