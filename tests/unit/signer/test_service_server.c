/*
 * The signing service in a process of its own, asked through the real link: many clients, bad
 * clients, and kill -9 after the commit (at every step: test_service_kill.c).
 */
#include "base/db.h"
#include "signer/service_server.h"
#include "tests/unit/signer/service_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define IO_TIMEOUT_MS 2000

struct live {
    struct fixture *f;
    struct signer_link *link;
    pid_t pid;
    int stop[2]; /* the child ends when stop[1] is closed */
    int64_t io_timeout_ms;
};

/* --- the service process --- */

static int serve_child(const struct live *l, int stop_fd, int ready_fd)
{
    struct fixture *f = l->f;
    struct error err = ERROR_INIT;
    CLEANUP(cleanup_fd) int listen_fd = -1;
    int rc = service_server_listen(scratch_name(f->dir, "socket"), geteuid(), &listen_fd, &err);
    if (!rc)
        rc = fx_open_with(f, FX_PASSPHRASE, &err);
    const struct service_server_options options = {.service = f->service,
                                                   .listen_fd = listen_fd,
                                                   .stop_fd = stop_fd,
                                                   .peers = {geteuid(), geteuid()},
                                                   .io_timeout_ms = l->io_timeout_ms,
                                                   .renew_every_ms = 50};
    if (!rc)
        rc = write(ready_fd, "r", 1) == 1 ? OK : E_SYS;
    if (!rc)
        rc = service_server_run(&options, &err);
    if (rc)
        (void)fprintf(stderr, "# service: %s\n", err.message);
    service_cleanup(&f->service);
    return rc ? 1 : 0;
}

