// Package workspace gives the stages of a local run a folder each, with the files
// of the working tree as they were when the run began.
//
// Open copies what git would commit (tracked and not ignored, uncommitted changes
// included) into a snapshot; Take lends a folder that equals the snapshot, so that
// nothing passes between stages but what they fetch, and nothing comes back into
// the tree. A file is never a hard link, through which a stage could write into the
// tree; where the file system can share blocks, its copy costs no space.
//
// To make a file can take longer than a short stage does. So folders are kept, for
// the next stage and for the next run, and brought in order by looking: what still
// has the inode, size, mode and change time that it was left with has not been
// touched, since no program can set a change time.
//
// A folder has a git directory of its own, which borrows the objects of the real
// one: `git describe` works there, and a commit made there goes away with it.
package workspace
