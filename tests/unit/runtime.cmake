foreach(module backend cache condition controller crew failing_keys finalizer hot_keys key_table object_type outcome
    process_metrics queue secret_object step)
  tenantry_test(test_runtime_${module} unit runtime/test_${module}.c tenantry_runtime)
endforeach()
