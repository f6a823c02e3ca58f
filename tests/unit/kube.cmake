foreach(module config)
  tenantry_test(test_kube_${module} unit kube/test_${module}.c tenantry_kube tenantry_test_support)
endforeach()
