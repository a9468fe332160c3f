/*
 * What a full check of a layer saw of each entry, so that an unchanged start need not read it
 * again.
 *
 * One file per layer in a folder that only its owner may use and that ends with the boot. A stamp
 * is trusted only if the file had lain still for a while when it was checked: a change within the
 * clock's granularity would not show in its change time. Thread-safe; bytes are borrowed.
 */
#ifndef BULLA_OCI_LAYER_CACHE_H
#define BULLA_OCI_LAYER_CACHE_H

#include "oci/layer_record.h"

#include <sys/stat.h>
#include <time.h>

/* Two seconds: the coarsest change times (one second) and one of margin. */
#define LAYER_CACHE_STILL_S 2

/* 40 bytes per entry in the file, in the order of the record; all zero: not trusted. */
struct layer_stamp {
    uint64_t device, inode, size;
    int64_t ctime_s;
    uint32_t ctime_ns, mode;
};

struct layer_cache {
    struct bytes stamps; /* struct layer_stamp, one behind the other */
    size_t n;
};

void layer_cache_done(struct layer_cache *c);
/* The stamp of st as seen by a check that began at `begun`; zero where it cannot be trusted. */
struct layer_stamp layer_stamp_of(const struct stat *st, const struct timespec *begun);
/* True for a trusted stamp that st still has. */
bool layer_stamp_holds(const struct layer_stamp *stamp, const struct stat *st);

int layer_cache_add(struct layer_cache *c, const struct layer_stamp *stamp,
                    struct error *err) MUST_CHECK;
/* Stamp i; zero beyond the end. */
struct layer_stamp layer_cache_at(const struct layer_cache *c, size_t i);

/* Reads `name` in the folder dir, made where missing. E_NOTFOUND: there is none that belongs to
 * this record (another record, another program, damaged). E_DENIED: others may write there. */
int layer_cache_load(const char *dir, const char *name, const struct layer_record *record,
                     struct layer_cache *out, struct error *err) MUST_CHECK;
int layer_cache_save(const char *dir, const char *name, const struct layer_record *record,
                     const struct layer_cache *c, struct error *err) MUST_CHECK;

#endif
