/* Generated from pyinit/init: about.py, program.py and forensics.py, by generate.py; do not edit. */

#ifndef TEXTS_H
#define TEXTS_H

#define VERSION "0.1.0"
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define HELP \
    "Usage: pyinit [OPTIONS] [--] PROGRAM [ARG...]\n" \
    "\n" \
    "Run PROGRAM as the one child of a container's PID 1: forward signals, reap zombies, stop in order,\n" \
    "say who did not.\n" \
    "\n" \
    "Stopping:\n" \
    "  -t, --grace D                   from forwarding the stop signal to SIGKILL; the same as --stop\n" \
    "                                  =:D,KILL. 'infinity' never kills the program, '0' at once\n" \
    "                                  [PYINIT_GRACE] (default: 8s, in Kubernetes 28s)\n" \
    "      --stop PLAN                 the whole plan, e.g. TERM:8s,INT:4s,KILL; '=' is the signal that\n" \
    "                                  came, after --rewrite; without KILL the program never is\n" \
    "                                  [PYINIT_STOP] (default: =:8s,KILL)\n" \
    "  -d, --drain D                   wait before forwarding the stop signal, so that load balancers can\n" \
    "                                  look elsewhere; a second stop signal ends the wait [PYINIT_DRAIN]\n" \
    "                                  (default: 0)\n" \
    "      --linger D                  after the program has ended: how long the others may take after\n" \
    "                                  their SIGTERM before SIGKILL; '0' asks, kills and awaits nobody\n" \
    "                                  [PYINIT_LINGER] (default: 8s, or the plan's length if shorter)\n" \
    "      --wait main|all             'all' stays until the last process has ended, for programs that\n" \
    "                                  daemonise; the exit status stays the program's [PYINIT_WAIT]\n" \
    "                                  (default: main)\n" \
    "\n" \
    "Signals:\n" \
    "      --stop-signals LIST         the signals that begin a shutdown; set it to the image's\n" \
    "                                  STOPSIGNAL where that is another one [PYINIT_STOP_SIGNALS]\n" \
    "                                  (default: TERM,INT)\n" \
    "      --scope child|group|tree    whom a stop signal reaches: the program, its process group, or\n" \
    "                                  every descendant [PYINIT_SCOPE] (default: group)\n" \
    "  -g, --group                     send all other signals to the process group too\n" \
    "  -c, --child                     send every signal, stop signals included, to the program alone\n" \
    "  -r, --rewrite S:R               send R when S arrives; S:0 drops S, which then begins no shutdown\n" \
    "                                  either. May be repeated [PYINIT_REWRITE]\n" \
    "\n" \
    "Status:\n" \
    "  -e, --expect CODE               exit 0 when the program's status is CODE: 0..255 but not 125, or a\n" \
    "                                  signal (TERM is 143). May be repeated [PYINIT_EXPECT]\n" \
    "\n" \
    "Processes:\n" \
    "  -s, --subreaper                 adopt orphaned descendants when not PID 1 (variable: yes, no or\n" \
    "                                  auto) [PYINIT_SUBREAPER]\n" \
    "      --no-subreaper              do not adopt them; zombies then go to whoever is PID 1\n" \
    "  -p, --parent-death SIGNAL       the signal that the kernel sends to pyinit when its parent dies\n" \
    "                                  (PR_SET_PDEATHSIG)\n" \
    "\n" \
    "Reporting:\n" \
    "  -w, --warn-reap                 print a line for each orphan reaped (variable: yes or no)\n" \
    "                                  [PYINIT_WARN_REAP]\n" \
    "      --log text|json             the form of the lines on stderr [PYINIT_LOG] (default: text)\n" \
    "      --termination-log PATH      write the last word there too, unless the program has written to\n" \
    "                                  it (in Kubernetes: /dev/termination-log) [PYINIT_TERMINATION_LOG]\n" \
    "  -v, --verbose                   say more, -vv still more (variable: 0 errors, 1 warnings, 2 info,\n" \
    "                                  3 debug) [PYINIT_VERBOSITY]\n" \
    "  -q, --quiet                     say less\n" \
    "\n" \
    "About:\n" \
    "  -h, --help                      print this help\n" \
    "  -V, --version                   print the version and the engine\n" \
    "  -l, --license                   print the licence\n" \
    "\n" \
    "Environment:\n" \
    "  A variable stands for its option where the command line does not name it; an empty one counts as\n" \
    "  not set. Durations: 8s, 1500ms, 2m, 10 (seconds), infinity. Signals: TERM, SIGTERM, 15, RTMIN+3.\n" \
    "\n" \
    "Exit status:\n" \
    "  0..255  the program's own exit status, 128+n when signal n ended it\n" \
    "  137     the program had to be killed\n" \
    "  127     the program was not found\n" \
    "  126     it was found but cannot be executed\n" \
    "  125     pyinit itself failed: a wrong option, no process to be had\n" \
    "\n" \
    "Example, in a Dockerfile:\n" \
    "  ENTRYPOINT [\"pyinit\", \"--\"]\n" \
    "  CMD [\"nginx\", \"-g\", \"daemon off;\"]\n"

