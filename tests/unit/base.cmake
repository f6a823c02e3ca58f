foreach(module arena attributes buf call cancel clock err flags hash js jsonw log map metrics secret str yml)
  tenantry_test(test_base_${module} unit base/test_${module}.c tenantry_base)
endforeach()

# The test looks at what is freed.
target_link_options(test_base_secret PRIVATE -Wl,--wrap=free)

# The JSON reader twice: as it is built here, and with the code for machines without SSE2, whose
# object file comes before the library's.
foreach(name jsonr jsonr_random)
  foreach(variant "" _portable)
    tenantry_test(test_base_${name}${variant} unit base/test_${name}.c tenantry_base)
    target_sources(test_base_${name}${variant} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/base/jsonr_check.c)
  endforeach()
  target_sources(test_base_${name}_portable PRIVATE ${PROJECT_SOURCE_DIR}/controller/base/jsonr.c)
  target_compile_definitions(test_base_${name}_portable PRIVATE TENANTRY_JSONR_PORTABLE)
endforeach()
