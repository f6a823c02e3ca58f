foreach(module request bucket tenants auth password session trust)
  tenantry_test(test_gateway_${module} unit gateway/test_${module}.c tenantry_gateway_parts)
endforeach()
