#include "oci/layer_stream.h"

#include "oci/codec.h"

#include <pthread.h>
#include <string.h>

#define N_BLOCKS    6u /* three in work, three to level out uneven speeds */
#define N_HELD      2u /* what the consumer may still look at */
#define PACKED_SIZE 262144u

struct layer_stream {
    struct layer_stream_options options;
    struct codec *codec;
    struct digest_stream *packed_hash, *content_hash;
    uint8_t *packed; /* PACKED_SIZE */
    int64_t n_packed, n_content;

    /* Blocks go round: the producer fills number `made`, the consumer looks at number `taken` − 1
     * and the one before. Numbers count up; the mutex guards everything below. */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    bool has_thread, stop, ended;
    uint8_t *blocks[N_BLOCKS];
    size_t lengths[N_BLOCKS];
    size_t made, taken;
    int rc; /* the producer's failure */
    struct error err;
};

/* --- producer --- */

static int read_packed(struct layer_stream *s, struct codec_io *io, struct error *err)
{
    ssize_t n;
    do
        n = read(s->options.fd, s->packed, PACKED_SIZE);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return fail_sys(err, errno, "read layer");
    s->n_packed += n;
    if (s->options.size >= 0 &&
        (s->n_packed > s->options.size || (n == 0 && s->n_packed != s->options.size)))
        return fail(err, E_DIGEST, "layer has %lld bytes%s, not %lld", (long long)s->n_packed,
                    n ? " or more" : "", (long long)s->options.size);
    io->in = s->packed;
    io->in_len = (size_t)n;
    io->last = n == 0;
    progress_add(s->options.progress, (uint64_t)n);
    return s->packed_hash ? digest_stream_update(s->packed_hash, s->packed, (size_t)n, err) : OK;
}

static int check_growth(struct layer_stream *s, size_t more, struct error *err)
{
    s->n_content += (int64_t)more;
    if (s->n_content > LAYER_MAX_BYTES)
        return fail(err, E_LIMIT, "layer unpacks to more than %lld bytes",
                    (long long)LAYER_MAX_BYTES);
    if (s->n_content > LAYER_HARMLESS_SIZE && s->n_content / LAYER_MAX_RATIO > s->n_packed)
        return fail(err, E_LIMIT, "layer unpacks to more than %d times its size (a bomb?)",
                    LAYER_MAX_RATIO);
    return OK;
}

/* Fills one block as far as there is data. */
static int fill_block(struct layer_stream *s, struct codec_io *io, uint8_t *block, size_t *len,
                      bool *done, struct error *err)
{
    int rc = OK;
    io->out = block;
    io->out_len = LAYER_BLOCK_SIZE;
    while (!rc && !*done && io->out_len) {
        if (!io->in_len && !io->last)
            rc = read_packed(s, io, err);
        if (!rc)
            rc = codec_step(s->codec, io, done, err);
    }
    *len = LAYER_BLOCK_SIZE - io->out_len;
    if (!rc)
        rc = check_growth(s, *len, err);
    if (!rc && s->content_hash)
        rc = digest_stream_update(s->content_hash, block, *len, err);
    return rc;
}

/* False: the consumer has gone. */
static bool wait_for_room(struct layer_stream *s)
{
    pthread_mutex_lock(&s->mutex);
    while (!s->stop && s->made - s->taken + N_HELD >= N_BLOCKS)
        pthread_cond_wait(&s->changed, &s->mutex);
    bool go_on = !s->stop;
    pthread_mutex_unlock(&s->mutex);
    return go_on;
}

