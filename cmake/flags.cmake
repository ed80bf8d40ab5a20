# Compiler flags for every target, as one interface library.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # _GNU_SOURCE: memfd, accept4, SO_PEERCRED
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

option(BULLA_WERROR "Treat warnings as errors (CI)" OFF)
set(BULLA_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=: address,undefined or thread")
option(BULLA_FUZZ "Build the libFuzzer targets (needs clang)" OFF)

add_library(bulla_flags INTERFACE)
target_include_directories(bulla_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
target_compile_definitions(bulla_flags INTERFACE _GNU_SOURCE)
target_compile_options(
    bulla_flags
    INTERFACE -Wall
              -Wextra
              -Wconversion
              -Wshadow
              -Wvla
              -Wswitch-enum
              -Wmissing-prototypes
              -Wstrict-prototypes
              -fstack-protector-strong
              -fno-strict-aliasing
              -fno-omit-frame-pointer)
target_link_options(bulla_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
if(BULLA_WERROR)
    target_compile_options(bulla_flags INTERFACE -Werror)
endif()
if(BULLA_SANITIZE)
    target_compile_options(bulla_flags INTERFACE -fsanitize=${BULLA_SANITIZE}
                                                 -fno-sanitize-recover=all)
    target_link_options(bulla_flags INTERFACE -fsanitize=${BULLA_SANITIZE})
elseif(CMAKE_BUILD_TYPE MATCHES "Rel")
    target_compile_options(bulla_flags INTERFACE -D_FORTIFY_SOURCE=3)
endif()
if(BULLA_FUZZ)
    target_compile_options(bulla_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# A message passes through all of these: what is installed is compiled for speed, more than for size.
function(bulla_for_speed)
    foreach(target IN LISTS ARGN)
        target_compile_options(${target} PRIVATE $<$<CONFIG:RelWithDebInfo>:-O3>)
    endforeach()
endfunction()
