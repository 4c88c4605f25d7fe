/* Generated from pyinit/init: machine.py, by generate.py; do not edit. */

#ifndef MACHINE_H
#define MACHINE_H

enum { RUNNING, DRAINING, STOPPING, LINGERING, KILLING, DONE };
enum { SIGNAL, ENDED, EMPTY, TIMEOUT, NOBODY };
enum { FORWARD, ASK, ASK_REST, KILL_ASKED, LEAVE, EXIT, DRAIN, DROP };
enum { SAME = -1, ANY = -2 };

#define TABLE_ROWS \
    {RUNNING, SIGNAL, SAME, is_dropped, drop}, \
    {RUNNING, SIGNAL, DRAINING, drains, drain}, \
    {RUNNING, SIGNAL, STOPPING, is_stop, begin}, \
    {RUNNING, SIGNAL, SAME, always, forward}, \
    {RUNNING, ENDED, SAME, waits_for_all, outlive}, \
    {RUNNING, ENDED, DONE, leaves_at_once, finish}, \
    {RUNNING, ENDED, LINGERING, always, linger}, \
    {DRAINING, SIGNAL, SAME, is_dropped, drop}, \
    {DRAINING, SIGNAL, STOPPING, is_stop, begin}, \
    {DRAINING, SIGNAL, SAME, always, forward}, \
    {DRAINING, TIMEOUT, STOPPING, always, begin}, \
    {DRAINING, ENDED, SAME, waits_for_all, outlive}, \
    {DRAINING, ENDED, DONE, leaves_at_once, finish}, \
    {DRAINING, ENDED, LINGERING, always, linger}, \
    {STOPPING, SIGNAL, SAME, is_dropped, drop}, \
    {STOPPING, SIGNAL, SAME, is_stop, ask_again}, \
    {STOPPING, SIGNAL, SAME, always, forward}, \
    {STOPPING, TIMEOUT, KILLING, is_all_over, kill_only}, \
    {STOPPING, TIMEOUT, LINGERING, is_plan_over, kill}, \
    {STOPPING, TIMEOUT, SAME, always, advance}, \
    {STOPPING, ENDED, SAME, waits_for_all, outlive_plan}, \
    {STOPPING, ENDED, DONE, leaves_at_once, finish}, \
    {STOPPING, ENDED, LINGERING, always, linger}, \
    {LINGERING, SIGNAL, SAME, is_dropped, drop}, \
    {LINGERING, SIGNAL, SAME, is_first_stop, hurry}, \
    {LINGERING, SIGNAL, SAME, is_stop, ask_tree}, \
    {LINGERING, SIGNAL, SAME, always, drop}, \
    {LINGERING, NOBODY, KILLING, was_killed, bound}, \
    {LINGERING, TIMEOUT, KILLING, always, kill_rest}, \
    {LINGERING, ENDED, SAME, always, record}, \
    {KILLING, SIGNAL, SAME, always, drop}, \
    {KILLING, TIMEOUT, DONE, is_bound_over, leave}, \
    {KILLING, TIMEOUT, SAME, always, sweep}, \
    {KILLING, ENDED, DONE, leaves_at_once, finish}, \
    {KILLING, ENDED, SAME, always, record}, \
    {ANY, EMPTY, DONE, always, finish}, \
    {ANY, NOBODY, SAME, always, stay}, \
    {ANY, TIMEOUT, SAME, always, stay}

#endif