static void hand_over(struct layer_stream *s, size_t len, bool end, int rc, const struct error *err)
{
    pthread_mutex_lock(&s->mutex);
    if (!rc && len) {
        s->lengths[s->made % N_BLOCKS] = len;
        s->made++;
    }
    s->ended = end || rc;
    s->rc = rc;
    s->err = *err;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

static void *produce(void *argument)
{
    struct layer_stream *s = argument;
    struct codec_io io = {.in_len = 0};
    bool done = false;
    int rc = OK;
    while (!rc && !done && wait_for_room(s)) {
        struct error err = ERROR_INIT;
        size_t len = 0;
        rc = fill_block(s, &io, s->blocks[s->made % N_BLOCKS], &len, &done, &err);
        hand_over(s, len, done, rc, &err);
    }
    return NULL;
}

/* --- consumer --- */

int layer_stream_read(struct layer_stream *s, const void **block, size_t *len, struct error *err)
{
    pthread_mutex_lock(&s->mutex);
    while (s->made == s->taken && !s->ended)
        pthread_cond_wait(&s->changed, &s->mutex);
    int rc = OK;
    *len = 0;
    *block = "";
    if (s->made != s->taken) {
        *block = s->blocks[s->taken % N_BLOCKS];
        *len = s->lengths[s->taken % N_BLOCKS];
        s->taken++;
        pthread_cond_signal(&s->changed);
    } else if (s->rc) {
        rc = s->rc;
        if (err)
            *err = s->err;
    }
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

int layer_stream_finish(struct layer_stream *s, struct digest *packed, struct digest *content,
                        int64_t *content_size, struct error *err)
{
    const void *block;
    size_t len;
    int rc;
    do
        rc = layer_stream_read(s, &block, &len, err);
    while (!rc && len);
    /* The producer is at its end: its fields are at rest. */
    if (!rc && packed)
        rc = digest_stream_peek(s->packed_hash, packed, err);
    if (!rc && content)
        rc = digest_stream_peek(s->content_hash, content, err);
    if (!rc && content_size)
        *content_size = s->n_content;
    return rc;
}

static int allocate(struct layer_stream *s, struct error *err)
{
    s->packed = malloc(PACKED_SIZE);
    bool good = s->packed;
    for (size_t i = 0; i < N_BLOCKS; i++) {
        s->blocks[i] = malloc(LAYER_BLOCK_SIZE);
        good = good && s->blocks[i];
    }
    int rc = good ? OK : fail_nomem(err);
    if (!rc)
        rc = codec_decoder(s->options.form, &s->codec, err);
    if (!rc && s->options.packed_alg != DIGEST_NONE)
        rc = digest_stream_new(s->options.packed_alg, &s->packed_hash, err);
    if (!rc && s->options.content_alg != DIGEST_NONE)
        rc = digest_stream_new(s->options.content_alg, &s->content_hash, err);
    return rc;
}

int layer_stream_open(const struct layer_stream_options *options, struct layer_stream **out,
                      struct error *err)
{
    CLEANUP(layer_stream_cleanup) struct layer_stream *s = calloc(1, sizeof *s);
    if (!s)
        return fail_nomem(err);
    s->options = *options;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->changed, NULL);
    int rc = allocate(s, err);
    if (rc)
        return rc;
    int errnum = pthread_create(&s->thread, NULL, produce, s);
    if (errnum)
        return fail_sys(err, errnum, "start a thread");
    s->has_thread = true;
    *out = TAKE_PTR(s);
    return OK;
}

void layer_stream_close(struct layer_stream *s)
{
    if (!s)
        return;
    if (s->has_thread) {
        pthread_mutex_lock(&s->mutex);
        s->stop = true;
        pthread_cond_signal(&s->changed);
        pthread_mutex_unlock(&s->mutex);
        pthread_join(s->thread, NULL);
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mutex);
    for (size_t i = 0; i < N_BLOCKS; i++)
        free(s->blocks[i]);
    free(s->packed);
    codec_free(s->codec);
    digest_stream_free(s->packed_hash);
    digest_stream_free(s->content_hash);
    free(s);
}

void layer_stream_cleanup(struct layer_stream **s)
{
    layer_stream_close(*s);
    *s = NULL;
}

int layer_form_of(const char *media_type, enum layer_compression *out, struct error *err)
{
    static const struct {
        const char *type;
        enum layer_compression form;
    } table[] = {
        {MEDIA_OCI_LAYER, LAYER_NONE},
        {MEDIA_OCI_LAYER_GZIP, LAYER_GZIP},
        {MEDIA_OCI_LAYER_ZSTD, LAYER_ZSTD},
        {MEDIA_DOCKER_LAYER, LAYER_GZIP},
        {"application/vnd.docker.image.rootfs.diff.tar", LAYER_NONE},
        {"application/vnd.docker.image.rootfs.diff.tar.zstd", LAYER_ZSTD},
        {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", LAYER_GZIP},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar", LAYER_NONE},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", LAYER_GZIP},
        {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", LAYER_ZSTD},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(media_type, table[i].type) == 0) {
            *out = table[i].form;
            return OK;
        }
    return fail(err, E_UNSUPPORTED, "'%.80s' is no layer that can be unpacked", media_type);
}
