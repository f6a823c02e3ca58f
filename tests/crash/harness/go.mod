// The crash harness of the tests. x/crypto is there for bcrypt alone.
module tenantry.dev/tests/crash/harness

go 1.26.0

require golang.org/x/crypto v0.48.0
