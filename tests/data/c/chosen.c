/* Runs the model "chosen" four times with one element more that is not zero: prints columns of where, chosen ones, rows of twice. */
#include "model.h"

#include <stdio.h>

int main(int count, char **words)
{
    chosen_error error;
    chosen_model *model = NULL;
    chosen_call *call = NULL;
    chosen_sizes sizes;
    int turn;
    sizes.n = 3;
    if (count != 3 || !chosen_load(&model, words[2], words[1], &error) || !chosen_prepare(model, &sizes, &call, &error))
        return 2;
    for (turn = 0; turn < 4; turn++) {
        call->inputs.x.data[turn * 3] = 1;
        if (!chosen_run(call, &error))
            return 1;
        printf("%d/%d/%d ", (int)call->outputs.where.shape[1], (int)call->outputs.chosen.count,
            (int)call->outputs.twice.shape[0]);
    }
    chosen_release(call);
    chosen_unload(model);
    return 0;
}
