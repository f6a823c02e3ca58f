foreach(module buckets_plan bucket_documents bucket_fence keys_plan keys_policy)
  tenantry_test(test_storage_${module} unit storage/test_${module}.c tenantry_storage)
endforeach()
