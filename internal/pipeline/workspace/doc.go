// Package workspace gives the stages of a local run a folder each, with the files
// of the working tree as they were when the run began.
//
// Take copies what git would commit (tracked and not ignored, uncommitted changes
// included) once; Fill copies that for a stage, so that nothing passes between
// stages but what they fetch, and nothing comes back into the tree. Where the file
// system can share blocks a copy costs no space; it never is a hard link, through
// which a stage could write into the tree.
//
// A folder has a git directory of its own, which borrows the objects of the real
// one: `git describe` works there, and a commit made there goes away with it.
package workspace
