// Package secret keeps the values that stages ask for by name: written once, used by
// stages, shown to nobody again.
//
// A secret has a scope: the organization, a repository, one pipeline file of it, or an
// environment. A stage gets the value of the narrowest scope that has its name:
// pipeline, environment, repository, organization. Who may set one is decided here;
// who may get one, by package pipeline, before it asks: an untrusted commit never does.
//
// Values are sealed with a data key of their own, which the home's key wraps, both
// bound to organization, scope and name: a row that is moved elsewhere does not open.
package secret
