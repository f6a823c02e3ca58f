# The SQL driver and the registry. They kill and stop backends, and compare transaction ids, so they have a server to
# themselves, one after the other, without the background work that takes ids.
add_test(NAME postgres_alone_start
  COMMAND ${PROJECT_SOURCE_DIR}/hack/postgres/start ${runs}/postgres_alone --no-fsync --set autovacuum=off)
add_test(NAME postgres_alone_stop COMMAND ${PROJECT_SOURCE_DIR}/hack/postgres/stop ${runs}/postgres_alone)
set_tests_properties(postgres_alone_start PROPERTIES
  FIXTURES_SETUP postgres_alone LABELS "integration;fixture" TIMEOUT 600)
set_tests_properties(postgres_alone_stop PROPERTIES
  FIXTURES_CLEANUP postgres_alone LABELS "integration;fixture" TIMEOUT 120)

foreach(test sql sql_connect sql_pool migrate)
  tenantry_integration_test(test_${test} test_${test}.c postgres_alone tenantry_drivers PkgConfig::PQ)
  target_sources(test_${test} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/postgres.c)
  set_tests_properties(test_${test} PROPERTIES RESOURCE_LOCK postgres_alone)
endforeach()

foreach(test billing registry registry_parts registry_purge registry_scale)
  tenantry_integration_test(test_${test} test_${test}.c postgres_alone tenantry_registry)
  target_sources(test_${test} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/postgres.c ${CMAKE_CURRENT_LIST_DIR}/registry_fixture.c)
  set_tests_properties(test_${test} PROPERTIES RESOURCE_LOCK postgres_alone)
endforeach()

foreach(test idle meter)
  tenantry_integration_test(test_${test} test_${test}.c postgres_alone tenantry_sandbox)
  target_sources(test_${test} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/postgres.c ${CMAKE_CURRENT_LIST_DIR}/registry_fixture.c)
  set_tests_properties(test_${test} PROPERTIES RESOURCE_LOCK postgres_alone)
endforeach()

tenantry_integration_test(test_registry_takeover test_registry_takeover.c "postgres_alone;controlplane" tenantry_registry)
target_sources(test_registry_takeover PRIVATE
  ${CMAKE_CURRENT_LIST_DIR}/cluster.c ${CMAKE_CURRENT_LIST_DIR}/postgres.c ${CMAKE_CURRENT_LIST_DIR}/registry_fixture.c)
target_compile_definitions(test_registry_takeover PRIVATE TENANTRY_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
set_tests_properties(test_registry_takeover PROPERTIES RESOURCE_LOCK postgres_alone)
