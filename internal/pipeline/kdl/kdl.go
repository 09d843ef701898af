// Package kdl writes pipeline files as a person would: four spaces a level, a blank
// line between stages, scripts as indented text, a short block on one line. What it
// writes is KDL v1 as the language package reads it; it knows no word of the language.
package kdl

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxLine is how long a block that stands on one line may be, in characters.
const maxLine = 100

// Node is one node. Its name is a word that needs no quotes, or is quoted.
type Node struct {
	Name     string
	Args     []any // string, int or bool
	Props    []Prop
	Children []*Node
	Comments []string // lines above it, without slashes
	Apart    bool     // a blank line stands above it
	Inline   bool     // its children stand on its line where they fit
	Origin   int      // what the caller wants to find again by the line it is written on
}

// Prop is a property.
type Prop struct {
	Name  string
	Value any
}

// New is a node with arguments.
func New(name string, args ...any) *Node { return &Node{Name: name, Args: args} }

// With adds a property, and answers n.
func (n *Node) With(name string, value any) *Node {
	n.Props = append(n.Props, Prop{name, value})
	return n
}

// Add adds children, and answers n. Those that are nil are left out.
func (n *Node) Add(children ...*Node) *Node {
	for _, c := range children {
		if c != nil {
			n.Children = append(n.Children, c)
		}
	}
	return n
}

// Note adds a line of comment above n, and answers n.
func (n *Node) Note(format string, args ...any) *Node {
	n.Comments = append(n.Comments, fmt.Sprintf(format, args...))
	return n
}

// Child is the first child of that name, or nil.
func (n *Node) Child(name string) *Node {
	for _, c := range n.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Document is a file: comments at its head, then nodes.
type Document struct {
	Head  []string
	Nodes []*Node
	Tail  []string // comments at its end
}

// Place is where a node was written: its lines, counted from 1.
type Place struct {
	Node, Parent *Node
	First, Last  int
}

// Write is the text of the file, and where its nodes stand in it.
func (d *Document) Write() (string, []Place) {
	w := &writer{}
	w.comments(d.Head, 0)
	for i, n := range d.Nodes {
		if n.Apart && (i > 0 || len(d.Head) > 0) {
			w.line("", 0)
		}
		w.node(n, nil, 0)
	}
	if len(d.Tail) > 0 {
		w.line("", 0)
		w.comments(d.Tail, 0)
	}
	return w.out.String(), w.places
}

type writer struct {
	out    strings.Builder
	lines  int // written so far
	places []Place
}

func (w *writer) line(text string, depth int) {
	if text != "" {
		w.out.WriteString(strings.Repeat("    ", depth))
	}
	w.out.WriteString(text)
	w.out.WriteByte('\n')
	w.lines += 1 + strings.Count(text, "\n")
}

func (w *writer) comments(lines []string, depth int) {
	for _, line := range lines {
		w.line(strings.TrimRight("// "+printable(line), " "), depth)
	}
}

func (w *writer) node(n, parent *Node, depth int) {
	w.comments(n.Comments, depth)
	place := len(w.places)
	w.places = append(w.places, Place{Node: n, Parent: parent, First: w.lines + 1})
	head := n.head(depth)
	switch one := n.oneLine(head); {
	case len(n.Children) == 0:
		w.line(head, depth)
	case one != "" && utf8.RuneCountInString(one)+4*depth <= maxLine:
		for _, c := range n.Children {
			w.places = append(w.places, Place{c, n, w.lines + 1, w.lines + 1})
		}
		w.line(one, depth)
	default:
		w.line(head+" {", depth)
		for i, c := range n.Children {
			if c.Apart && i > 0 {
				w.line("", 0)
			}
			w.node(c, n, depth+1)
		}
		w.line("}", depth)
	}
	w.places[place].Last = w.lines
}

// oneLine is the node with its children on one line, "" where they need more.
func (n *Node) oneLine(head string) string {
	if !n.Inline {
		return ""
	}
	var out strings.Builder
	out.WriteString(head + " {")
	for _, c := range n.Children {
		if len(c.Children) > 0 || len(c.Comments) > 0 {
			return ""
		}
		out.WriteString(" " + c.head(0) + ";")
	}
	out.WriteString(" }")
	if strings.Contains(out.String(), "\n") {
		return ""
	}
	return out.String()
}

func (n *Node) head(depth int) string {
	var out strings.Builder
	out.WriteString(word(n.Name))
	for _, a := range n.Args {
		out.WriteString(" " + Value(a, depth))
	}
	for _, p := range n.Props {
		out.WriteString(" " + word(p.Name) + "=" + Value(p.Value, depth))
	}
	return out.String()
}

// word is a name of a node or property, quoted where KDL needs it.
func word(name string) string {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || (r < '0' || r > '9') && r != '-') {
			return quote(name)
		}
	}
	if name == "" || name == "true" || name == "false" || name == "null" {
		return quote(name)
	}
	return name
}

// Value is a value as it stands in a file, its lines indented for depth.
func Value(v any, depth int) string {
	switch v := v.(type) {
	case int:
		return strconv.Itoa(v)
	case bool:
		return strconv.FormatBool(v)
	case string:
		return text(v, depth)
	}
	panic(fmt.Sprintf("kdl: a %T is no value", v))
}

// text writes a string: on one line if it has one, else as a block that the
// language dedents; raw where escapes would hide what it says.
func text(s string, depth int) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\ufffd", "?") // the KDL library takes U+FFFD for broken UTF-8
	raw := strings.ContainsAny(s, `"\`) && !escapes(s)
	if strings.Contains(s, "\n") && !escapes(s) {
		s = block(s, depth)
	}
	if !raw {
		return quote(s)
	}
	hashes := ""
	for strings.Contains(s, `"`+hashes) {
		hashes += "#"
	}
	return "r" + hashes + `"` + s + `"` + hashes
}

// block indents the lines of a script by one level more than its node.
func block(s string, depth int) string {
	indent := strings.Repeat("    ", depth+1)
	var out strings.Builder
	for line := range strings.SplitSeq(strings.Trim(s, "\n"), "\n") {
		out.WriteByte('\n')
		if strings.TrimSpace(line) != "" {
			out.WriteString(indent + strings.TrimRight(line, " \t"))
		}
	}
	return out.String() + "\n" + strings.Repeat("    ", depth)
}

// escapes tells whether s has characters that a file may hold only as escapes.
func escapes(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, hidden)
}

// hidden are characters that change what a reader sees.
func hidden(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' || r == 0x7f || r == 0xfeff ||
		r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// quote writes a string in quotes, escaped as far as it must be.
func quote(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range strings.ToValidUTF8(s, "?") {
		switch {
		case r == '"' || r == '\\':
			out.WriteString(`\` + string(r))
		case hidden(r):
			fmt.Fprintf(&out, `\u{%x}`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String() + `"`
}

// printable is a line of a comment without what could end it or hide in it.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r == 0x2028 || r == 0x2029 || r == 0x85 || r == '\f' {
			return ' '
		}
		if hidden(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
}
