package environment

import (
	"fmt"

	"github.com/buildit-dev/buildit/internal/platform"
)

// The rows of this package.
//
//	environment  acme#environments#          environment#<name>#
//	release      acme#releases#<name>#       release#<number, 10 digits>#
//	of a stage   acme#releases#<name>#       of#<run>#<stage key>#      so that it is recorded once

func partition(org platform.Org) platform.Partition { return org.Partition("environments") }

func row(org platform.Org, name string) platform.RowKey {
	return partition(org).Row("environment", name)
}

func releases(org platform.Org, name string) platform.Partition {
	return org.Partition("releases", name)
}

func releaseRow(org platform.Org, name string, number int64) platform.RowKey {
	return releases(org, name).Row("release", fmt.Sprintf("%010d", number))
}

func onceRow(org platform.Org, name, run, key string) platform.RowKey {
	return releases(org, name).Row("of", run, key)
}
