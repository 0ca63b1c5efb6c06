/* Calls the model "net" in every wrong way, and prints what it says to each: a line "what: yes" or "what: no, why". */
#include "model.h"

#include <stdio.h>
#include <string.h>

static net_error error;

static bool say(const char *what, bool worked)
{
    printf(worked ? "%s: yes\n" : "%s: no, %s\n", what, error.text);
    return worked;
}

static void try_load(const char *what, const char *file, const char *library)
{
    net_model *model = (net_model *)&error; /* something that must not stay */
    if (say(what, net_load(&model, file, library, &error)))
        net_unload(model);
    else if (model)
        printf("%s: left a model\n", what);
}

static void try_sizes(net_model *model, const char *what, int64_t batch)
{
    net_call *call = (net_call *)&error;
    net_sizes sizes;
    sizes.batch = batch;
    if (!say(what, net_prepare(model, &sizes, &call, &error))) {
        if (call)
            printf("%s: left a call\n", what);
        return;
    }
    say("  run", net_run(call, &error) && net_run(call, &error));
    printf("  outputs: %d rows, %d elements\n", (int)call->outputs.scores.shape[0], (int)call->outputs.scores.count);
    net_release(call);
}

static void misuse(net_model *model)
{
    net_sizes sizes;
    net_call *first = NULL, *second = NULL;
    sizes.batch = 2;
    if (!net_prepare(model, &sizes, &first, NULL) || !net_prepare(model, &sizes, &second, NULL))
        return;
    first->inputs.image.data[0] = 1;
    printf("calls are apart: %s\n", second->inputs.image.data[0] == 0 ? "yes" : "no");
    net_release(first);
    say("  run after another's release", net_run(second, &error));
    net_release(second);
    net_release(NULL);
}

/* library model truncated other missing not-ours */
int main(int count, char **words)
{
    net_model *model = NULL, *again = NULL;
    if (count != 7)
        return 2;
    try_load("no library", words[2], words[5]);
    try_load("another library", words[2], words[6]);
    try_load("no model", words[5], words[1]);
    try_load("half a model", words[3], words[1]);
    try_load("another model", words[4], words[1]);
    printf("without an error to fill: %s\n", net_load(&model, words[5], words[1], NULL) ? "yes" : "no");
    if (!say("the model", net_load(&model, words[2], words[1], &error)) || !say("twice", net_load(&again, words[2], words[1], &error)))
        return 1;
    try_sizes(model, "one", 1);
    try_sizes(again, "seven", 7);
    try_sizes(model, "none", 0);
    try_sizes(model, "fewer than none", -1);
    try_sizes(model, "more than there is", INT64_MAX);
    misuse(model);
    net_unload(model);
    try_sizes(again, "after another's end", 2);
    net_unload(again);
    net_unload(NULL);
    return 0;
}
