/* The shutdown state machine (machine.py): pure, and driven by the table that is generated from there. */

#include "pyinit.h"

struct moment {
    const struct policy *policy;
    const struct state *state; /* before */
    int argument;
    int64_t now;
};

typedef bool guard(const struct moment *m);
typedef void effect(const struct moment *m, struct state *after, struct actions *todo);

struct row {
    int16_t phase, event, next;
    guard *guard;
    effect *effect;
};

const struct state INITIAL = {RUNNING, NO_STATUS, 0, 0, NEVER, NEVER, NEVER, false};

static int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

static void add(struct actions *todo, int verb, int argument, int scope) {
    todo->list[todo->count++] = (struct action){verb, argument, scope};
}

/* --- guards --- */

static bool always(const struct moment *m) {
    (void)m;
    return true;
}

static bool is_dropped(const struct moment *m) { return m->policy->rewrite[m->argument] == 0; }

static bool is_stop(const struct moment *m) { return in_mask(m->argument, m->policy->stop_signals); }

static bool drains(const struct moment *m) { return is_stop(m) && m->policy->drain > 0; }

static bool is_first_stop(const struct moment *m) { return is_stop(m) && m->state->signal == 0; }

static bool waits_for_all(const struct moment *m) { return m->policy->wait_all; }

static bool leaves_at_once(const struct moment *m) { return m->policy->linger == 0; }

static bool is_plan_over(const struct moment *m) { return m->policy->plan[m->state->index + 1].signal == KILL; }

static bool is_all_over(const struct moment *m) { return is_plan_over(m) && leaves_at_once(m); }

static bool was_killed(const struct moment *m) { return m->state->killed; }

static bool is_bound_over(const struct moment *m) { return m->now >= m->state->bound; }

/* --- effects --- */

static void stay(const struct moment *m, struct state *after, struct actions *todo) {
    (void)m, (void)after, (void)todo;
}

static void drop(const struct moment *m, struct state *after, struct actions *todo) {
    (void)after;
    add(todo, DROP, m->argument, 0);
}

static void forward(const struct moment *m, struct state *after, struct actions *todo) {
    (void)after;
    bool gone = m->state->status != NO_STATUS;
    add(todo, FORWARD, m->policy->rewrite[m->argument], gone ? TREE : m->policy->others);
}

static void drain(const struct moment *m, struct state *after, struct actions *todo) {
    after->signal = m->policy->rewrite[m->argument];
    after->deadline = later(m->now, m->policy->drain);
    add(todo, DRAIN, after->signal, 0);
}

/* The current step's signal to whom stop signals reach; to the tree once the program is gone. */
static void ask(const struct policy *policy, const struct state *state, struct actions *todo) {
    int number = policy->plan[state->index].signal;
    int scope = state->status == NO_STATUS ? policy->scope : TREE;
    add(todo, ASK, number == AS_IT_CAME ? state->signal : number, scope);
}

static void enter(const struct moment *m, struct state *after, int index, struct actions *todo) {
    const struct policy *policy = m->policy;
    bool last = index == policy->steps - 1;
    after->index = index;
    after->deadline = last ? NEVER : later(m->now, policy->plan[index].duration);
    after->plan_end = later(m->now, plan_length(policy->plan + index, policy->steps - index));
    ask(policy, after, todo);
}

static void begin(const struct moment *m, struct state *after, struct actions *todo) {
    if (after->signal == 0)
        after->signal = m->policy->rewrite[m->argument];
    enter(m, after, 0, todo);
}

static void advance(const struct moment *m, struct state *after, struct actions *todo) {
    enter(m, after, m->state->index + 1, todo);
}

static void ask_again(const struct moment *m, struct state *after, struct actions *todo) { ask(m->policy, after, todo); }

static void ask_tree(const struct moment *m, struct state *after, struct actions *todo) {
    (void)after;
    add(todo, ASK, m->argument, TREE);
}

static void hurry(const struct moment *m, struct state *after, struct actions *todo) {
    int64_t limit = later(m->now, plan_length(m->policy->plan, m->policy->steps));
    after->signal = m->policy->rewrite[m->argument];
    after->deadline = min(after->deadline, limit);
    add(todo, ASK_REST, 0, 0);
}

