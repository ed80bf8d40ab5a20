# The libraries bulla stands on; tools/deps installs them all.
find_package(PkgConfig REQUIRED)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing>=2.3)
pkg_check_modules(HWLOC REQUIRED IMPORTED_TARGET hwloc)
pkg_check_modules(CONFUSE REQUIRED IMPORTED_TARGET libconfuse)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(MILTER REQUIRED IMPORTED_TARGET milter)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(POSTGRESQL REQUIRED IMPORTED_TARGET libpq)
pkg_check_modules(ARGON2 REQUIRED IMPORTED_TARGET libargon2)
pkg_check_modules(FIDO2 REQUIRED IMPORTED_TARGET libfido2)
pkg_check_modules(GMIME REQUIRED IMPORTED_TARGET gmime-3.0>=3.2)
pkg_check_modules(QRENCODE REQUIRED IMPORTED_TARGET libqrencode)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl)
pkg_check_modules(GNUTLS REQUIRED IMPORTED_TARGET gnutls)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal>=2.30)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
if(BUILD_TESTING OR NOT DEFINED BUILD_TESTING)
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()

# Intel ipsec-mb ships no pkg-config file. NO_COMPAT_IMB_API_053: its old names clash with OpenSSL's.
find_library(IPSEC_MB_LIBRARY IPSec_MB REQUIRED)
add_library(ipsec_mb INTERFACE)
target_link_libraries(ipsec_mb INTERFACE ${IPSEC_MB_LIBRARY})
target_compile_definitions(ipsec_mb INTERFACE NO_COMPAT_IMB_API_053)

# DPDK, static, only what is used. Its pkg-config flags would force -march=corei7 after ours, so
# they are not taken; SSE4.2 is what its headers need.
pkg_check_modules(DPDK REQUIRED libdpdk)
add_library(dpdk INTERFACE)
target_include_directories(dpdk SYSTEM INTERFACE ${DPDK_INCLUDE_DIRS})
target_compile_options(dpdk INTERFACE -msse4.2 -include rte_config.h)
# mempool_ring registers itself by constructor: linked whole, or no mempool can be made.
target_link_libraries(
    dpdk
    INTERFACE -Wl,--whole-archive
              librte_mempool_ring.a
              -Wl,--no-whole-archive
              librte_mempool.a
              librte_ring.a
              librte_rcu.a
              librte_eal.a
              librte_telemetry.a
              librte_kvargs.a
              numa
              bsd
              pthread
              dl
              m)
target_link_directories(dpdk INTERFACE ${DPDK_LIBDIR})
