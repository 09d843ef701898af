// Package mask keeps secrets out of logs: a streaming filter that replaces what
// gives a secret away by ***.
//
// Compile turns values into a Set, the automaton of their needles: the value, its
// longer lines, and the forms that encoders and shells give them. A Filter stands
// between a process and its log. It holds back what may be the beginning of a
// needle until the bytes after it decide, across writes, pauses and commands:
// nothing but more bytes, or the end of the stream, releases them, so there is no
// timer here. Terminal sequences between the bytes of a needle are looked through.
//
// Masking is a courtesy and no boundary: a job that wants to tell a secret finds
// an encoding that nobody thought of.
package mask
