/* Options: the command line and the environment become a policy, or one clear error (options.py).
 *
 * Nothing is copied: the command line is walked anew for each option, which costs nothing for a handful of words.
 */

#include <string.h>
#include <unistd.h>

#include "pyinit.h"

static const struct option {
    const char *letter, *name, *value, *variable; /* a flag has the value "" */
} TABLE[] = {OPTION_ROWS};

static const char A_DURATION[] = "write for example 8s, 1500ms, 2m, 10 (seconds) or infinity";
static const char A_SIGNAL[] = "write for example TERM, SIGTERM, 15 or RTMIN+3";
static char **command_line; /* what is parsed, and what stands for what is not there */
static char *const *surroundings;

static const char *const SCOPES[] = {"child", "group", "tree"};

/* A value, and where it was written: `--grace 5s`, `-t 5s` or `PYINIT_GRACE=5s`. */
struct given {
    int option;
    bool is_short;
    const char *variable; /* NULL: on the command line */
    const char *value;
};

struct walk {
    char **words;
    const char *letters; /* what is left of a word such as -vvt5 */
};

int64_t later(int64_t instant, int64_t duration) {
    return instant == NEVER || duration >= NEVER - instant ? NEVER : instant + duration;
}

int64_t plan_length(const struct step *plan, int steps) {
    if (steps == 0 || plan[steps - 1].signal != KILL)
        return NEVER;
    int64_t length = 0;
    for (int i = 0; i < steps - 1; i++)
        length = later(length, plan[i].duration);
    return length;
}

