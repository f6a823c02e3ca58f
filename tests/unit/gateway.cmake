foreach(module request bucket tenants auth session trust)
  tenantry_test(test_gateway_${module} unit gateway/test_${module}.c tenantry_gateway_parts)
endforeach()
