// Package cost says what the compute of a stage costs, by the class that it ran in.
// Compute of one's own has no fee. Prices of a cloud are its list prices, and a
// figure made of them is called modelled until a bill has been compared.
package cost

import (
	"strconv"
	"strings"
	"time"
)

// Prices of AWS Fargate on Linux in us-east-1, in US dollars an hour; each started
// task is billed by the second, for a minute at least.
//
// Source: AWS Fargate pricing, "Pricing details", 2026.
const (
	vcpuHour    = 0.04048
	gibHour     = 0.004445
	vcpuHourARM = 0.03238
	gibHourARM  = 0.00356
	spotShare   = 0.3 // of the price, about
	leastBilled = time.Minute
)

// Size is what a task has.
type Size struct {
	VCPU float64
	GiB  float64
}

// Usual is the size of a stage that asks for none.
var Usual = Size{VCPU: 2, GiB: 4}

// ParseSize reads a size as a pipeline file has it, such as "2x4"; text that is none
// is the Usual size.
func ParseSize(text string) Size {
	vcpu, gib, _ := strings.Cut(text, "x")
	v, err := strconv.ParseFloat(vcpu, 64)
	if err != nil || v <= 0 {
		return Usual
	}
	g, err := strconv.ParseFloat(gib, 64)
	if err != nil || g <= 0 {
		return Usual
	}
	return Size{v, g}
}

// Fargate is the modelled price of a task, in US dollars.
func Fargate(size Size, arch string, spot bool, ran time.Duration) float64 {
	if ran <= 0 {
		return 0
	}
	hour := size.VCPU*vcpuHour + size.GiB*gibHour
	if arch == "arm64" {
		hour = size.VCPU*vcpuHourARM + size.GiB*gibHourARM
	}
	if spot {
		hour *= spotShare
	}
	return hour * max(ran, leastBilled).Hours()
}
