/* Archives written header by header, so that tests can say what no tar program would write. */
#ifndef BULLA_TESTS_UNIT_OCI_TAR_BUILDER_H
#define BULLA_TESTS_UNIT_OCI_TAR_BUILDER_H

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

struct tar_member {
    const char *name;
    size_t name_len; /* 0: strlen(name) */
    char type;       /* '0' file, '1' hard link, '2' symbolic link, '5' folder …; 0: NUL */
    unsigned mode;   /* 0: 0644, folders 0755 */
    unsigned uid, gid;
    unsigned long long mtime;
    const char *link;
    const char *data;
    size_t size;          /* of data; 0: strlen(data) */
    const char *raw_size; /* twelve bytes for the size field, whatever data is */
};

static inline void tar_need(int rc)
{
    if (rc)
        abort();
}

static inline void tar_block(struct bytes *b, const void *data, size_t len)
{
    static const char zeros[512];
    tar_need(bytes_append(b, data, len, NULL));
    tar_need(bytes_append(b, zeros, (512 - len % 512) % 512, NULL));
}

static inline void tar_checksum(char *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (size_t i = 0; i < 512; i++)
        sum += (unsigned char)h[i];
    (void)snprintf(h + 148, 8, "%06o", sum & 0777777u);
}

static inline void tar_add(struct bytes *b, const struct tar_member *m)
{
    char h[512] = {0};
    size_t size = m->size ? m->size : m->data ? strlen(m->data) : 0;
    unsigned mode = m->mode ? m->mode : m->type == '5' ? 0755 : 0644;
    size_t name_len = m->name_len ? m->name_len : strlen(m->name);
    memcpy(h, m->name, name_len < 100 ? name_len : 100);
    (void)snprintf(h + 100, 8, "%07o", mode);
    (void)snprintf(h + 108, 8, "%07o", m->uid);
    (void)snprintf(h + 116, 8, "%07o", m->gid);
    (void)snprintf(h + 124, 12, "%011llo", (unsigned long long)size);
    (void)snprintf(h + 136, 12, "%011llo", m->mtime);
    if (m->raw_size)
        memcpy(h + 124, m->raw_size, 12);
    h[156] = m->type;
    if (m->link)
        memcpy(h + 157, m->link, strlen(m->link) < 100 ? strlen(m->link) : 100);
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    tar_checksum(h);
    tar_need(bytes_append(b, h, sizeof h, NULL));
    if (m->data)
        tar_block(b, m->data, size);
}

/* One record "LEN key=value\n" of a pax header; value may hold NULs. */
static inline void tar_pax_record(struct bytes *b, const char *key, const void *value, size_t len)
{
    size_t body = strlen(key) + len + 3, total = body + 1;
    char digits[24];
    while ((size_t)snprintf(digits, sizeof digits, "%zu", total) + body != total)
        total = body + strlen(digits);
    tar_need(bytes_append_format(b, NULL, "%zu %s=", total, key));
    tar_need(bytes_append(b, value, len, NULL));
    tar_need(bytes_append(b, "\n", 1, NULL));
}

static inline void tar_pax_header(struct bytes *b, const struct bytes *records)
{
    tar_add(b, &(struct tar_member){.name = "PaxHeaders/x",
                                    .type = 'x',
                                    .data = (const char *)records->data,
                                    .size = records->len});
}

static inline void tar_add_pax(struct bytes *b, const char *key, const void *value, size_t len)
{
    struct bytes record = BYTES_INIT;
    tar_pax_record(&record, key, value, len);
    tar_pax_header(b, &record);
    bytes_done(&record);
}

struct tar_pair {
    const char *key, *value;
};

/* Ends with {NULL, NULL}. */
static inline void tar_add_pairs(struct bytes *b, const struct tar_pair *pairs)
{
    struct bytes records = BYTES_INIT;
    for (; pairs->key; pairs++)
        tar_pax_record(&records, pairs->key, pairs->value, strlen(pairs->value));
    tar_pax_header(b, &records);
    bytes_done(&records);
}

/* A long name or link target as GNU tar writes it: type 'L' or 'K'. */
static inline void tar_add_long(struct bytes *b, char type, const char *text)
{
    tar_add(b, &(struct tar_member){
                   .name = "././@LongLink", .type = type, .data = text, .size = strlen(text) + 1});
}

static inline void tar_end(struct bytes *b)
{
    static const char zeros[1024];
    tar_need(bytes_append(b, zeros, sizeof zeros, NULL));
}

static inline void tar_file(struct bytes *b, const char *name, const char *data)
{
    tar_add(b, &(struct tar_member){.name = name, .type = '0', .data = data});
}

static inline void tar_folder(struct bytes *b, const char *name)
{
    tar_add(b, &(struct tar_member){.name = name, .type = '5'});
}

static inline void tar_symlink(struct bytes *b, const char *name, const char *target)
{
    tar_add(b, &(struct tar_member){.name = name, .type = '2', .link = target, .mode = 0777});
}

static inline void tar_hardlink(struct bytes *b, const char *name, const char *target)
{
    tar_add(b, &(struct tar_member){.name = name, .type = '1', .link = target});
}

#endif
