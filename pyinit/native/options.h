/* Generated from pyinit/init: options.py and signals.py, by generate.py; do not edit. */

#ifndef OPTIONS_H
#define OPTIONS_H

#define NEVER INT64_MAX
#define MILLISECOND INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define DEFAULT_GRACE INT64_C(8000000000)
#define DEFAULT_GRACE_IN_KUBERNETES INT64_C(28000000000)
#define DEFAULT_LINGER INT64_C(8000000000)
#define POLICY_FAIR INT64_C(1000000000)
#define POLICY_BOUND INT64_C(500000000)
#define POLICY_APART INT64_C(10000000)
enum { MAX_STEPS = 32 };
enum { CHILD, GROUP, TREE };
enum { AS_IT_CAME };
enum { ERRORS, WARNINGS, INFO, DEBUG };
enum {
    OPTION_GRACE,
    OPTION_STOP,
    OPTION_DRAIN,
    OPTION_LINGER,
    OPTION_WAIT,
    OPTION_STOP_SIGNALS,
    OPTION_SCOPE,
    OPTION_GROUP,
    OPTION_CHILD,
    OPTION_REWRITE,
    OPTION_EXPECT,
    OPTION_SUBREAPER,
    OPTION_NO_SUBREAPER,
    OPTION_PARENT_DEATH,
    OPTION_WARN_REAP,
    OPTION_LOG,
    OPTION_TERMINATION_LOG,
    OPTION_VERBOSE,
    OPTION_QUIET,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_LICENSE,
    OPTIONS
};

/* short, long, value, variable */
#define OPTION_ROWS \
    {"t", "grace", "D", "PYINIT_GRACE"}, \
    {"", "stop", "PLAN", "PYINIT_STOP"}, \
    {"d", "drain", "D", "PYINIT_DRAIN"}, \
    {"", "linger", "D", "PYINIT_LINGER"}, \
    {"", "wait", "main|all", "PYINIT_WAIT"}, \
    {"", "stop-signals", "LIST", "PYINIT_STOP_SIGNALS"}, \
    {"", "scope", "child|group|tree", "PYINIT_SCOPE"}, \
    {"g", "group", "", ""}, \
    {"c", "child", "", ""}, \
    {"r", "rewrite", "S:R", "PYINIT_REWRITE"}, \
    {"e", "expect", "CODE", "PYINIT_EXPECT"}, \
    {"s", "subreaper", "", "PYINIT_SUBREAPER"}, \
    {"", "no-subreaper", "", ""}, \
    {"p", "parent-death", "SIGNAL", ""}, \
    {"w", "warn-reap", "", "PYINIT_WARN_REAP"}, \
    {"", "log", "text|json", "PYINIT_LOG"}, \
    {"", "termination-log", "PATH", "PYINIT_TERMINATION_LOG"}, \
    {"v", "verbose", "", "PYINIT_VERBOSITY"}, \
    {"q", "quiet", "", ""}, \
    {"h", "help", "", ""}, \
    {"V", "version", "", ""}, \
    {"l", "license", "", ""}

#define UNPRINTABLE_RANGES \
    {0x0, 0x1f}, \
    {0x7f, 0xa0}, \
    {0xad, 0xad}, \
    {0x61c, 0x61c}, \
    {0x200b, 0x200f}, \
    {0x2028, 0x202f}, \
    {0x2060, 0x206f}, \
    {0xfeff, 0xfeff}, \
    {0xfff9, 0xfffb}, \
    {0xe0000, 0xe007f}

#define SIGNAL_NAMES \
    "SIG0\0" \
    "SIGHUP\0" \
    "SIGINT\0" \
    "SIGQUIT\0" \
    "SIGILL\0" \
    "SIGTRAP\0" \
    "SIGABRT\0" \
    "SIGBUS\0" \
    "SIGFPE\0" \
    "SIGKILL\0" \
    "SIGUSR1\0" \
    "SIGSEGV\0" \
    "SIGUSR2\0" \
    "SIGPIPE\0" \
    "SIGALRM\0" \
    "SIGTERM\0" \
    "SIGSTKFLT\0" \
    "SIGCHLD\0" \
    "SIGCONT\0" \
    "SIGSTOP\0" \
    "SIGTSTP\0" \
    "SIGTTIN\0" \
    "SIGTTOU\0" \
    "SIGURG\0" \
    "SIGXCPU\0" \
    "SIGXFSZ\0" \
    "SIGVTALRM\0" \
    "SIGPROF\0" \
    "SIGWINCH\0" \
    "SIGIO\0" \
    "SIGPWR\0" \
    "SIGSYS\0"

#define SIGNAL_ALIASES \
    {"IOT", 6}, \
    {"CLD", 17}, \
    {"POLL", 29}, \
    {"RTMIN", 34}, \
    {"RTMAX", 64}

#endif
