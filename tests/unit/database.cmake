foreach(module database_plan login members_plan owner_plan schema_plan server_health spares_plan)
  tenantry_test(test_database_${module} unit database/test_${module}.c tenantry_database PkgConfig::CRYPT)
endforeach()
