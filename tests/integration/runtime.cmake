# The manager, through a small controller of its own that the test starts, stops and suspends.
add_executable(example_controller example_controller.c)
target_link_libraries(example_controller PRIVATE tenantry_runtime)
set_target_properties(example_controller PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
tenantry_integration_test(test_manager test_manager.c controlplane tenantry_runtime)
target_sources(test_manager PRIVATE ${CMAKE_CURRENT_LIST_DIR}/manager_fixture.c)
target_compile_definitions(test_manager PRIVATE EXAMPLE_CONTROLLER="$<TARGET_FILE:example_controller>")
add_dependencies(test_manager example_controller)
tenantry_integration_test(test_objects test_objects.c controlplane tenantry_runtime)

# The example of docs/runtime.md.
add_test(NAME example_greeting
  COMMAND ${CMAKE_CURRENT_LIST_DIR}/with-env ${runs}/controlplane -- ${CMAKE_CURRENT_LIST_DIR}/greeting.sh $<TARGET_FILE:greeting-controller>)
set_tests_properties(example_greeting PROPERTIES LABELS integration TIMEOUT 180 FIXTURES_REQUIRED controlplane)
