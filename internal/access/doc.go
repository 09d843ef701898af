// Package access decides who may do what: tokens become callers, and Mux is the
// only way to a handler.
//
// Mux registers what each domain's http.go declares (pattern, action, resource)
// as huma operations; a route that lacks one does not start. The OpenAPI document,
// the CLI's help and the authorization matrix come from the same list.
package access
