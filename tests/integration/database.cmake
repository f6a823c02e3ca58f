# Databases and their servers. They compare transaction ids and end sessions, so they too have the server to themselves.
foreach(test database)
  tenantry_integration_test(test_${test} test_${test}.c postgres_alone tenantry_database)
  target_sources(test_${test} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/postgres.c ${CMAKE_CURRENT_LIST_DIR}/database_fixture.c)
  set_tests_properties(test_${test} PROPERTIES RESOURCE_LOCK postgres_alone)
endforeach()
