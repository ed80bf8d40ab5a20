#include "crypto/core.h"

#include "base/assert.h"
#include "crypto/core_internal.h"
#include "crypto/gcm_internal.h"
#include "crypto/secret.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

_Static_assert(_Alignof(struct core_secrets) == CACHE_LINE, "gcm_key_data is aligned to a line");

/*
 * The manager's memory: not in cores, locked where the limit allows, but kept over a fork, for it
 * holds the addresses of functions. It wipes its own working copies (IMB_FEATURE_SAFE_DATA).
 */
static int mgr_pages_open(struct crypto_core *core)
{
    core->mgr_bytes = imb_get_mb_mgr_size();
    void *at =
        mmap(NULL, core->mgr_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return -errno;
    if (madvise(at, core->mgr_bytes, MADV_DONTDUMP) != 0) {
        const int rc = -errno;
        (void)munmap(at, core->mgr_bytes);
        return rc;
    }
    (void)mlock(at, core->mgr_bytes);
    core->mgr_pages = at;
    return 0;
}

static void mgr_pages_close(struct crypto_core *core)
{
    secret_wipe(core->mgr_pages, core->mgr_bytes);
    (void)munmap(core->mgr_pages, core->mgr_bytes);
}

static int mgr_start(struct crypto_core *core)
{
    core->mgr = imb_set_pointers_mb_mgr(core->mgr_pages, 0, 1);
    if (core->mgr == NULL)
        return -ENOTSUP;
    switch (core->isa) {
    case ISA_SCALAR:
    case ISA_SSE: init_mb_mgr_sse(core->mgr); break;
    case ISA_AVX2: init_mb_mgr_avx2(core->mgr); break;
    case ISA_AVX512: init_mb_mgr_avx512(core->mgr); break;
    }
    if (imb_get_errno(core->mgr) != 0)
        return -ENOTSUP;
    /* The library tests itself at start; one that fails its own vectors seals nothing. */
    const uint64_t features = core->mgr->features;
    if ((features & IMB_FEATURE_SELF_TEST) != 0 && (features & IMB_FEATURE_SELF_TEST_PASS) == 0)
        return -EIO;
    return 0;
}

static bool has_rdrand(void)
{
    uint32_t eax;
    uint32_t ebx;
    uint32_t ecx;
    uint32_t edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & (UINT32_C(1) << 30)) != 0;
}

int crypto_core_open(struct crypto_core **core_out, enum isa isa)
{
    ASSERT(core_out != NULL);
    /* ISA_SCALAR's ciphers are ISA_SSE's: there is no plain C one, whose tables would leak. */
    if (!isa_supported(isa) || !isa_supported(ISA_SSE))
        return -ENOTSUP;

    struct crypto_core *core = calloc(1, sizeof(*core));
    if (core == NULL)
        return -ENOMEM;
    core->isa = isa;
    core->has_rdrand = has_rdrand();
    int rc = mgr_pages_open(core);
    if (rc != 0)
        goto free_core;
    rc = mgr_start(core);
    if (rc != 0)
        goto close_mgr_pages;
    core->has_powers = gcm_powers_fit(core);
    void *secrets = NULL;
    rc = secret_pages_open(&secrets, sizeof(struct core_secrets));
    if (rc != 0)
        goto close_mgr_pages;
    core->secrets = secrets;
    rc = random_seed(core);
    if (rc != 0)
        goto close_secrets;
    *core_out = core;
    return 0;

close_secrets:
    secret_pages_close(core->secrets, sizeof(struct core_secrets));
close_mgr_pages:
    mgr_pages_close(core);
free_core:
    free(core);
    return rc;
}

void crypto_core_close(struct crypto_core *core)
{
    if (core == NULL)
        return;
    secret_pages_close(core->secrets, sizeof(struct core_secrets));
    mgr_pages_close(core);
    free(core);
}

enum isa crypto_core_isa(const struct crypto_core *core)
{
    ASSERT(core != NULL);
    return core->isa;
}
