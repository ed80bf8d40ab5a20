/*
 * isa: which vector instructions this processor has, and which set a part is told to use.
 * Ownership: none.
 * Threads:   any.
 * Units:     none.
 * Errors:    none; an ISA that the processor lacks is a bug to ask for: check isa_supported().
 */
#ifndef CRYPTO_ISA_H
#define CRYPTO_ISA_H

#include <stdbool.h>

/* Ascending: each one's code may use everything below it. */
enum isa {
    ISA_SCALAR, /* plain C: the reference the others are compared with (ipsec-mb: as ISA_SSE) */
    ISA_SSE,    /* SSE4.2, AES-NI, PCLMULQDQ                                                   */
    ISA_AVX2,   /* and AVX2, BMI2                                                              */
    ISA_AVX512, /* and AVX-512 F/BW/VL/VBMI, VAES, VPCLMULQDQ                                  */
};

#define ISA_COUNT 4

enum isa isa_best(void);
bool isa_supported(enum isa isa);
const char *isa_name(enum isa isa); /* "scalar", "sse", "avx2", "avx512" */

#endif
