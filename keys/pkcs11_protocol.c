#include "keys/pkcs11_protocol.h"

#include "base/clock.h"
#include "keys/libcrypto.h"

#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define FRAME_HEAD 4u
#define BODY_MIN   5u /* type and number */
#define BODY_MAX   (PKCS11_FRAME_MAX - FRAME_HEAD)

/* How long each field of each type may be: a length of 0 ends the list. */
static const uint16_t field_max[PKCS11_TYPES_END][PKCS11_FIELDS_MAX] = {
    [PKCS11_LIST] = {PKCS11_MODULE_MAX},
    [PKCS11_OPEN] = {PKCS11_MODULE_MAX, PKCS11_URI_MAX},
    [PKCS11_SIGN] = {LIBCRYPTO_DIGEST_LEN},
    [PKCS11_PIN] = {PKCS11_PIN_MAX},
    [PKCS11_KEY] = {511, 63, 127, SPKI_MAX, 64},
    [PKCS11_PIN_NEEDED] = {127},
    [PKCS11_SIGNATURE] = {RSA_BITS_MAX / 8},
    [PKCS11_FAILED] = {ERROR_MESSAGE_MAX - 1},
};

static void put_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

int pkcs11_message_encode(const struct pkcs11_message *message, uint8_t *out, size_t *len,
                          struct error *err)
{
    const uint16_t *max = field_max[message->type];
    size_t at = BODY_MIN;
    out[0] = (uint8_t)message->type;
    put_u32(out + 1, (uint32_t)message->number);
    for (size_t i = 0; i < PKCS11_FIELDS_MAX && max[i]; i++) {
        const struct pkcs11_field *field = &message->field[i];
        if (field->len > max[i] || field->len + 2 > BODY_MAX - at)
            return fail(err, E_LIMIT, "PKCS#11 message: field %zu has %zu bytes", i, field->len);
        out[at] = (uint8_t)(field->len >> 8);
        out[at + 1] = (uint8_t)field->len;
        if (field->len)
            memcpy(out + at + 2, field->data, field->len);
        at += 2 + field->len;
    }
    *len = at;
    return OK;
}

int pkcs11_message_decode(const uint8_t *data, size_t len, struct pkcs11_message *out,
                          struct error *err)
{
    if (len < BODY_MIN || len > BODY_MAX)
        return fail(err, E_PROTOCOL, "PKCS#11 message of %zu bytes", len);
    if (data[0] < PKCS11_LIST || data[0] >= PKCS11_TYPES_END)
        return fail(err, E_PROTOCOL, "PKCS#11 message of unknown type %u", data[0]);
    struct pkcs11_message got = {.type = data[0], .number = (int32_t)get_u32(data + 1)};
    const uint16_t *max = field_max[got.type];
    size_t at = BODY_MIN;
    for (size_t i = 0; i < PKCS11_FIELDS_MAX && max[i]; i++) {
        if (len - at < 2)
            return fail(err, E_PROTOCOL, "PKCS#11 message lacks a field");
        size_t n = (size_t)data[at] << 8 | data[at + 1];
        at += 2;
        if (n > max[i] || n > len - at)
            return fail(err, E_PROTOCOL, "PKCS#11 message: field %zu claims %zu bytes", i, n);
        got.field[i] = (struct pkcs11_field){data + at, n};
        at += n;
    }
    if (at != len)
        return fail(err, E_PROTOCOL, "PKCS#11 message with %zu bytes too many", len - at);
    *out = got;
    return OK;
}

/* --- fields as text --- */

struct pkcs11_field pkcs11_field_of_text(const char *text)
{
    return (struct pkcs11_field){(const uint8_t *)text, text ? strlen(text) : 0};
}

/* Length of the harmless UTF-8 character at p, 0 where there is none. */
static size_t shown_char(const uint8_t *p, size_t left)
{
    if (p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7f;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool c1 = p[0] == 0xc2 && p[1] < 0xa0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool outside = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return c1 || overlong || outside ? 0 : n;
}

const char *pkcs11_field_show(const struct pkcs11_field *field, char *out, size_t size)
{
    size_t used = 0;
    for (size_t at = 0; at < field->len && used + 1 < size;) {
        size_t n = shown_char(field->data + at, field->len - at);
        if (n > size - 1 - used)
            break;
        if (n)
            memcpy(out + used, field->data + at, n);
        else
            out[used] = '?';
        used += n ? n : 1;
        at += n ? n : 1;
    }
    out[used] = '\0';
    return out;
}

int pkcs11_field_text(const struct pkcs11_field *field, char *out, size_t size, struct error *err)
{
    if (field->len >= size || (field->len && memchr(field->data, 0, field->len)))
        return fail(err, E_PROTOCOL, "PKCS#11 message: text does not fit");
    if (field->len)
        memcpy(out, field->data, field->len);
    out[field->len] = '\0';
    return OK;
}

/* --- the channel --- */

int pkcs11_channel_init(struct pkcs11_channel *channel, int fd, struct error *err)
{
    struct pkcs11_channel made = {.fd = fd, .buffer = SECRET_INIT};
    int rc = secret_new(PKCS11_FRAME_MAX, &made.buffer, err);
    if (!rc)
        *channel = made;
    return rc;
}

void pkcs11_channel_done(struct pkcs11_channel *channel)
{
    cleanup_fd(&channel->fd);
    secret_done(&channel->buffer);
}

static int send_all(int fd, const uint8_t *data, size_t len, struct error *err)
{
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, E_TOKEN, "PKCS#11 helper does not listen any more");
        data += n;
        len -= (size_t)n;
    }
    return OK;
}

int pkcs11_channel_send(struct pkcs11_channel *channel, const struct pkcs11_message *message,
                        struct error *err)
{
    uint8_t *frame = channel->buffer.data;
    size_t len = 0;
    int rc = pkcs11_message_encode(message, frame + FRAME_HEAD, &len, err);
    if (!rc) {
        put_u32(frame, (uint32_t)len);
        rc = send_all(channel->fd, frame, FRAME_HEAD + len, err);
    }
    secret_wipe(frame, channel->buffer.len);
    return rc;
}

static int left_of(int64_t until)
{
    if (until < 0)
        return -1;
    int64_t left = until - clock_monotonic_ms();
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

static int receive_all(int fd, uint8_t *data, size_t len, int64_t until, struct error *err)
{
    while (len) {
        struct pollfd wait = {fd, POLLIN, 0};
        int ready = poll(&wait, 1, left_of(until));
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0)
            return fail(err, E_TOKEN, "no answer in time");
        ssize_t n = ready < 0 ? -1 : recv(fd, data, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(err, E_TOKEN, "connection closed");
        data += n;
        len -= (size_t)n;
    }
    return OK;
}

int pkcs11_channel_receive(struct pkcs11_channel *channel, int timeout_ms,
                           struct pkcs11_message *out, struct error *err)
{
    uint8_t *frame = channel->buffer.data;
    int64_t until = timeout_ms < 0 ? -1 : clock_monotonic_ms() + timeout_ms;
    int rc = receive_all(channel->fd, frame, FRAME_HEAD, until, err);
    if (rc)
        return rc;
    size_t len = get_u32(frame);
    if (len > BODY_MAX)
        return fail(err, E_PROTOCOL, "PKCS#11 message of %zu bytes", len);
    rc = receive_all(channel->fd, frame + FRAME_HEAD, len, until, err);
    return rc ? rc : pkcs11_message_decode(frame + FRAME_HEAD, len, out, err);
}
