foreach(module billing_plan record_plan quotas_plan)
  tenantry_test(test_registry_${module} unit registry/test_${module}.c tenantry_registry)
endforeach()