static int64_t fair(const struct moment *m) { return later(m->now, min(m->policy->linger, m->policy->fair)); }

static void linger(const struct moment *m, struct state *after, struct actions *todo) {
    int64_t plan_end = NEVER;
    if (m->state->phase == STOPPING)
        plan_end = m->state->plan_end;
    else if (m->state->phase == DRAINING)
        plan_end = later(m->now, plan_length(m->policy->plan, m->policy->steps));
    after->status = m->argument;
    after->deadline = max(min(later(m->now, m->policy->linger), plan_end), fair(m));
    add(todo, ASK_REST, 0, 0);
}

static void outlive(const struct moment *m, struct state *after, struct actions *todo) {
    (void)todo;
    after->status = m->argument;
}

static void outlive_plan(const struct moment *m, struct state *after, struct actions *todo) {
    after->status = m->argument;
    after->deadline = max(after->deadline, fair(m));
    after->plan_end = max(after->plan_end, fair(m));
    add(todo, ASK_REST, 0, 0);
}

static void record(const struct moment *m, struct state *after, struct actions *todo) { outlive(m, after, todo); }

static void set_bound(const struct moment *m, struct state *after) {
    after->bound = later(m->now, m->policy->bound);
    after->deadline = min(later(m->now, m->policy->apart), after->bound);
    after->plan_end = NEVER;
}

static void kill(const struct moment *m, struct state *after, struct actions *todo) {
    after->deadline = fair(m);
    after->plan_end = NEVER;
    after->killed = true;
    add(todo, KILL_ASKED, 0, 0);
    add(todo, ASK_REST, 0, 0);
}

static void kill_only(const struct moment *m, struct state *after, struct actions *todo) {
    set_bound(m, after);
    after->killed = true;
    add(todo, KILL_ASKED, 0, 0);
}

static void bound(const struct moment *m, struct state *after, struct actions *todo) {
    (void)todo;
    set_bound(m, after);
}

static void kill_rest(const struct moment *m, struct state *after, struct actions *todo) {
    set_bound(m, after);
    add(todo, KILL_ASKED, 0, 0);
    add(todo, ASK_REST, 0, 0);
}

static void sweep(const struct moment *m, struct state *after, struct actions *todo) {
    after->deadline = min(later(m->now, m->policy->apart), after->bound);
    add(todo, KILL_ASKED, 0, 0);
    if (!leaves_at_once(m))
        add(todo, ASK_REST, 0, 0);
}

static void end_with(const struct moment *m, struct state *after, int status, struct actions *todo) {
    int code;
    if (status == NO_STATUS) {
        code = after->killed ? 128 + KILL : OWN_FAILURE;
    } else {
        code = exit_code(status);
        if (m->policy->expect[code / 64] >> (code % 64) & 1)
            code = 0;
    }
    after->status = status;
    after->deadline = after->plan_end = after->bound = NEVER;
    add(todo, EXIT, code, 0);
}

static void finish(const struct moment *m, struct state *after, struct actions *todo) {
    end_with(m, after, m->argument == NO_STATUS ? after->status : m->argument, todo);
}

static void leave(const struct moment *m, struct state *after, struct actions *todo) {
    add(todo, LEAVE, 0, 0);
    end_with(m, after, after->status, todo);
}

/* --- the table --- */

static const struct row TABLE[] = {TABLE_ROWS};

void step(const struct policy *policy, struct state *state, int event, int argument, int64_t now, struct actions *todo) {
    const struct state before = *state;
    const struct moment m = {policy, &before, argument, now};
    todo->count = 0;
    for (size_t i = 0; i < LENGTH(TABLE) && before.phase != DONE; i++) {
        const struct row *row = &TABLE[i];
        if ((row->phase == before.phase || row->phase == ANY) && row->event == event && row->guard(&m)) {
            row->effect(&m, state, todo);
            if (row->next != SAME)
                state->phase = row->next;
            return;
        }
    }
}

/* The instants that were set count from when the actions had been carried out. A bound is set once. */
void postpone(const struct state *before, struct state *state, int64_t lag) {
    int64_t bound_at = state->bound == before->bound ? state->bound : later(state->bound, lag);
    state->deadline = min(later(state->deadline, lag), bound_at);
    state->plan_end = later(state->plan_end, lag);
    state->bound = bound_at;
}
