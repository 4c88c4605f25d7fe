/* Generated from pyinit/init: machine.py, by generate.py; do not edit. */

#ifndef MACHINE_H
#define MACHINE_H

enum { RUNNING, DRAINING, STOPPING, LINGERING, KILLING, DONE };
enum { SIGNAL, ENDED, EMPTY, TIMEOUT, NOBODY };
enum { FORWARD, ASK, ASK_REST, KILL_ASKED, LEAVE, EXIT, DRAIN, DROP };
enum { SAME = -1 };

#define TABLE_ROWS \
    {RUNNING, SIGNAL, is_dropped, SAME, drop}, \
    {RUNNING, SIGNAL, drains, DRAINING, drain}, \
    {RUNNING, SIGNAL, is_stop, STOPPING, begin}, \
    {RUNNING, SIGNAL, always, SAME, forward}, \
    {RUNNING, ENDED, waits_for_all, SAME, outlive}, \
    {RUNNING, ENDED, leaves_at_once, DONE, finish}, \
    {RUNNING, ENDED, always, LINGERING, linger}, \
    {DRAINING, SIGNAL, is_dropped, SAME, drop}, \
    {DRAINING, SIGNAL, is_stop, STOPPING, begin}, \
    {DRAINING, SIGNAL, always, SAME, forward}, \
    {DRAINING, TIMEOUT, always, STOPPING, begin}, \
    {DRAINING, ENDED, waits_for_all, SAME, outlive}, \
    {DRAINING, ENDED, leaves_at_once, DONE, finish}, \
    {DRAINING, ENDED, always, LINGERING, linger}, \
    {STOPPING, SIGNAL, is_dropped, SAME, drop}, \
    {STOPPING, SIGNAL, is_stop, SAME, ask_again}, \
    {STOPPING, SIGNAL, always, SAME, forward}, \
    {STOPPING, TIMEOUT, is_all_over, KILLING, kill_only}, \
    {STOPPING, TIMEOUT, is_plan_over, LINGERING, kill}, \
    {STOPPING, TIMEOUT, always, SAME, advance}, \
    {STOPPING, ENDED, waits_for_all, SAME, outlive_plan}, \
    {STOPPING, ENDED, leaves_at_once, DONE, finish}, \
    {STOPPING, ENDED, always, LINGERING, linger}, \
    {LINGERING, SIGNAL, is_dropped, SAME, drop}, \
    {LINGERING, SIGNAL, is_first_stop, SAME, hurry}, \
    {LINGERING, SIGNAL, is_stop, SAME, ask_tree}, \
    {LINGERING, SIGNAL, always, SAME, drop}, \
    {LINGERING, NOBODY, was_killed, KILLING, bound}, \
    {LINGERING, TIMEOUT, always, KILLING, kill_rest}, \
    {LINGERING, ENDED, always, SAME, record}, \
    {KILLING, SIGNAL, always, SAME, drop}, \
    {KILLING, TIMEOUT, is_bound_over, DONE, leave}, \
    {KILLING, TIMEOUT, always, SAME, sweep}, \
    {KILLING, ENDED, leaves_at_once, DONE, finish}, \
    {KILLING, ENDED, always, SAME, record}, \
    {RUNNING, EMPTY, always, DONE, finish}, \
    {RUNNING, NOBODY, always, SAME, stay}, \
    {RUNNING, TIMEOUT, always, SAME, stay}, \
    {DRAINING, EMPTY, always, DONE, finish}, \
    {DRAINING, NOBODY, always, SAME, stay}, \
    {DRAINING, TIMEOUT, always, SAME, stay}, \
    {STOPPING, EMPTY, always, DONE, finish}, \
    {STOPPING, NOBODY, always, SAME, stay}, \
    {STOPPING, TIMEOUT, always, SAME, stay}, \
    {LINGERING, EMPTY, always, DONE, finish}, \
    {LINGERING, NOBODY, always, SAME, stay}, \
    {LINGERING, TIMEOUT, always, SAME, stay}, \
    {KILLING, EMPTY, always, DONE, finish}, \
    {KILLING, NOBODY, always, SAME, stay}, \
    {KILLING, TIMEOUT, always, SAME, stay}

#endif
