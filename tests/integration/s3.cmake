tenantry_fixture(s3 s3)

tenantry_integration_test(test_s3 test_s3.c "s3" tenantry_drivers)
tenantry_integration_test(test_iam test_iam.c "s3" tenantry_drivers)

tenantry_integration_test(test_snapshot_s3 test_snapshot_s3.c "postgres_tenants;s3" tenantry_storage)
target_sources(test_snapshot_s3 PRIVATE ${CMAKE_CURRENT_LIST_DIR}/postgres.c ${CMAKE_CURRENT_LIST_DIR}/database_fixture.c)
set_tests_properties(test_snapshot_s3 PROPERTIES RESOURCE_LOCK postgres_tenants)
tenantry_integration_test(test_store_probe test_store_probe.c "s3" tenantry_storage)
target_compile_definitions(test_store_probe PRIVATE
  TEST_S3_FILTER="${PROJECT_SOURCE_DIR}/tests/support/s3_filter.py")
