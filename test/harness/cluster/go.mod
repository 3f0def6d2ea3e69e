module github.com/tachometer-metrics/tachometer/test/harness/cluster

go 1.26.0
