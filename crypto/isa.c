#include "crypto/isa.h"

#include "base/assert.h"

#include <cpuid.h>
#include <stdatomic.h>
#include <stdint.h>

/* Bits of CPUID leaf 1 ecx and of leaf 7 ebx and ecx; Intel SDM volume 2A, table 3-8 and CPUID. */
#define LEAF1_ECX_SSE                                                                              \
    (UINT32_C(1) << 1 /* PCLMULQDQ */ | UINT32_C(1) << 9 /* SSSE3 */ |                             \
     UINT32_C(1) << 19 /* SSE4.1 */ | UINT32_C(1) << 20 /* SSE4.2 */ |                             \
     UINT32_C(1) << 25 /* AES */)
#define LEAF1_ECX_OSXSAVE (UINT32_C(1) << 27)
#define LEAF1_ECX_AVX     (UINT32_C(1) << 28)
#define LEAF7_EBX_AVX2                                                                             \
    (UINT32_C(1) << 5 | UINT32_C(1) << 8 /* BMI2 */ | UINT32_C(1) << 3 /* BMI1 */)
#define LEAF7_EBX_AVX512                                                                           \
    (UINT32_C(1) << 16 /* F */ | UINT32_C(1) << 17 /* DQ */ | UINT32_C(1) << 28 /* CD */ |         \
     UINT32_C(1) << 30 /* BW */ | UINT32_C(1) << 31 /* VL */)
#define LEAF7_ECX_AVX512                                                                           \
    (UINT32_C(1) << 1 /* VBMI */ | UINT32_C(1) << 9 /* VAES */ | UINT32_C(1) << 10 /* VPCLMULQDQ   \
                                                                                    */)

/* XCR0: which register files the system saves at a context switch. */
#define XCR0_AVX    UINT64_C(0x06)
#define XCR0_AVX512 UINT64_C(0xe6)

static bool has_all(uint64_t have, uint64_t need)
{
    return (have & need) == need;
}

static uint64_t xcr0(void)
{
    uint32_t low;
    uint32_t high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static enum isa isa_detect(void)
{
    uint32_t eax;
    uint32_t ebx;
    uint32_t ecx;
    uint32_t edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !has_all(ecx, LEAF1_ECX_SSE))
        return ISA_SCALAR;
    if (!has_all(ecx, LEAF1_ECX_OSXSAVE | LEAF1_ECX_AVX))
        return ISA_SSE;
    const uint64_t saved = xcr0();
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !has_all(ebx, LEAF7_EBX_AVX2) ||
        !has_all(saved, XCR0_AVX))
        return ISA_SSE;
    if (!has_all(ebx, LEAF7_EBX_AVX512) || !has_all(ecx, LEAF7_ECX_AVX512) ||
        !has_all(saved, XCR0_AVX512))
        return ISA_AVX2;
    return ISA_AVX512;
}

/*
 * CPUID is asked once: under a hypervisor each takes microseconds. Relaxed, without a partner:
 * every thread finds the same answer, and it is the only thing handed over.
 */
enum isa isa_best(void)
{
    static _Atomic int known = ISA_COUNT; /* not yet */
    int best = atomic_load_explicit(&known, memory_order_relaxed);
    if (best == ISA_COUNT) {
        best = (int)isa_detect();
        atomic_store_explicit(&known, best, memory_order_relaxed);
    }
    return (enum isa)best;
}

bool isa_supported(enum isa isa)
{
    return isa <= isa_best();
}

const char *isa_name(enum isa isa)
{
    switch (isa) {
    case ISA_SCALAR: return "scalar";
    case ISA_SSE: return "sse";
    case ISA_AVX2: return "avx2";
    case ISA_AVX512: return "avx512";
    }
    assert_failed("an isa outside its enum", __FILE__, __LINE__);
}
