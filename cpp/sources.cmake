# The sources of the core, for every build of it: sets `tersor_sources`. Files of src/isa are compiled for the instruction set in
# their name and run only where cpp/src/isa.cpp finds it; nothing else is compiled for more than the architecture's base.
file(GLOB tersor_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/src/*.cpp ${CMAKE_CURRENT_LIST_DIR}/src/isa/*.cpp)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(tersor_sse41 -msse4.2 -mpopcnt)
  set(tersor_avx2 ${tersor_sse41} -mavx2 -mbmi -mbmi2 -mf16c -mpclmul)
  set(tersor_avx512 ${tersor_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vbmi -mavx512vbmi2 -mvpclmulqdq)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")  # GCC 12 takes its own "undefined" vectors for a mistake of ours
    list(APPEND tersor_avx512 -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
  foreach(isa sse41 avx2 avx512)
    file(GLOB isa_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/src/isa/*_${isa}.cpp)
    # -ffp-contract=off: a multiplication and an addition must round twice, as in the portable code.
    set_source_files_properties(${isa_sources} PROPERTIES COMPILE_OPTIONS "-ffp-contract=off;${tersor_${isa}}")
  endforeach()
endif()
