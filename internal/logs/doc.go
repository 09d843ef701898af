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
// path that somebody waits on, and a stage of three lines costs no compression, no
// grant and no upload. Where bytes must not pass through a function's body (AWS)
// the supervisor seals as it goes and sends chunks to the store by grants, and the
// platform seals only the rest that a killed supervisor leaves as live parts. It is
// the same code on the same parts, so the chunks are the same bytes either way.
package logs
