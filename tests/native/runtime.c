/* What an instrumented build has beside the engine (instrumented.py): where sanitizers report, and counters that are not lost.
 *
 * Compiled in, since tests give their programs environments of their own.
 */

#include <sys/syscall.h>
#include <unistd.h>

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
void __gcov_dump(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);
int __wrap___gcov_execve(const char *path, char *const *arguments, char *const *environment);
void __real___asan_handle_no_return(void);
void __wrap___asan_handle_no_return(void);

#ifndef REPORTS
#define REPORTS "."
#endif

/* A report is a file: stderr is under test. No handlers: the program inherits which signals are ignored. */
#define OPTIONS                                                                                                                  \
    "log_path=" REPORTS "/report:exitcode=99:print_stacktrace=1:detect_leaks=0:use_sigaltstack=0:handle_segv=0:handle_sigbus=0:" \
    "handle_sigfpe=0:handle_sigill=0:handle_abort=0"

const char *__asan_default_options(void) { return OPTIONS; }
const char *__ubsan_default_options(void) { return OPTIONS; }

static pid_t us;

__attribute__((constructor)) static void note_who_we_are(void) { us = getpid(); }

/* gcov writes its counters at exit(3) only. In the spawned child, whose memory is ours, they are not to be written yet: once. */
void __wrap__exit(int status) {
    if (getpid() == us)
        __gcov_dump();
    __real__exit(status);
}

/* gcov's own would write the counters before it executes, and never again. */
int __wrap___gcov_execve(const char *path, char *const *arguments, char *const *environment) {
    return (int)syscall(SYS_execve, path, arguments, environment);
}

/* The child's stack is one that AddressSanitizer knows nothing of, and says so. */
void __wrap___asan_handle_no_return(void) {
    if (getpid() == us)
        __real___asan_handle_no_return();
}
