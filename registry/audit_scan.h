/*
 * Reading segments of the audit log: where one ends, and whether all of them are one unbroken
 * chain.
 *
 * Reads through a fixed buffer. Thread-safe: no shared state.
 */
#ifndef BULLA_REGISTRY_AUDIT_SCAN_H
#define BULLA_REGISTRY_AUDIT_SCAN_H

#include "registry/audit_file.h"

struct audit_tail {
    struct audit_place last; /* seq 0: no whole record */
    uint64_t end;            /* size of the file */
    size_t torn;             /* bytes behind the last good record */
};
/* Of the open segment whose first record has the number `first`: from its last bytes where they are
 * good, else by reading all of it. */
int audit_scan_tail(int fd, enum audit_chain chain, uint64_t first, struct audit_tail *out,
                    struct error *err) MUST_CHECK;

/* What must hold beside the chain itself. */
struct audit_expect {
    struct audit_link base;   /* records up to this one were removed on purpose; seq 0: none */
    struct audit_link anchor; /* a record that must be there; seq 0: none */
    const uint8_t *head;      /* AUDIT_HASH_LEN: hash of a record that must be there, or NULL */
};

struct audit_result {
    uint64_t first, n_records, n_repaired;
    uint64_t mismatch; /* first record that says the log was not what the index knew; 0: none */
    size_t cut_off;    /* bytes of a broken write at the very end */
    struct audit_link last;
};

struct audit_walk {
    int data_fd;
    enum audit_chain chain;
    struct audit_expect expect;
    /* NULL, or called for each good record in order; a code ends the walk. */
    int (*visit)(void *context, const char *line, size_t len, struct error *err);
    void *context;
};
/* Reads all segments. E_TAMPERED names the first record that is not what it should be; *out holds
 * what was good up to there. */
int audit_scan(const struct audit_walk *walk, struct audit_result *out,
               struct error *err) MUST_CHECK;

#endif
