// Package access decides who may do what: a credential becomes a Caller, and Mux
// is the only way to a handler.
//
// Mux registers what each domain's http.go declares (pattern, action, resource)
// as huma operations; a route that lacks one does not start. The OpenAPI document,
// the CLI's help and the authorization matrix come from the same list.
//
// There are three credentials. An API token belongs to a person or a program and
// is a row (token.go). A job token belongs to one attempt of one stage and is a
// signature (job.go). A ticket opens one thing, once, for a short time (ticket.go).
//
// Streams (stream.go, follow.go) carry logs and statuses over a WebSocket. They
// are authorized like every other route, and again for each subscription.
package access
