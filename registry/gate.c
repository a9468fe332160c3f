#include "registry/gate.h"

#include <pthread.h>
#include <stdlib.h>

struct gate {
    pthread_mutex_t lock, draining; /* draining: one at a time, taken first */
    pthread_cond_t left;
    unsigned side; /* where those who come now are counted */
    size_t inside[2];
};

int gate_new(struct gate **out, struct error *err)
{
    struct gate *g = calloc(1, sizeof *g);
    if (!g)
        return fail_nomem(err);
    pthread_mutex_init(&g->lock, NULL);
    pthread_mutex_init(&g->draining, NULL);
    pthread_cond_init(&g->left, NULL);
    *out = g;
    return 0;
}

void gate_free(struct gate *g)
{
    if (!g)
        return;
    pthread_cond_destroy(&g->left);
    pthread_mutex_destroy(&g->draining);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

unsigned gate_enter(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    unsigned side = g->side;
    g->inside[side]++;
    pthread_mutex_unlock(&g->lock);
    return side;
}

void gate_leave(struct gate *g, unsigned ticket)
{
    pthread_mutex_lock(&g->lock);
    if (--g->inside[ticket] == 0)
        pthread_cond_signal(&g->left);
    pthread_mutex_unlock(&g->lock);
}

/* Those who come now are counted on the other side, which is empty: the last drain waited for it.
 */
void gate_drain(struct gate *g)
{
    pthread_mutex_lock(&g->draining);
    pthread_mutex_lock(&g->lock);
    unsigned before = g->side;
    g->side = 1 - before;
    while (g->inside[before] > 0)
        pthread_cond_wait(&g->left, &g->lock);
    pthread_mutex_unlock(&g->lock);
    pthread_mutex_unlock(&g->draining);
}
