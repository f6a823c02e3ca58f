# Watch, lease and events, each in a namespace of its own.
foreach(test watch lease event)
  tenantry_integration_test(test_${test} test_${test}.c controlplane tenantry_watch_recorder)
  target_sources(test_${test} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/cluster.c)
endforeach()
target_sources(test_watch PRIVATE ${CMAKE_CURRENT_LIST_DIR}/widgets.c)
