/* Frames between a program and its PKCS#11 helper, and helpers that misbehave. */
#include "keys/pkcs11_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static struct pkcs11_message key_message(void)
{
    return (struct pkcs11_message){.type = PKCS11_KEY,
                                   .number = -7,
                                   .field = {pkcs11_field_of_text("pkcs11:id=%02"),
                                             pkcs11_field_of_text("label"),
                                             pkcs11_field_of_text(""), pkcs11_field_of_text("spki"),
                                             pkcs11_field_of_text("\x02")}};
}

static void messages_survive(void **state)
{
    (void)state;
    uint8_t wire[PKCS11_FRAME_MAX];
    size_t len = 0;
    struct pkcs11_message sent = key_message(), got;
    assert_int_equal(pkcs11_message_encode(&sent, wire, &len, NULL), OK);
    assert_int_equal(len, 5 + 5 * 2 + 13 + 5 + 0 + 4 + 1);
    assert_int_equal(pkcs11_message_decode(wire, len, &got, NULL), OK);
    assert_int_equal(got.type, PKCS11_KEY);
    assert_int_equal(got.number, -7);
    for (int i = 0; i < PKCS11_FIELDS_MAX; i++)
        assert_true(bytes_equal(got.field[i].data, got.field[i].len, sent.field[i].data,
                                sent.field[i].len));
}

static void other_lengths_are_refused(void **state)
{
    (void)state;
    uint8_t wire[PKCS11_FRAME_MAX] = {0};
    size_t len = 0;
    struct pkcs11_message sent = key_message(), got = {.number = 99};
    assert_int_equal(pkcs11_message_encode(&sent, wire, &len, NULL), OK);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(pkcs11_message_decode(wire, cut, &got, NULL), E_PROTOCOL);
    assert_int_equal(pkcs11_message_decode(wire, len + 1, &got, NULL), E_PROTOCOL);
    assert_int_equal(pkcs11_message_decode(wire, sizeof wire + 1, &got, NULL), E_PROTOCOL);
    wire[5] = 0xff; /* the first field claims more than there is */
    assert_int_equal(pkcs11_message_decode(wire, len, &got, NULL), E_PROTOCOL);
    wire[0] = 0;
    assert_int_equal(pkcs11_message_decode(wire, len, &got, NULL), E_PROTOCOL);
    wire[0] = PKCS11_TYPES_END;
    assert_int_equal(pkcs11_message_decode(wire, len, &got, NULL), E_PROTOCOL);
    assert_int_equal(got.number, 99);
}

static void fields_have_limits(void **state)
{
    (void)state;
    uint8_t wire[PKCS11_FRAME_MAX], pin[PKCS11_PIN_MAX + 1] = {0};
    size_t len = 77;
    struct pkcs11_message message = {.type = PKCS11_PIN, .field = {{pin, sizeof pin}}};
    assert_int_equal(pkcs11_message_encode(&message, wire, &len, NULL), E_LIMIT);
    assert_int_equal(len, 77);
    message.field[0].len--;
    assert_int_equal(pkcs11_message_encode(&message, wire, &len, NULL), OK);
    /* The same on the other side: one byte more on the wire. */
    wire[5] = 1;
    wire[6] = 0;
    assert_int_equal(pkcs11_message_decode(wire, len + 1, &message, NULL), E_PROTOCOL);
}

static void foreign_text_is_made_harmless(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {
        {"plain", 5, "plain"},
        {"", 0, ""},
        {"a\0b", 3, "a?b"},
        {"a\x1b[31m\n\r\t\x7f", 10, "a?[31m????"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91", 9, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91"},
        {"\xc2\x9b\xc0\x80\xff", 5, "?????"}, /* C1 control, overlong, never valid */
        {"\xed\xa0\x80", 3, "???"},           /* surrogate */
        {"\xf4\x90\x80\x80", 4, "????"},      /* above U+10FFFF */
        {"\xe0\x80\x80\xf0\x80\x80\x80", 7, "???????"},
        {"\xe2\x82", 2, "??"}, /* cut */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[32];
        struct pkcs11_field field = {(const uint8_t *)cases[i].text, cases[i].len};
        assert_string_equal(pkcs11_field_show(&field, out, sizeof out), cases[i].want);
    }
    char small[5];
    struct pkcs11_field field = pkcs11_field_of_text("abc\xc3\xa4");
    /* No half characters. */
    assert_string_equal(pkcs11_field_show(&field, small, sizeof small), "abc");
}