const char *variable(char *const *environment, const char *name) {
    size_t length = strlen(name);
    for (; *environment != NULL; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}

/* --- errors --- */

__attribute__((format(printf, 2, 3), noreturn)) static void refuse(const struct given *g, const char *format, ...) {
    static char buffer[2 * LIMIT], where[2 * LIMIT];
    struct text w = text_in(where, sizeof where), t = text_in(buffer, sizeof buffer);
    if (g->variable != NULL)
        put(&w, "%s=%pS", g->variable, g->value);
    else if (g->is_short)
        put(&w, "-%s", TABLE[g->option].letter);
    else
        put(&w, "--%s", TABLE[g->option].name);
    if (g->variable == NULL && g->value[0] != '\0')
        put(&w, " %pS", g->value);
    va_list arguments;
    va_start(arguments, format);
    putv(&t, format, arguments);
    va_end(arguments);
    fail(OWN_FAILURE, "%s: %s", where, buffer);
}

static int32_t code_at(const char *at, size_t length, size_t *used) {
    int32_t code = decode(at, length, used);
    return code >= 0 ? code : 0xdc00 + (unsigned char)*at; /* as surrogateescape: no letter of any option */
}

/* How many letters must be added, left out or replaced to make one into the other (Levenshtein); 3 for "too many". */
static int distance(struct word word, const char *name) {
    int32_t letters[24];
    int count = 0, width = (int)strlen(name), row[24];
    for (size_t used, at = 0; at < word.length; at += used) {
        if (count == (int)LENGTH(letters))
            return 3;
        letters[count++] = code_at(word.at + at, word.length - at, &used);
    }
    if (count - width > 2 || width - count > 2)
        return 3;
    for (int j = 0; j <= width; j++)
        row[j] = j;
    for (int i = 1; i <= count; i++) {
        int above = row[0];
        row[0] = i;
        for (int j = 1; j <= width; j++) {
            int best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            int replaced = above + (letters[i - 1] != name[j - 1]);
            above = row[j];
            row[j] = best < replaced ? best : replaced;
        }
    }
    return row[width];
}

__attribute__((noreturn)) static void unknown(const char *dashes, struct word name) {
    const char *near = NULL;
    for (int i = 0; dashes[1] != '\0' && near == NULL && i < OPTIONS; i++)
        if (distance(name, TABLE[i].name) <= 2)
            near = TABLE[i].name;
    fail(OWN_FAILURE, "unknown option '%s%pW'; %s%s, and options of the program come after it: pyinit -- PROGRAM %s%pW", dashes,
         (const void *)&name, near ? "write --" : "'pyinit --help' lists the options", near ? near : "", dashes, (const void *)&name);
}

/* --- the command line --- */

/* The next option, or false where the program's words begin. */
static bool next(struct walk *w, struct given *g) {
    *g = (struct given){0, false, NULL, ""};
    if (w->letters == NULL) {
        const char *word = *w->words;
        if (word == NULL || word[0] != '-' || word[1] == '\0')
            return false;
        w->words++;
        if (strcmp(word, "--") == 0)
            return false;
        if (word[1] != '-') {
            w->letters = word + 1;
        } else {
            struct word name = {word + 2, span_to(word + 2, "=")};
            bool has_value = name.at[name.length] == '=';
            while (g->option < OPTIONS && !same(name, TABLE[g->option].name))
                g->option++;
            if (g->option == OPTIONS)
                unknown("--", name);
            const struct option *option = &TABLE[g->option];
            if (has_value && option->value[0] == '\0')
                fail(OWN_FAILURE, "--%s takes no value; write --%s", option->name, option->name);
            if (has_value)
                g->value = name.at + name.length + 1;
            else if (option->value[0] != '\0' && (g->value = *w->words++) == NULL)
                fail(OWN_FAILURE, "%s needs a value; write %s %s", word, word, option->value);
            return true;
        }
    }
    size_t used;
    g->is_short = true;
    code_at(w->letters, strlen(w->letters), &used);
    struct word letter = {w->letters, used};
    while (g->option < OPTIONS && !same(letter, TABLE[g->option].letter))
        g->option++;
    if (g->option == OPTIONS)
        unknown("-", letter);
    const struct option *option = &TABLE[g->option];
    w->letters += used;
    if (option->value[0] != '\0') {
        if (*w->letters != '\0')
            g->value = w->letters;
        else if ((g->value = *w->words++) == NULL)
            fail(OWN_FAILURE, "-%s needs a value; write -%s %s", option->letter, option->letter, option->value);
        w->letters = NULL;
    } else if (*w->letters == '\0') {
        w->letters = NULL;
    }
    return true;
}

/* The values of one option: from the command line, else from the environment (where an empty one counts as not set). */
struct values {
    struct walk walk;
    int option;
    bool is_found, is_over; /* there was one; the command line has been read to its end */
};

static struct values values(int option) { return (struct values){{command_line, NULL}, option, false, false}; }

static bool next_value(struct values *v, struct given *g) {
    while (!v->is_over && next(&v->walk, g))
        if (g->option == v->option)
            return v->is_found = true;
    if (v->is_over || v->is_found)
        return false;
    v->is_over = true;
    const char *name = TABLE[v->option].variable, *text = name[0] != '\0' ? variable(surroundings, name) : NULL;
    *g = (struct given){v->option, false, name, text};
    return v->is_found = text != NULL && text[0] != '\0';
}

static bool last(int option, struct given *g) {
    struct values v = values(option);
    struct given one;
    bool found = false;
    while (next_value(&v, &one)) {
        *g = one;
        found = true;
    }
    return found;
}

static int count(int option) {
    struct walk w = {command_line, NULL};
    struct given g;
    int times = 0;
    while (next(&w, &g))
        times += g.option == option;
    return times;
}

/* --- values --- */

static bool number(struct word word, size_t digits, uint64_t *result) {
    *result = 0;
    if (word.length == 0)
        return false;
    bool fits = word.length <= digits;
    for (size_t i = 0; i < word.length; i++) {
        if (word.at[i] < '0' || word.at[i] > '9')
            return false;
        if (fits)
            *result = 10 * *result + (uint64_t)(word.at[i] - '0');
    }
    if (!fits)
        *result = UINT64_MAX;
    return true;
}

bool duration(struct word text, int64_t *result) {
    static const struct {
        const char *name;
        int64_t worth;
    } UNITS[] = {{"ms", MILLISECOND}, {"s", SECOND}, {"m", 60 * SECOND}, {"", SECOND}};
    if (same(text, "infinity")) {
        *result = NEVER;
        return true;
    }
    for (size_t i = 0; i < LENGTH(UNITS); i++) {
        size_t unit = strlen(UNITS[i].name);
        uint64_t value;
        if (text.length < unit || memcmp(text.at + text.length - unit, UNITS[i].name, unit) != 0)
            continue;
        if (!number((struct word){text.at, text.length - unit}, 19, &value))
            continue;
        if (value > (uint64_t)(NEVER - 1) / (uint64_t)UNITS[i].worth)
            return false;
        *result = (int64_t)value * UNITS[i].worth;
        return true;
    }
    return false;
}

static int64_t parse_duration(const struct given *g, struct word text) {
    int64_t result;
    if (!duration(text, &result))
        refuse(g, "'%pW' is no duration; %s", (const void *)&text, A_DURATION);
    return result;
}

static int parse_signal(const struct given *g, struct word text) {
    int number = number_of(text);
    if (number < 0)
        refuse(g, "'%pW' is no signal; %s", (const void *)&text, A_SIGNAL);
    return number;
}

static int parse_catchable(const struct given *g, struct word text) {
    int number = parse_signal(g, text);
    if (number == KILL || number == CHLD || number == STOP)
        refuse(g, "%s %s; name another signal", name_of(number),
               number == CHLD ? "tells about pyinit's own children" : "cannot be caught");
    return number;
}

static void add_step(struct policy *policy, int signal, int64_t duration) {
    policy->plan[policy->steps++] = (struct step){signal, duration};
}

static void parse_plan(const struct given *g, struct policy *policy) {
    struct word rest = word_of(g->value);
    int words = 1;
    for (const char *c = g->value; *c != '\0'; c++)
        words += *c == ',';
    if (words > MAX_STEPS)
        refuse(g, "more than %d steps; a plan is a few signals, such as TERM:8s,INT:4s,KILL", MAX_STEPS);
    policy->steps = 0;
    while (words-- > 0) {
        struct word whole = cut_word(&rest, ','), length = whole, name = cut_word(&length, ':');
        bool is_last = words == 0, has_colon = length.at != NULL;
        int signal = same(name, "=") ? AS_IT_CAME : parse_signal(g, name);
        if (signal == KILL) {
            if (!is_last)
                refuse(g, "KILL must come last, nothing is left to do after it; write for example TERM:8s,KILL");
            if (has_colon)
                refuse(g, "KILL takes no duration; write KILL");
            if (policy->steps == 0)
                add_step(policy, AS_IT_CAME, 0);
            add_step(policy, KILL, 0);
        } else if (has_colon) {
            add_step(policy, signal, parse_duration(g, length));
        } else if (is_last) {
            add_step(policy, signal, NEVER);
        } else {
            refuse(g, "'%pW' needs a duration before the next step; write for example %pW:8s", (const void *)&whole,
                   (const void *)&whole);
        }
    }
}

static void parse_rewrite(const struct given *g, struct policy *policy) {
    struct word rest = word_of(g->value);
    while (rest.at != NULL) {
        struct word whole = cut_word(&rest, ','), sent = whole, arrives = cut_word(&sent, ':');
        if (sent.at == NULL)
            refuse(g, "'%pW' is no pair of signals; write for example TERM:QUIT, or HUP:0 to drop it", (const void *)&whole);
        int number = same(sent, "0") ? 0 : parse_signal(g, sent);
        if (number == KILL)
            refuse(g, "SIGKILL is for the plan; write --grace 0 to kill at once");
        policy->rewrite[parse_catchable(g, arrives)] = (unsigned char)number;
    }
}

static void parse_expect(const struct given *g, struct policy *policy) {
    struct word rest = word_of(g->value);
    while (rest.at != NULL) {
        struct word text = cut_word(&rest, ',');
        uint64_t code;
        if (text.length > 3 || !number(text, 3, &code)) {
            int signal = number_of(text);
            code = signal < 0 ? 256 : 128 + (uint64_t)signal;
        }
        if (code > 255)
            refuse(g, "'%pW' is no exit status; write 0 to 255, or a signal such as TERM for 143", (const void *)&text);
        if (code == OWN_FAILURE)
            refuse(g, "125 means that pyinit itself failed and is never remapped; name another status");
        policy->expect[code / 64] |= (uint64_t)1 << code % 64;
    }
}

static int parse_choice(const struct given *g, const char *const *choices, int count) {
    static char buffer[64];
    struct text t = text_in(buffer, sizeof buffer);
    for (int i = 0; i < count; i++) {
        if (strcmp(g->value, choices[i]) == 0)
            return i;
        put(&t, "%s%s", i ? " or " : "", choices[i]);
    }
    refuse(g, "'%pS' is none of its values; write %s", g->value, buffer);
}

/* Whether a text is one of a list of words, whatever its case. */
static bool is_one_of(const char *text, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (text[at] != '\0' && (text[at] | (text[at] >= 'A' && text[at] <= 'Z' ? 0x20 : 0)) == words[i][at])
            at++;
        if (text[at] == '\0' && words[i][at] == '\0')
            return true;
    }
    return false;
}

