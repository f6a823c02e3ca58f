tenantry_fuzz(fuzz_jsonr tenantry_base)
tenantry_fuzz(fuzz_yml tenantry_base)
tenantry_fuzz(fuzz_header tenantry_net)
