foreach(module api_request api_status config credentials exec_plugin)
  tenantry_test(test_kube_${module} unit kube/test_${module}.c tenantry_kube tenantry_test_support)
endforeach()

# The test takes the kernel's pidfds away.
target_link_options(test_kube_exec_plugin PRIVATE -Wl,--wrap=pidfd_open)