static bool parse_yes_or_no(const struct given *g) {
    static const char *const YES[] = {"1", "yes", "true", "on"}, *const NO[] = {"0", "no", "false", "off"};
    if (is_one_of(g->value, YES, LENGTH(YES)))
        return true;
    if (is_one_of(g->value, NO, LENGTH(NO)))
        return false;
    refuse(g, "'%pS' is neither yes nor no; write yes or no", g->value);
}

/* --- the policy --- */

static void parse_plans(struct policy *policy) {
    struct given grace, stop;
    bool has_grace = last(OPTION_GRACE, &grace), has_stop = last(OPTION_STOP, &stop);
    bool grace_is_written = count(OPTION_GRACE) > 0, stop_is_written = count(OPTION_STOP) > 0;
    if (has_grace && has_stop && grace_is_written == stop_is_written)
        fail(OWN_FAILURE, "PYINIT_GRACE and PYINIT_STOP exclude each other; write the duration into the plan: TERM:8s,KILL");
    if (has_stop && !grace_is_written) {
        parse_plan(&stop, policy);
    } else {
        const char *kubernetes = variable(surroundings, "KUBERNETES_SERVICE_HOST");
        int64_t length = kubernetes && *kubernetes ? DEFAULT_GRACE_IN_KUBERNETES : DEFAULT_GRACE;
        if (has_grace)
            length = parse_duration(&grace, word_of(grace.value));
        add_step(policy, AS_IT_CAME, length);
        add_step(policy, KILL, 0);
    }
    policy->grace_chosen = has_grace || has_stop;
}

