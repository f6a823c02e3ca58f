# One interface target carries every compiler and linker flag; there are no global flags.
add_library(tenantry_flags INTERFACE)
target_compile_features(tenantry_flags INTERFACE c_std_17)
target_compile_definitions(tenantry_flags INTERFACE _GNU_SOURCE TENANTRY_VERSION="${PROJECT_VERSION}")
target_include_directories(tenantry_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(tenantry_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
  -Wundef -Wimplicit-fallthrough -Wnull-dereference -Wwrite-strings -Wpointer-arith
  -fno-common -fvisibility=hidden -g
  -include ${PROJECT_SOURCE_DIR}/controller/base/banned.h)
if(TENANTRY_WERROR)
  target_compile_options(tenantry_flags INTERFACE -Werror)
endif()

set(sanitizing OFF)
if(TENANTRY_ASAN)
  target_compile_options(tenantry_flags INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(tenantry_flags INTERFACE -fsanitize=address,undefined)
  set(sanitizing ON)
endif()
if(TENANTRY_TSAN)
  target_compile_options(tenantry_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(tenantry_flags INTERFACE -fsanitize=thread)
  set(sanitizing ON)
endif()
if(TENANTRY_FUZZ)
  target_compile_options(tenantry_flags INTERFACE
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  target_link_options(tenantry_flags INTERFACE -fsanitize=address,undefined)
  set(sanitizing ON)
endif()
if(TENANTRY_COVERAGE)
  target_compile_options(tenantry_flags INTERFACE --coverage)
  target_link_options(tenantry_flags INTERFACE --coverage)
endif()

# Sanitizers split and guard the code that gcc's flow analysis looks at, which then warns of what cannot be; the
# release builds of gcc and clang judge the same code with these warnings on.
if(sanitizing AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(tenantry_flags INTERFACE
    -Wno-format-truncation -Wno-null-dereference -Wno-maybe-uninitialized -Wno-stringop-overflow)
endif()

# Hardening; FORTIFY needs optimisation and gets in the way of the sanitizers.
target_compile_options(tenantry_flags INTERFACE
  -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE)
target_link_options(tenantry_flags INTERFACE -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack)
if(NOT sanitizing AND CMAKE_BUILD_TYPE MATCHES "Release|RelWithDebInfo|MinSizeRel")
  target_compile_options(tenantry_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
