# Warnings, hardening and sanitizers for everything in the tree.
add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64 BULLA_VERSION="${PROJECT_VERSION}")
add_compile_options(
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-qual -Wwrite-strings
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wformat=2 -Wundef -Wvla
  -Wimplicit-fallthrough -fno-common -fvisibility=hidden)
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
  # Statement expressions (TAKE_PTR) are marked __extension__; clang warns all the same.
  add_compile_options(-Wno-gnu-statement-expression)
endif()
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # Messages are cut on purpose where they are too long.
  add_compile_options(-Wno-format-truncation)
endif()
if(BULLA_WERROR)
  add_compile_options(-Werror)
endif()
if(BULLA_SANITIZE)
  add_compile_options(-fsanitize=${BULLA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${BULLA_SANITIZE})
endif()
if(BULLA_FUZZ)
  # The fuzzer sees which paths an input takes only in code that is instrumented for it.
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_link_options(-fsanitize=fuzzer-no-link)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
    -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=pattern)
endif()
# assert stays on in release builds: it marks our own bugs.
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
string(REPLACE "-O3" "-O2" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
include(CheckPIESupported)
check_pie_supported()
add_link_options(-Wl,-z,relro,-z,now -Wl,--as-needed)
