// Package logs is the form in which a log travels and rests. The bytes are those
// of the stage after masking, and stay as they are: long lines, borders inside a
// line and what was left out are marked in the index, never in the bytes.
//
// A Cutter makes the live parts of an attempt as its output comes. A Sealer turns
// parts into chunks of at most 1 MiB, compressed, with the time of every line,
// and an Index. A Reader opens a sealed log at any line. None of them knows where
// anything is stored: parts, chunks and index go through functions.
//
// # Who seals
//
// Whoever has the bytes already. Where parts carry their text to the platform (one
// machine, memory) the platform seals them behind the end of the stage, off every
// path that somebody waits on: a stage of three lines costs no compression, no grant
// and no upload. Where bytes must not pass through a function's body it is the
// supervisor that has them, and it can put the same Sealer between its Cutter and
// the store. Where chunks are cut depends on the stream alone, so they are the same
// bytes either way, and the platform can seal the rest that a killed supervisor
// leaves behind as live parts.
package logs
