# Databases and their servers. These tests compare transaction ids, end sessions and leave transactions prepared, so they
# have a server of their own, one after the other, without the background work that takes ids.
add_test(NAME postgres_tenants_start
  COMMAND ${PROJECT_SOURCE_DIR}/hack/postgres/start ${runs}/postgres_tenants --no-fsync --set autovacuum=off
          --set max_prepared_transactions=8 --set wal_level=logical --set log_statement=all)
add_test(NAME postgres_tenants_stop COMMAND ${PROJECT_SOURCE_DIR}/hack/postgres/stop ${runs}/postgres_tenants)
set_tests_properties(postgres_tenants_start PROPERTIES
  FIXTURES_SETUP postgres_tenants LABELS "integration;fixture" TIMEOUT 600)
set_tests_properties(postgres_tenants_stop PROPERTIES
  FIXTURES_CLEANUP postgres_tenants LABELS "integration;fixture" TIMEOUT 120)

foreach(test database database_drift database_end isolation modes complaints snapshot snapshot_shared spares fleet)
  tenantry_integration_test(test_${test} test_${test}.c postgres_tenants tenantry_database)
  target_sources(test_${test} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/postgres.c ${CMAKE_CURRENT_LIST_DIR}/database_fixture.c)
  set_tests_properties(test_${test} PROPERTIES RESOURCE_LOCK postgres_tenants)
endforeach()

foreach(test snapshot snapshot_shared)
  target_sources(test_${test} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/snapshot_fixture.c)
endforeach()

# The same with a cluster, where the test acts as the controller, with its rights and under the policies.
add_test(NAME controlplane_install
  COMMAND ${CMAKE_CURRENT_LIST_DIR}/with-env ${runs}/controlplane -- ${CMAKE_CURRENT_LIST_DIR}/install)
set_tests_properties(controlplane_install PROPERTIES
  FIXTURES_SETUP installation FIXTURES_REQUIRED controlplane LABELS "integration;fixture" TIMEOUT 120)

foreach(test tenant_objects login_rotation members migrations server_reconcile)
  tenantry_integration_test(test_${test} test_${test}.c "postgres_tenants;controlplane"
    tenantry_sandbox PkgConfig::CRYPT)
  target_sources(test_${test} PRIVATE
    ${CMAKE_CURRENT_LIST_DIR}/as_controller.c ${CMAKE_CURRENT_LIST_DIR}/cluster.c
    ${CMAKE_CURRENT_LIST_DIR}/postgres.c ${CMAKE_CURRENT_LIST_DIR}/database_fixture.c
    ${CMAKE_CURRENT_LIST_DIR}/tenant_life.c)
  set_tests_properties(test_${test} PROPERTIES
    RESOURCE_LOCK postgres_tenants FIXTURES_REQUIRED "postgres_tenants;controlplane;installation")
endforeach()

# Tenant against tenant: every attack in every isolation mode.
set(attack_folder ${PROJECT_SOURCE_DIR}/tests/attack)
tenantry_integration_test(test_attack ${attack_folder}/test_attack.c postgres_tenants tenantry_database PkgConfig::PQ)
target_sources(test_attack PRIVATE
  ${attack_folder}/attacks_identity.c ${attack_folder}/attacks_rows.c ${attack_folder}/attacks_server.c
  ${CMAKE_CURRENT_LIST_DIR}/postgres.c ${CMAKE_CURRENT_LIST_DIR}/database_fixture.c)
set_tests_properties(test_attack PROPERTIES RESOURCE_LOCK postgres_tenants)

tenantry_integration_test(test_watchdog test_watchdog.c postgres_tenants tenantry_database PkgConfig::PQ)
target_sources(test_watchdog PRIVATE ${CMAKE_CURRENT_LIST_DIR}/postgres.c ${CMAKE_CURRENT_LIST_DIR}/database_fixture.c)
set_tests_properties(test_watchdog PROPERTIES RESOURCE_LOCK postgres_tenants)

# bench/spares, on the same fixture: it runs a step, and measures it.
add_executable(bench-spares ${PROJECT_SOURCE_DIR}/bench/spares.c postgres.c database_fixture.c)
target_link_libraries(bench-spares PRIVATE tenantry_database tenantry_test_support PkgConfig::CMOCKA)
set_target_properties(bench-spares PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

# Against a newer PostgreSQL than the system's, where it can be had.
add_test(NAME postgres_newer COMMAND ${CMAKE_CURRENT_LIST_DIR}/newer --smoke)
set_tests_properties(postgres_newer PROPERTIES LABELS integration SKIP_RETURN_CODE 77 TIMEOUT 600
  ENVIRONMENT TENANTRY_TEST_PROGRAMS=${CMAKE_BINARY_DIR}/tests)