static void exact_text(void **state)
{
    (void)state;
    char out[4] = "old";
    struct pkcs11_field four = pkcs11_field_of_text("four"), three = pkcs11_field_of_text("abc");
    struct pkcs11_field nul = {(const uint8_t *)"a\0", 2};
    assert_int_equal(pkcs11_field_text(&four, out, sizeof out, NULL), E_PROTOCOL);
    assert_int_equal(pkcs11_field_text(&nul, out, sizeof out, NULL), E_PROTOCOL);
    assert_string_equal(out, "old");
    assert_int_equal(pkcs11_field_text(&three, out, sizeof out, NULL), OK);
    assert_string_equal(out, "abc");
}

/* --- channels --- */

struct pair {
    struct pkcs11_channel channel;
    int other;
};

static struct pair open_pair(void)
{
    int fd[2];
    struct pair pair;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    assert_int_equal(pkcs11_channel_init(&pair.channel, fd[0], NULL), OK);
    pair.other = fd[1];
    return pair;
}

static void close_pair(struct pair *pair)
{
    pkcs11_channel_done(&pair->channel);
    cleanup_fd(&pair->other);
}

static void channel_carries_messages(void **state)
{
    (void)state;
    CLEANUP(close_pair) struct pair a = open_pair();
    struct pkcs11_channel b;
    struct pkcs11_message sent = key_message(), got;
    assert_int_equal(pkcs11_channel_init(&b, TAKE_FD(a.other), NULL), OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pkcs11_channel_send(&a.channel, &sent, NULL), OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pkcs11_channel_receive(&b, 1000, &got, NULL), OK);
        assert_int_equal(got.field[3].len, 4);
    }
    /* Nothing of a PIN stays behind in the sender's buffer. */
    for (size_t i = 0; i < a.channel.buffer.len; i++)
        assert_int_equal(a.channel.buffer.data[i], 0);
    pkcs11_channel_done(&b);
    struct error err = ERROR_INIT;
    assert_int_equal(pkcs11_channel_send(&a.channel, &sent, &err), E_TOKEN);
    assert_int_equal(pkcs11_channel_receive(&a.channel, 1000, &got, &err), E_TOKEN);
    assert_string_equal(err.message, "connection closed");
}

static void bad_frames(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        int code;
        const char *message;
    } cases[] = {
        {"", 0, E_TOKEN, "no answer in time"},
        {"\0\0\0", 3, E_TOKEN, "no answer in time"},
        {"\0\0\0\x05\x07", 5, E_TOKEN, "no answer in time"},
        {"\xff\xff\xff\xff", 4, E_PROTOCOL, "4294967295 bytes"},
        {"\0\0\x0f\xfd", 4, E_PROTOCOL, "4093 bytes"},
        {"\0\0\0\0", 4, E_PROTOCOL, "0 bytes"},
        {"\0\0\0\x05\x63\0\0\0\0", 9, E_PROTOCOL, "unknown type 99"},
        {"\0\0\0\x06\x07\0\0\0\0\0", 10, E_PROTOCOL, "too many"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CLEANUP(close_pair) struct pair pair = open_pair();
        struct pkcs11_message got;
        struct error err = ERROR_INIT;
        assert_int_equal(write(pair.other, cases[i].bytes, cases[i].len), (ssize_t)cases[i].len);
        assert_int_equal(pkcs11_channel_receive(&pair.channel, 50, &got, &err), cases[i].code);
        assert_non_null(strstr(err.message, cases[i].message));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_survive),   cmocka_unit_test(other_lengths_are_refused),
        cmocka_unit_test(fields_have_limits), cmocka_unit_test(foreign_text_is_made_harmless),
        cmocka_unit_test(exact_text),         cmocka_unit_test(channel_carries_messages),
        cmocka_unit_test(bad_frames),
    };
    return cmocka_run_group_tests_name("keys: pkcs11 protocol", tests, NULL, NULL);
}
