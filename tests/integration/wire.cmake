# What goes over the wire, by the fault proxy's log. Tests with the label "long" take minutes: hack/test -L long.
function(tenantry_wire_test name)
  tenantry_integration_test(test_${name} test_${name}.c controlplane tenantry_faults tenantry_watch_recorder ${ARGN})
  target_sources(test_${name} PRIVATE cluster.c)
  set_tests_properties(test_${name} PROPERTIES FIXTURES_REQUIRED "controlplane;faults" RESOURCE_LOCK faults)
endfunction()

function(tenantry_long_test name)
  add_test(NAME test_${name}_long
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/with-env ${runs}/controlplane -- $<TARGET_FILE:test_${name}> long)
  set_tests_properties(test_${name}_long PROPERTIES
    LABELS long TIMEOUT 1800 FIXTURES_REQUIRED "controlplane;faults" RESOURCE_LOCK faults)
endfunction()

tenantry_wire_test(wire_client)
target_compile_definitions(test_wire_client PRIVATE
  ROTATION_CERTIFICATES="${CMAKE_CURRENT_LIST_DIR}/rotation-certificates")
tenantry_wire_test(wire_watch)
target_sources(test_wire_watch PRIVATE widgets.c)
tenantry_long_test(wire_watch)
tenantry_wire_test(wire_manager tenantry_runtime)
tenantry_long_test(wire_manager)
target_sources(test_wire_manager PRIVATE ${CMAKE_CURRENT_LIST_DIR}/manager_fixture.c)
target_compile_definitions(test_wire_manager PRIVATE EXAMPLE_CONTROLLER="$<TARGET_FILE:example_controller>")
add_dependencies(test_wire_manager example_controller)
