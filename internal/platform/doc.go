// Package platform is the ports that BuildIt stands on: nine small interfaces,
// each shaped like the AWS primitive that it names, with three homes behind them
// (AWS, one machine, memory).
//
// A home that passes internal/platform/platformtest is a home; nothing else about
// it matters to the code above. What the ports share lives here too, so that no
// driver decides it alone: keys (rowkey.go, blobkey.go), values and conditions
// (value.go, condition.go), errors (errors.go).
//
// What never lives here: a driver, an SDK, a noun of the product.
package platform
