#include "base/progress.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DRAW_EVERY_MS 100
#define BAR_CELLS     24

struct progress {
    pthread_mutex_t lock;
    char label[40];
    uint64_t total, done;
    int64_t start_ms, drawn_ms;
};

struct progress *progress_new(void)
{
    if (!isatty(STDERR_FILENO))
        return NULL;
    struct progress *p = calloc(1, sizeof *p);
    if (p)
        (void)pthread_mutex_init(&p->lock, NULL);
    return p;
}

void progress_free(struct progress *p)
{
    if (!p)
        return;
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

void progress_cleanup(struct progress **p)
{
    progress_free(*p);
    *p = NULL;
}

static void size_text(double n, char *out, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (n >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        n /= 1024;
        unit++;
    }
    (void)snprintf(out, size, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

static void draw(struct progress *p, int64_t now, bool last)
{
    char done[24], rate[24], bar[BAR_CELLS + 1], left[24] = "";
    double elapsed_s = (double)(now - p->start_ms) / 1000.0;
    double per_s = elapsed_s > 0.05 ? (double)p->done / elapsed_s : 0;
    size_text((double)p->done, done, sizeof done);
    size_text(per_s, rate, sizeof rate);
    int filled = p->total ? (int)((double)p->done / (double)p->total * BAR_CELLS) : 0;
    for (int i = 0; i < BAR_CELLS; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    if (!last && p->total > p->done && per_s > 0)
        (void)snprintf(left, sizeof left, " %.0f s left", (double)(p->total - p->done) / per_s);
    (void)fprintf(stderr, "\r\033[K%-24.39s [%s] %s  %s/s%s%s", p->label, bar, done, rate, left,
                  last ? "\n" : "");
    (void)fflush(stderr);
    p->drawn_ms = now;
}

void progress_begin(struct progress *p, const char *label, uint64_t total)
{
    if (!p)
        return;
    (void)pthread_mutex_lock(&p->lock);
    /* Labels hold names from outside: nothing in them may move the cursor. */
    (void)snprintf(p->label, sizeof p->label, "%s", label);
    for (char *c = p->label; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    p->total = total;
    p->done = 0;
    p->start_ms = clock_monotonic_ms();
    p->drawn_ms = 0;
    (void)pthread_mutex_unlock(&p->lock);
}

void progress_add(struct progress *p, uint64_t n)
{
    if (!p)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->done += n;
    int64_t now = clock_monotonic_ms();
    if (now - p->drawn_ms >= DRAW_EVERY_MS)
        draw(p, now, false);
    (void)pthread_mutex_unlock(&p->lock);
}

void progress_take_back(struct progress *p, uint64_t n)
{
    if (!p)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->done -= n < p->done ? n : p->done;
    (void)pthread_mutex_unlock(&p->lock);
}

void progress_end(struct progress *p)
{
    if (!p)
        return;
    (void)pthread_mutex_lock(&p->lock);
    draw(p, clock_monotonic_ms(), true);
    (void)pthread_mutex_unlock(&p->lock);
}
