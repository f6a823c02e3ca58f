tenantry_fixture(s3 s3)

tenantry_integration_test(test_s3 test_s3.c "s3" tenantry_drivers)
tenantry_integration_test(test_iam test_iam.c "s3" tenantry_drivers)
