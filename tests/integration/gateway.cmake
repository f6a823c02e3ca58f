# The gateway as a program of its own, with databases that the controller's steps made.
foreach(test gateway gateway_isolation gateway_limits gateway_nginx gateway_quota gateway_strangers)
  tenantry_integration_test(test_${test} test_${test}.c postgres_tenants tenantry_database PkgConfig::CRYPT PkgConfig::OPENSSL)
  target_sources(test_${test} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/postgres.c
    ${CMAKE_CURRENT_LIST_DIR}/database_fixture.c ${CMAKE_CURRENT_LIST_DIR}/gateway_fixture.c)
  target_compile_definitions(test_${test} PRIVATE TENANTRY_GATEWAY="$<TARGET_FILE:tenantry-gateway>")
  target_compile_definitions(test_${test} PRIVATE NGINX_FRONT="${CMAKE_CURRENT_LIST_DIR}/nginx_front")
  target_compile_definitions(test_${test} PRIVATE GATEWAY_CERTIFICATES="${CMAKE_CURRENT_LIST_DIR}/gateway-certificates")
  add_dependencies(test_${test} tenantry-gateway)
  set_tests_properties(test_${test} PROPERTIES RESOURCE_LOCK postgres_tenants)
endforeach()
