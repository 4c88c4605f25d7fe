/* The option parser: any words, any variables. The input: how many variables, then they and the words, each ended by 0xfe. */

#include <stdlib.h>
#include <string.h>

#include "harness.h"

static bool is_signal(int number) { return number >= 1 && number <= RTMAX && number != 32 && number != 33; }

static void check(const struct policy *p, char **words) {
    if (p->about != NULL)
        return;
    must(p->steps >= 1 && p->steps <= MAX_STEPS + 1, "a plan has one to 32 steps, and the first may be implied");
    for (int i = 0; i < p->steps; i++) {
        const struct step *s = &p->plan[i];
        bool last = i == p->steps - 1;
        must(s->signal == AS_IT_CAME || is_signal(s->signal), "a step's signal is one");
        must(s->signal != KILL || last, "nothing comes after KILL");
        must(s->duration >= 0, "no step takes less than no time");
    }
    must(p->plan[p->steps - 1].signal == KILL || plan_length(p->plan, p->steps) == NEVER, "a plan without KILL never ends");
    must(p->steps > 1 || p->plan[0].signal != KILL, "nobody is killed without having been asked");
    must(plan_length(p->plan, p->steps) >= 0, "a plan's length is a duration");
    must(p->drain >= 0 && p->linger >= 0, "durations are not negative");
    must(!((bit(KILL) | bit(STOP) | bit(CHLD)) & p->stop_signals), "a stop signal can be caught");
    for (int number = 1; number <= RTMAX; number++) {
        int sent = p->rewrite[number];
        must(sent == number || sent == 0 || (is_signal(sent) && sent != KILL), "what is sent instead is a signal, or none");
        must(sent == number || (number != KILL && number != STOP && number != CHLD), "only what can be caught is rewritten");
    }
    must(!(p->expect[OWN_FAILURE / 64] >> OWN_FAILURE % 64 & 1), "pyinit's own failure is not remapped");
    must(p->scope >= CHILD && p->scope <= TREE && (p->others == CHILD || p->others == GROUP), "scopes");
    must(p->verbosity >= ERRORS && p->verbosity <= DEBUG, "levels");
    must(p->subreaper >= -1 && p->subreaper <= 1, "yes, no or auto");
    must(p->parent_death == 0 || is_signal(p->parent_death), "a death signal is one");
    must(p->program >= words && *p->program != NULL, "there is a program, and it is one of the words");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct policy policy;
    char *words[64] = {NULL}, *environment[8] = {NULL};
    struct input in = {data, size};
    size_t in_words = 0, in_environment = 0, variables = byte_of(&in) % 4;
    while (in.left > 0 && in_words < LENGTH(words) - 1) {
        char *text = copy(part(&in), true);
        if (in_environment < variables)
            environment[in_environment++] = text;
        else
            words[in_words++] = text;
    }
    if (!FAILS(parse(&policy, words, environment)))
        check(&policy, words);
    for (size_t i = 0; i < in_environment; i++)
        free(environment[i]);
    for (size_t i = 0; i < in_words; i++)
        free(words[i]);
    return 0;
}