#define LICENSE \
    "MIT License\n" \
    "\n" \
    "Copyright (c) 2026 the pyinit authors\n" \
    "\n" \
    "Permission is hereby granted, free of charge, to any person obtaining a copy\n" \
    "of this software and associated documentation files (the \"Software\"), to deal\n" \
    "in the Software without restriction, including without limitation the rights\n" \
    "to use, copy, modify, merge, publish, distribute, sublicense, and/or sell\n" \
    "copies of the Software, and to permit persons to whom the Software is\n" \
    "furnished to do so, subject to the following conditions:\n" \
    "\n" \
    "The above copyright notice and this permission notice shall be included in all\n" \
    "copies or substantial portions of the Software.\n" \
    "\n" \
    "THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR\n" \
    "IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,\n" \
    "FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE\n" \
    "AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER\n" \
    "LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,\n" \
    "OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE\n" \
    "SOFTWARE.\n"

#define ERROR_TEXTS \
    {1, "Operation not permitted"}, \
    {2, "No such file or directory"}, \
    {3, "No such process"}, \
    {4, "Interrupted system call"}, \
    {5, "Input/output error"}, \
    {6, "No such device or address"}, \
    {7, "Argument list too long"}, \
    {8, "Exec format error"}, \
    {9, "Bad file descriptor"}, \
    {10, "No child processes"}, \
    {11, "Resource temporarily unavailable"}, \
    {12, "Cannot allocate memory"}, \
    {13, "Permission denied"}, \
    {14, "Bad address"}, \
    {16, "Device or resource busy"}, \
    {17, "File exists"}, \
    {19, "No such device"}, \
    {20, "Not a directory"}, \
    {21, "Is a directory"}, \
    {22, "Invalid argument"}, \
    {23, "Too many open files in system"}, \
    {24, "Too many open files"}, \
    {25, "Inappropriate ioctl for device"}, \
    {26, "Text file busy"}, \
    {27, "File too large"}, \
    {28, "No space left on device"}, \
    {29, "Illegal seek"}, \
    {30, "Read-only file system"}, \
    {32, "Broken pipe"}, \
    {36, "File name too long"}, \
    {38, "Function not implemented"}, \
    {40, "Too many levels of symbolic links"}, \
    {80, "Accessing a corrupted shared library"}, \
    {95, "Operation not supported"}, \
    {110, "Connection timed out"}, \
    {116, "Stale file handle"}, \
    {122, "Disk quota exceeded"}, \
    {75, "Value too large for defined data type"}, \
    {87, "Too many users"}

#define MACHINES \
    {3, "i386"}, \
    {8, "mips"}, \
    {20, "ppc"}, \
    {21, "ppc64"}, \
    {22, "s390x"}, \
    {40, "arm"}, \
    {62, "x86_64"}, \
    {183, "aarch64"}, \
    {243, "riscv64"}, \
    {258, "loongarch64"}

#define SIGNAL_TEXTS \
    "Hangup\0" \
    "Interrupt\0" \
    "Quit\0" \
    "Illegal instruction\0" \
    "Trace/breakpoint trap\0" \
    "Aborted\0" \
    "Bus error\0" \
    "Floating point exception\0" \
    "Killed\0" \
    "User defined signal 1\0" \
    "Segmentation fault\0" \
    "User defined signal 2\0" \
    "Broken pipe\0" \
    "Alarm clock\0" \
    "Terminated\0" \
    "Stack fault\0" \
    "Child exited\0" \
    "Continued\0" \
    "Stopped (signal)\0" \
    "Stopped\0" \
    "Stopped (tty input)\0" \
    "Stopped (tty output)\0" \
    "Urgent I/O condition\0" \
    "CPU time limit exceeded\0" \
    "File size limit exceeded\0" \
    "Virtual timer expired\0" \
    "Profiling timer expired\0" \
    "Window changed\0" \
    "I/O possible\0" \
    "Power failure\0" \
    "Bad system call\0"

#define SHELLS \
    "sh", \
    "bash", \
    "dash", \
    "ash", \
    "ksh", \
    "mksh", \
    "zsh", \
    "busybox"

#define INTERPRETERS \
    "sh", \
    "bash", \
    "dash", \
    "ash", \
    "ksh", \
    "mksh", \
    "zsh", \
    "busybox", \
    "python", \
    "node", \
    "ruby", \
    "perl", \
    "php", \
    "java"

#endif
