// Package git reads other people's repositories: which heads a remote has, what a
// commit holds, what changed between two, and the bundle that a task unpacks.
//
// Everything that comes from a remote is hostile until it is checked. A pack is
// measured before anything of it is expanded. Nothing is ever checked out: the
// bundle is written straight from tree objects, whose names are checked one by
// one, so that no path of a commit meets a file system here.
//
// Fetches are shallow, by go-git, into a folder that Close removes.
package git
