tenantry_test(test_objects_intent unit objects/test_intent.c tenantry_objects)
foreach(module sandbox_plan)
  tenantry_test(test_sandbox_${module} unit sandbox/test_${module}.c tenantry_sandbox)
endforeach()