static void live_start(struct live *l)
{
    int ready[2];
    char byte;
    service_cleanup(&l->f->service);
    assert_int_equal(pipe2(l->stop, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    l->pid = fork();
    assert_true(l->pid >= 0);
    if (l->pid == 0) {
        close(l->stop[1]);
        close(ready[0]);
        _exit(serve_child(l, l->stop[0], ready[1]));
    }
    close(l->stop[0]);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
}

static void live_stop(struct live *l)
{
    int status = 0;
    close(l->stop[1]);
    assert_int_equal(waitpid(l->pid, &status, 0), l->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    l->pid = 0;
}

static void live_kill(struct live *l)
{
    int status = 0;
    assert_int_equal(kill(l->pid, SIGKILL), 0);
    assert_int_equal(waitpid(l->pid, &status, 0), l->pid);
    close(l->stop[1]);
    l->pid = 0;
}

static int live_setup(void **state)
{
    struct live *l = calloc(1, sizeof *l);
    void *fixture = NULL;
    assert_non_null(l);
    fx_setup(&fixture);
    l->f = fixture;
    l->io_timeout_ms = IO_TIMEOUT_MS;
    toy_ok(signer_link_new(scratch_name(l->f->dir, "socket"), &l->link, err));
    live_start(l);
    *state = l;
    return 0;
}

static int live_teardown(void **state)
{
    struct live *l = *state;
    void *fixture = l->f;
    if (l->pid)
        live_stop(l);
    signer_link_free(l->link);
    free(l);
    return fx_teardown(&fixture);
}

static int live_publish(struct live *l, const char *const *roles, struct signer_set *out,
                        struct error *err)
{
    struct tuf_file changes[FX_MAX_CHANGES];
    size_t n = fx_changes(l->f, roles, changes);
    return signer_link_publish(l->link, FX_COLLECTION, changes, n, out, err);
}

static int64_t refreshed(struct live *l, const char *role)
{
    CLEANUP(signer_set_done) struct signer_set set = {0};
    toy_ok(signer_link_refresh(l->link, FX_COLLECTION, &set, err));
    return fx_version(&set, role);
}

/* --- honest clients --- */

static void link_does_all_three(void **state)
{
    struct live *l = *state;
    CLEANUP(bytes_done) struct bytes json = BYTES_INIT;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(signer_set_done) struct signer_set again = {0};
    toy_ok(signer_link_key(l->link, FX_COLLECTION, TUF_TIMESTAMP, &json, err));
    CLEANUP(public_key_cleanup) struct public_key *key = fx_parse_key(&json);
    assert_true(public_key_equal(key, l->f->timestamp_key));
    assert_code(signer_link_refresh(l->link, FX_COLLECTION, &set, err), E_NOTFOUND);
    toy_ok(live_publish(l, fx_first, &set, err));
    toy_ok(signer_link_refresh(l->link, FX_COLLECTION, &again, err));
    assert_true(service_set_equal(&set, &again));
    fx_next_targets(l->f, "v2");
    toy_bump(toy_role(&l->f->repo, "targets"));
    fx_next_targets(l->f, "v4");
    signer_set_done(&again);
    assert_code(live_publish(l, fx_targets, &again, err), E_CONFLICT);
    assert_code(signer_link_refresh(l->link, "../etc", &again, err), E_INVALID);
    assert_int_equal(again.n_files, 0);
}

static void no_service_is_said(void **state)
{
    struct live *l = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    live_stop(l);
    assert_code(signer_link_refresh(l->link, FX_COLLECTION, &set, err), E_NETWORK);
    assert_int_equal(unlink(scratch_name(l->f->dir, "socket")), 0);
    assert_code(signer_link_refresh(l->link, FX_COLLECTION, &set, err), E_NETWORK);
    struct signer_link *link = NULL;
    char name[200] = "";
    memset(name, 'x', sizeof name - 1);
    assert_code(signer_link_new(name, &link, err), E_INVALID);
}

/* Each child publishes its own second version: one wins, the others hear of it, and whoever asks
 * again gets the winner's bytes. */
static int race_child(struct live *l, int i)
{
    struct error err = ERROR_INIT;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    char tag[16];
    (void)snprintf(tag, sizeof tag, "race%d", i);
    fx_next_targets(l->f, tag);
    int rc = live_publish(l, fx_targets, &set, &err);
    return rc == OK ? 10 : rc == E_CONFLICT ? 11 : 12;
}

static void many_clients_at_once(void **state)
{
    enum { CHILDREN = 6 };
    struct live *l = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    pid_t pids[CHILDREN];
    int won = 0, lost = 0;
    toy_ok(live_publish(l, fx_first, &set, err));
    for (int i = 0; i < CHILDREN; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            _exit(race_child(l, i));
        assert_true(pids[i] > 0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status = 0;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        won += WIFEXITED(status) && WEXITSTATUS(status) == 10;
        lost += WIFEXITED(status) && WEXITSTATUS(status) == 11;
    }
    assert_int_equal(won, 1);
    assert_int_equal(lost, CHILDREN - 1);
    assert_int_equal(refreshed(l, "targets"), 2);
    assert_int_equal(refreshed(l, "snapshot"), 2);
}

/* --- bad clients --- */

static int raw_connect(struct live *l)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s",
                   scratch_name(l->f->dir, "socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void raw_send(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Reads to the end of the connection and takes it for an answer. */
static int raw_answer(int fd, struct error *err)
{
    uint8_t data[4096];
    size_t got = 0, len = 0;
    for (ssize_t n = 1; n > 0 && got < sizeof data; got += (size_t)n) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 10000), 1);
        n = recv(fd, data + got, sizeof data - got, 0);
        if (n <= 0)
            break;
    }
    CLEANUP(signer_set_done) struct signer_set set = {0};
    if (got < PROTOCOL_HEADER_BYTES || protocol_read_header(data, &len, err))
        return 1;
    return protocol_read_set(PROTOCOL_REFRESH, data + PROTOCOL_HEADER_BYTES,
                             got - PROTOCOL_HEADER_BYTES, &set, err);
}

static void bad_requests_get_an_answer(void **state)
{
    struct live *l = *state;
    static const struct {
        const char *data;
        size_t len;
        bool half_close;
        int code;
    } cases[] = {
        {"BSG1\xff\xff\xff\xff", 8, false, E_LIMIT},
        {"BSG1\x02\x00\x00\x01", 8, false, E_LIMIT},
        {"GET / HTTP/1.1\r\n\r\n", 18, false, E_PROTOCOL},
        {"BSG1\0\0\0\1\x09", 9, false, E_PROTOCOL},
        {"BSG1\0\0\0\0", 8, false, E_PROTOCOL},
        {"BSG1\0\0\1\0\x03\0\5acme", 15, true, E_PROTOCOL},
        {"BSG", 3, true, E_PROTOCOL},
        {"BSG1\0\0\0\x08\x03\0\5../ab", 16, false, E_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = ERROR_INIT;
        CLEANUP(cleanup_fd) int fd = raw_connect(l);
        raw_send(fd, cases[i].data, cases[i].len);
        if (cases[i].half_close)
            assert_int_equal(shutdown(fd, SHUT_WR), 0);
        assert_int_equal(raw_answer(fd, &err), cases[i].code);
    }
    CLEANUP(signer_set_done) struct signer_set set = {0};
    toy_ok(live_publish(l, fx_first, &set, err));
}

/* The link hears the reason even though the service never reads what it sends. */
static void oversize_publication(void **state)
{
    struct live *l = *state;
    CLEANUP(cleanup_free) uint8_t *data = calloc(1, PROTOCOL_MAX_BYTES);
    CLEANUP(signer_set_done) struct signer_set set = {0};
    assert_non_null(data);
    toy_ok(live_publish(l, fx_first, &set, err));
    struct tuf_file file = {"targets", data, PROTOCOL_MAX_BYTES};
    assert_code(signer_link_publish(l->link, FX_COLLECTION, &file, 1, &set, err), E_LIMIT);
    /* As large as a message may be, but not metadata. */
    file.len = PROTOCOL_MAX_BYTES - 100;
    assert_code(signer_link_publish(l->link, FX_COLLECTION, &file, 1, &set, err), E_LIMIT);
    assert_int_equal(refreshed(l, "targets"), 1);
}

static void slow_clients_block_nobody(void **state)
{
    struct live *l = *state;
    struct error err_ = ERROR_INIT;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(cleanup_fd) int silent = raw_connect(l);
    CLEANUP(cleanup_fd) int slow = raw_connect(l);
    assert_true(silent >= 0);
    raw_send(slow, "BSG1\0\0\1\0\x03", 9);
    int64_t begin_ms = clock_monotonic_ms();
    toy_ok(live_publish(l, fx_first, &set, err));
    /* Not after the slow ones were dropped, but beside them. */
    assert_int_equal(refreshed(l, "targets"), 1);
    struct pollfd p = {.fd = slow, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    assert_int_equal(raw_answer(slow, &err_), E_PROTOCOL);
    assert_non_null(strstr(err_.message, "in time"));
    assert_true(clock_monotonic_ms() - begin_ms < 20 * IO_TIMEOUT_MS);
}

/* An answer that nobody takes: the service goes on and forgets the client. */
static void clients_that_do_not_listen(void **state)
{
    struct live *l = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    static const char request[] = "BSG1\0\0\0\x0b\x03\0\x08"
                                  "acme/app";
    toy_ok(live_publish(l, fx_first, &set, err));
    for (int i = 0; i < 20; i++) {
        CLEANUP(cleanup_fd) int gone = raw_connect(l);
        raw_send(gone, request, sizeof request - 1);
    }
    assert_int_equal(refreshed(l, "targets"), 1);
}

/* A large answer that is not taken fills the socket; the service waits for it beside the others. */
static void large_answer_not_taken(void **state)
{
    struct live *l = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    static const char request[] = "BSG1\0\0\0\x19\x06\0\x08"
                                  "acme/app\0\1\7targets\0\0\0\0"; /* FILES */
    char name[64];
    uint8_t first[PROTOCOL_HEADER_BYTES];
    size_t len = 0;
    for (int i = 0; i < 6000; i++) {
        (void)snprintf(name, sizeof name, "a-rather-long-tag-so-that-the-file-grows-%d", i);
        toy_target(&l->f->repo, "targets", name, name);
    }
    toy_sign(toy_role(&l->f->repo, "targets"));
    toy_ok(live_publish(l, fx_first, &set, err));
    CLEANUP(cleanup_fd) int lazy = raw_connect(l);
    raw_send(lazy, request, sizeof request - 1);
    assert_int_equal(recv(lazy, first, sizeof first, MSG_WAITALL), (ssize_t)sizeof first);
    toy_ok(protocol_read_header(first, &len, err));
    assert_true(len > 1000000);
    assert_int_equal(refreshed(l, "targets"), 1);
    usleep((IO_TIMEOUT_MS + 200) * 1000);
    /* Given up: what was in the socket comes, the rest never. */
    size_t got = 0;
    CLEANUP(cleanup_free) uint8_t *data = malloc(len);
    assert_non_null(data);
    for (ssize_t n = 1; n > 0 && got<len; got += n> 0 ? (size_t)n : 0)
        n = recv(lazy, data, len, 0);
    assert_true(got < len);
}

/* Silent ones go long before their time is over where somebody waits for their place. */
static void all_places_taken(void **state)
{
    struct live *l = *state;
    live_stop(l);
    l->io_timeout_ms = 60000;
    live_start(l);
    int fds[SERVICE_SERVER_CONNECTIONS + 20];
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        fds[i] = raw_connect(l);
        raw_send(fds[i], "B", 1);
    }
    int64_t begin_ms = clock_monotonic_ms();
    CLEANUP(signer_set_done) struct signer_set set = {0};
    toy_ok(live_publish(l, fx_first, &set, err));
    assert_true(clock_monotonic_ms() - begin_ms < 20000);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        cleanup_fd(&fds[i]);
}

struct stranger {
    struct live *live;
};

static int ask_as_stranger(void *context)
{
    struct stranger *s = context;
    struct error err = ERROR_INIT;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    /* More than fits into a socket: the refusal must be heard although nobody reads the request. */
    CLEANUP(cleanup_free) uint8_t *data = calloc(1, 8u << 20);
    struct tuf_file file = {"targets", data, 8u << 20};
    if (!data || setgid(65534) || setuid(65534))
        return 1;
    int rc = signer_link_publish(s->live->link, FX_COLLECTION, &file, 1, &set, &err);
    return rc == E_DENIED ? 50 : rc == E_NETWORK ? 51 : 52;
}

static void strangers_are_denied(void **state)
{
    struct live *l = *state;
    struct stranger s = {l};
    struct stat st;
    const char *path = scratch_name(l->f->dir, "socket");
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(l->f->dir->path, 0755), 0);
    assert_int_equal(scratch_child(ask_as_stranger, &s), 51); /* by the file's mode */
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(scratch_child(ask_as_stranger, &s), 50); /* by who it is */
}

/* --- the socket --- */

static void socket_is_not_stolen(void **state)
{
    struct live *l = *state;
    int fd = -1;
    const char *path = scratch_name(l->f->dir, "socket");
    assert_code(service_server_listen(path, geteuid(), &fd, err), E_BUSY);
    scratch_write_text(l->f->dir, "file", "precious");
    assert_code(service_server_listen(scratch_name(l->f->dir, "file"), geteuid(), &fd, err),
                E_EXISTS);
    assert_int_equal(fd, -1);
    live_kill(l);
    toy_ok(service_server_listen(path, geteuid(), &fd, err));
    cleanup_fd(&fd);
}

/* --- time --- */

/* What the database holds, without asking the service, which would renew. */
static int64_t stored_version(struct live *l, const char *role)
{
    struct db *db = NULL;
    bool row = false;
    struct db_stmt *stmt = NULL;
    toy_ok(db_open(scratch_name(l->f->dir, "signer.db"), DB_READ_ONLY, &db, err));
    toy_ok(db_prepare(db, "SELECT version FROM file WHERE role = ?1", &stmt, err));
    toy_ok(db_bind_text(stmt, 1, role, err));
    toy_ok(db_step(stmt, &row, err));
    int64_t version = row ? db_column_int(stmt, 0) : 0;
    db_stmt_free(stmt);
    db_close(db);
    return version;
}

static void background_renews(void **state)
{
    struct live *l = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    toy_ok(live_publish(l, fx_first, &set, err));
    usleep(200000);
    assert_int_equal(stored_version(l, "timestamp"), 1);
    *l->f->now_s += FX_TIMESTAMP / 2 + 1;
    for (int i = 0; i < 100 && stored_version(l, "timestamp") == 1; i++)
        usleep(50000);
    assert_int_equal(stored_version(l, "timestamp"), 2);
    assert_int_equal(stored_version(l, "snapshot"), 1);
}

/* --- kill -9 --- */

/* Dies between commit and answer: the change is there, and asking again gives it. */
static void killed_after_commit(void **state)
{
    struct live *l = *state;
    CLEANUP(signer_set_done) struct signer_set set = {0};
    CLEANUP(signer_set_done) struct signer_set again = {0};
    struct tuf_file changes[FX_MAX_CHANGES];
    CLEANUP(bytes_done) struct bytes frame = BYTES_INIT;
    toy_ok(live_publish(l, fx_first, &set, err));
    fx_next_targets(l->f, "v2");
    struct protocol_request r = {.kind = PROTOCOL_PUBLISH, .changes = changes};
    strcpy(r.collection, FX_COLLECTION);
    r.n_changes = fx_changes(l->f, fx_targets, changes);
    toy_ok(protocol_write_request(&r, &frame, err));
    CLEANUP(cleanup_fd) int fd = raw_connect(l);
    raw_send(fd, frame.data, frame.len);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1); /* an answer exists, so it is committed */
    live_kill(l);
    live_start(l);
    signer_set_done(&set);
    toy_ok(signer_link_refresh(l->link, FX_COLLECTION, &set, err));
    assert_int_equal(fx_version(&set, "targets"), 2);
    toy_ok(live_publish(l, fx_targets, &again, err));
    assert_true(service_set_equal(&set, &again));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, live_setup, live_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(link_does_all_three),        CASE(no_service_is_said),
        CASE(many_clients_at_once),       CASE(bad_requests_get_an_answer),
        CASE(oversize_publication),       CASE(slow_clients_block_nobody),
        CASE(clients_that_do_not_listen), CASE(large_answer_not_taken),
        CASE(all_places_taken),           CASE(strangers_are_denied),
        CASE(socket_is_not_stolen),       CASE(background_renews),
        CASE(killed_after_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
