foreach(module http_client http_server http_tls)
  tenantry_test(test_net_${module} unit net/test_${module}.c tenantry_net tenantry_test_support)
endforeach()
# The same is true of a client without a thread.
foreach(module http_client http_tls)
  tenantry_test(test_net_${module}_on_caller unit net/test_${module}.c tenantry_net tenantry_test_support)
  target_compile_definitions(test_net_${module}_on_caller PRIVATE ON_CALLER)
endforeach()