static void parse_scopes(struct policy *policy) {
    struct given g;
    policy->scope = last(OPTION_SCOPE, &g) ? parse_choice(&g, SCOPES, LENGTH(SCOPES)) : GROUP;
    bool is_written = count(OPTION_SCOPE) > 0;
    if (count(OPTION_CHILD) > 0) {
        if (is_written && policy->scope != CHILD)
            fail(OWN_FAILURE, "-c and --scope %s exclude each other; -c sends every signal to the program alone", SCOPES[policy->scope]);
        policy->scope = CHILD;
    }
    if (count(OPTION_GROUP) > 0) {
        if (is_written && policy->scope == CHILD)
            fail(OWN_FAILURE, "-g and --scope child exclude each other; -g sends every signal to the group");
        if (policy->scope < GROUP)
            policy->scope = GROUP;
        policy->others = GROUP;
    }
}

static void parse_processes(struct policy *policy) {
    static const char *const AUTO[] = {"auto"};
    bool yes = count(OPTION_SUBREAPER) > 0, no = count(OPTION_NO_SUBREAPER) > 0;
    struct given g;
    if (yes && no)
        fail(OWN_FAILURE, "--subreaper and --no-subreaper exclude each other; write one of them, or none for auto");
    if (yes || no)
        policy->subreaper = yes;
    else if (last(OPTION_SUBREAPER, &g) && !is_one_of(g.value, AUTO, 1))
        policy->subreaper = parse_yes_or_no(&g);
    for (struct values v = values(OPTION_PARENT_DEATH); next_value(&v, &g);)
        policy->parent_death = parse_signal(&g, word_of(g.value));
}

static void parse_reporting(struct policy *policy) {
    static const char *const FORMS[] = {"text", "json"}, *const LEVELS[] = {"0", "1", "2", "3"};
    struct given g;
    for (struct values v = values(OPTION_WARN_REAP); next_value(&v, &g);)
        policy->warn_reap = g.variable == NULL || parse_yes_or_no(&g);
    for (struct values v = values(OPTION_LOG); next_value(&v, &g);)
        policy->json = parse_choice(&g, FORMS, LENGTH(FORMS)) == 1;
    if (last(OPTION_TERMINATION_LOG, &g) && g.value[0] != '\0')
        policy->termination_log = g.value;
    int louder = count(OPTION_VERBOSE), quieter = count(OPTION_QUIET);
    if (louder || quieter) {
        int level = WARNINGS + louder - quieter;
        policy->verbosity = level < ERRORS ? ERRORS : level > DEBUG ? DEBUG : level;
    } else if (last(OPTION_VERBOSE, &g)) {
        policy->verbosity = parse_choice(&g, LEVELS, LENGTH(LEVELS));
    }
}

