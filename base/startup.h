/*
 * startup: what a program sets up for its process before it reads a secret or starts a thread.
 * Ownership: none; it holds for the process, until it ends.
 * Threads:   the first, while it is alone.
 * Units:     none.
 * Errors:    none: each is a wish, and a program that runs without it is still right.
 */
#ifndef BASE_STARTUP_H
#define BASE_STARTUP_H

#include <signal.h>

/* No core and no debugger of the same user may see keys, passwords or mail. */
void startup_hide_memory(void);
/* As many descriptors as may be had. */
void startup_raise_files(void);
/* SIGHUP, SIGTERM and SIGINT are left to whoever waits for `signals`; a closed pipe is an error of
 * write(2), which is told like any other. */
void startup_block_signals(sigset_t *signals);

#endif
