/*
 * guest: the engine in a machine of several NUMA nodes: where its memory and its threads really
 * are. Ownership: guest_check() starts and stops everything of its own. Threads:   one caller; the
 * engine's own besides. Units:     pages by the kernel's answer to move_pages(2). Errors:    what
 * does not work fails the check; where pages are is printed for the host to judge.
 *
 * tests/numa/guests.py boots it under qemu. Lines for the host, one a fact:
 *   worker INDEX cpu CPU node NODE memory NODE
 *   area INDEX NAME PAGES NODE:PAGES...  a worker's memory: pages in all, then where they are
 *   keys NODE memory NODE NODE:PAGES...  what a key thread of that node takes when it is opened
 *   float NODE CPUS                    where that node's key threads may run
 *   thread NAME last CPU may CPUS      each thread of the process
 *   share NAME NODE:PAGES...           the whole process, by kind of mapping
 *   hugepages yes|no
 *   arenas huge KIB small KIB          shared memory that is mapped, by the size of its pages
 */
#ifndef TESTS_NUMA_GUEST_H
#define TESTS_NUMA_GUEST_H

/* 0 when all of it worked. */
int guest_check(void);

#endif
