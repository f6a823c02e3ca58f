// The crash harness of the tests. x/crypto is there for bcrypt alone.
module tenantry.dev/tests/crash/harness

go 1.26.0

require golang.org/x/crypto v0.48.0

require (
	github.com/aws/aws-sdk-go-v2 v1.45.1
	github.com/aws/smithy-go v1.28.1 // indirect
)
