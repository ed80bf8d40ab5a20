/*
 * assert: stops the program at a bug, in release builds too.
 * Ownership: none.
 * Threads:   any.
 * Units:     none.
 * Errors:    never returns when the condition is false. For bugs only: never put a byte that came
 *            from a client, a disk or a socket into a condition.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

/* Prints the condition and its place, no data, then abort(). Cold: the way there stands apart from
 * code that runs, which so takes less of the first cache. */
__attribute__((cold)) _Noreturn void assert_failed(const char *condition, const char *file,
                                                   int line);

#define ASSERT(condition)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            assert_failed(#condition, __FILE__, __LINE__);                                         \
    } while (0)

/* For per-byte work: checked in debug builds only. */
#ifdef NDEBUG
#define ASSERT_HOT(condition) ((void)sizeof(condition))
#else
#define ASSERT_HOT(condition) ASSERT(condition)
#endif

#endif