void parse(struct policy *policy, char **words, char *const *environment) {
    static const int ABOUT[] = {OPTION_HELP, OPTION_VERSION, OPTION_LICENSE};
    static const char *const WAITS[] = {"main", "all"};
    struct given g;
    command_line = words;
    surroundings = environment;
    memset(policy, 0, sizeof *policy);
    policy->subreaper = -1;
    policy->verbosity = WARNINGS;
    policy->fair = POLICY_FAIR;
    policy->bound = POLICY_BOUND;
    policy->apart = POLICY_APART;
    for (int i = 0; i <= RTMAX; i++)
        policy->rewrite[i] = (unsigned char)i;
    for (size_t i = 0; i < LENGTH(ABOUT); i++)
        if (count(ABOUT[i]) > 0) {
            policy->about = TABLE[ABOUT[i]].name;
            return;
        }
    if (count(OPTION_GRACE) && count(OPTION_STOP))
        fail(OWN_FAILURE, "--grace and --stop exclude each other; write the duration into the plan: --stop TERM:8s,KILL");
    if (count(OPTION_GROUP) && count(OPTION_CHILD))
        fail(OWN_FAILURE, "-g and -c exclude each other; -g sends every signal to the group, -c to the program alone");

    parse_plans(policy);
    int64_t length = plan_length(policy->plan, policy->steps);
    policy->linger = length < DEFAULT_LINGER ? length : DEFAULT_LINGER;
    if (last(OPTION_DRAIN, &g))
        policy->drain = parse_duration(&g, word_of(g.value));
    if (last(OPTION_LINGER, &g))
        policy->linger = parse_duration(&g, word_of(g.value));
    if (last(OPTION_WAIT, &g))
        policy->wait_all = parse_choice(&g, WAITS, LENGTH(WAITS)) == 1;
    parse_scopes(policy);
    policy->stop_signals = bit(TERM) | bit(INT);
    if (last(OPTION_STOP_SIGNALS, &g)) {
        policy->stop_signals = 0;
        for (struct word rest = word_of(g.value); rest.at != NULL;)
            policy->stop_signals |= bit(parse_catchable(&g, cut_word(&rest, ',')));
    }
    for (struct values v = values(OPTION_REWRITE); next_value(&v, &g);)
        parse_rewrite(&g, policy);
    for (struct values v = values(OPTION_EXPECT); next_value(&v, &g);)
        parse_expect(&g, policy);
    parse_processes(policy);
    parse_reporting(policy);

    struct walk w = {words, NULL};
    while (next(&w, &g))
        ;
    if (*w.words == NULL)
        fail(OWN_FAILURE, "no program to run; write pyinit [OPTIONS] -- PROGRAM [ARG...]");
    policy->program = w.words;
}

/* For the test that both engines understand the same: about.policy_text. */
void print_policy(const struct policy *policy) {
    static char buffer[4 * LIMIT];
    struct text t = text_in(buffer, sizeof buffer);
    if (policy->about != NULL) {
        put(&t, "about=%s\n", policy->about);
        (void)!write(1, t.start, (size_t)(t.at - t.start));
        return;
    }
    put(&t, "plan=");
    for (int i = 0; i < policy->steps; i++)
        put(&t, "%s%d:%lld", i ? "," : "", policy->plan[i].signal, (long long)policy->plan[i].duration);
    put(&t, "\ngrace_chosen=%d\ndrain=%lld\nlinger=%lld\nwait_all=%d\nscope=%d\nothers=%d\n", policy->grace_chosen,
        (long long)policy->drain, (long long)policy->linger, policy->wait_all, policy->scope, policy->others);
    put(&t, "stop_signals=%llx\nrewrite=", (unsigned long long)policy->stop_signals);
    for (int i = 1; i <= RTMAX; i++)
        if (policy->rewrite[i] != i)
            put(&t, "%d:%d,", i, policy->rewrite[i]);
    put(&t, "\nexpect=");
    for (int i = 0; i < 256; i++)
        if (policy->expect[i / 64] >> (i % 64) & 1)
            put(&t, "%d,", i);
    put(&t, "\nsubreaper=%d\nparent_death=%d\nwarn_reap=%d\njson=%d\ntermination_log=%pS\nverbosity=%d\n", policy->subreaper,
        policy->parent_death, policy->warn_reap, policy->json, policy->termination_log ? policy->termination_log : "",
        policy->verbosity);
    for (char **word = policy->program; word != NULL && *word != NULL; word++)
        put(&t, "program=%pS\n", *word);
    (void)!write(1, t.start, (size_t)(t.at - t.start));
}
