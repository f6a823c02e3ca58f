foreach(module http_client http_server http_tls)
  tenantry_test(test_net_${module} unit net/test_${module}.c tenantry_net tenantry_test_support)
endforeach()
