module tenantry.dev/bench/gateway

go 1.22
