foreach(module sql_build sql_error)
  tenantry_test(test_drivers_${module} unit drivers/test_${module}.c tenantry_drivers PkgConfig::PQ)
endforeach()
