/* Runs calls of one model "net" from several threads at once; each must get what a single one gets. */
#include "model.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define THREADS 8
#define RUNS 200

typedef struct work {
    net_model *model;
    float scores[3];
    bool good;
} work;

static void *run(void *given)
{
    work *mine = (work *)given;
    net_sizes sizes;
    net_call *call = NULL;
    size_t index;
    int turn;
    sizes.batch = 1;
    mine->good = net_prepare(mine->model, &sizes, &call, NULL);
    for (index = 0; mine->good && index < call->inputs.image.count; index++)
        call->inputs.image.data[index] = (float)(index % 7) - 3;
    for (turn = 0; mine->good && turn < RUNS; turn++) {
        mine->good = net_run(call, NULL) && (!turn || !memcmp(mine->scores, call->outputs.scores.data, sizeof(mine->scores)));
        if (mine->good)
            memcpy(mine->scores, call->outputs.scores.data, sizeof(mine->scores));
    }
    net_release(call);
    return NULL;
}

int main(int count, char **words)
{
    pthread_t threads[THREADS];
    work works[THREADS];
    net_model *model = NULL;
    net_error error;
    int index, good = 0;
    if (count != 3 || !net_load(&model, words[2], words[1], &error))
        return 2;
    for (index = 0; index < THREADS; index++) {
        works[index].model = model;
        if (pthread_create(&threads[index], NULL, run, &works[index]))
            return 2;
    }
    for (index = 0; index < THREADS; index++) {
        pthread_join(threads[index], NULL);
        good += works[index].good && !memcmp(works[index].scores, works[0].scores, sizeof(works[0].scores));
    }
    net_unload(model);
    printf("%d of %d threads agree\n", good, THREADS);
    return good == THREADS ? 0 : 1;
}
