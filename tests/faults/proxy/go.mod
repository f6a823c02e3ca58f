// The fault proxy of the tests. The standard library is all it needs.
module tenantry.dev/tests/faults/proxy

go 1.26.0
