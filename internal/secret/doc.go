// Package secret keeps the values that stages name, by scope: of an organization, a
// repository, a pipeline of a repository, or an environment.
//
// A value is sealed before it is written, with a data key of its own that the key
// port wraps for exactly its organization, scope and name: a row that is moved
// elsewhere opens nowhere. Nothing in the API answers a value; one method opens it,
// for an attempt that names it, and keeps who used it last.
package secret
