foreach(module api_request api_status config credentials exec_plugin)
  tenantry_test(test_kube_${module} unit kube/test_${module}.c tenantry_kube tenantry_test_support)
endforeach()
