/* From a command line to a running engine: the one entry of the native pyinit (start.py). */

#include <string.h>
#include <unistd.h>

#include "pyinit.h"
#include "texts.h" /* generated */

#define STRINGIFIED(word) STRINGIFIED_(word)
#define STRINGIFIED_(word) #word
#ifndef TARGET
#define TARGET development build
#endif

static const char VERSION_TEXT[] = "pyinit " VERSION " (native engine, " STRINGIFIED(TARGET) ")\n";
static const char HELP_TEXT[] = HELP;
const char LICENSE_TEXT[] = LICENSE;

/* --help, --version and --license, on stdout. */
static int about(const char *what) {
    const char *text = what[0] == 'h' ? HELP_TEXT : what[0] == 'v' ? VERSION_TEXT : LICENSE_TEXT;
    size_t length = strlen(text);
    return write(1, text, length) == (ssize_t)length ? 0 : OWN_FAILURE;
}

int main(int argc, char **argv, char **environment) {
    KEPT static struct policy policy;
    static char log[2 * LIMIT];
    mask given;
    set_mask(~(mask)0, &given);      /* before anything else */
    bool ignored = to_default(CHLD); /* an inherited "ignore" would hide every exit */
    if (argc > 0 && is_tini(argv[0]))
        return tini(argv, environment, given, ignored);
    char **words = argv + (argc > 0);
    bool only_prints = *words != NULL && strcmp(*words, "--print-policy") == 0;
    pid_t parent = getppid();
    fill_descriptors();
    report_open();
    parse(&policy, words + only_prints, environment);
    if (only_prints) {
        print_policy(&policy);
        return 0;
    }
    if (policy.about != NULL)
        return about(policy.about);
    report.verbosity = policy.verbosity;
    report.json = policy.json;
    report.log = absolute(policy.termination_log, log, sizeof log);
    termination_log("");
    engine_prepare(&policy);
    become_subreaper();
    if (policy.parent_death)
        follow_parent(policy.parent_death, parent);
    if (!terminal_open())
        cannot_start();
    say(INFO, "start", FIELDS(STRING("version", VERSION), STRING("engine", "native")), "version %s, native engine, as PID %d", VERSION,
        (int)getpid());
    pid_t child = spawn(environment, given);
    /* from here on PID 1 must not die */
    if (policy.verbosity >= INFO) {
        static char command[LIMIT + 64];
        struct text t = text_in(command, sizeof command);
        for (char **word = policy.program; *word != NULL && !t.cut; word++)
            put(&t, "%s%pS", word == policy.program ? "" : " ", *word);
        say(INFO, "spawn", FIELDS(NUMBER("pid", child), WORDS("command", policy.program)), "started %s as PID %d", command, (int)child);
    }
    settle();
    return run(child);
}
