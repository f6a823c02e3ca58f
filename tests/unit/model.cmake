tenantry_test(test_runtime_fields unit runtime/test_fields.c tenantry_runtime)
foreach(module codec login_keep names placement)
  tenantry_test(test_model_${module} unit model/test_${module}.c tenantry_model)
  target_compile_definitions(test_model_${module} PRIVATE TENANTRY_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
endforeach()
tenantry_test(test_tenant_status unit tenant/test_status.c tenantry_tenant)
add_test(NAME reasons_are_documented
  COMMAND ${PROJECT_SOURCE_DIR}/tests/unit/reasons_are_documented $<TARGET_FILE:tenantry-controller>)
set_tests_properties(reasons_are_documented PROPERTIES LABELS unit TIMEOUT 60)
