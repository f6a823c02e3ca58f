foreach(module backoff event_series lease_record line_splitter list_scan object watch_line watch_state)
  tenantry_test(test_kube_${module} unit kube/test_${module}.c tenantry_kube)
endforeach()
tenantry_test(test_kube_watch unit kube/test_watch.c tenantry_watch_recorder)
