# The container's system call filter is compiled to BPF here, not at every start (see seccomp.h).
add_executable(bulla-filter runner/main_filter.c runner/seccomp_profile.c)
target_link_libraries(bulla-filter PRIVATE bulla_base dep_seccomp)
set(bulla_filter_dir ${CMAKE_BINARY_DIR}/generated/runner)
file(MAKE_DIRECTORY ${bulla_filter_dir})
add_custom_command(
  OUTPUT ${bulla_filter_dir}/seccomp_programs.h
  COMMAND bulla-filter > ${bulla_filter_dir}/seccomp_programs.h.new
  COMMAND ${CMAKE_COMMAND} -E rename ${bulla_filter_dir}/seccomp_programs.h.new
          ${bulla_filter_dir}/seccomp_programs.h
  DEPENDS bulla-filter VERBATIM)
target_sources(bulla_runner PRIVATE ${bulla_filter_dir}/seccomp_programs.h)
target_include_directories(bulla_runner PRIVATE ${CMAKE_BINARY_DIR}/generated)
