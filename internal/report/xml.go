package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of one element.
const (
	maxElement    = 256      // bytes of a name
	maxAttribute  = 64 << 10 // bytes of a value that are kept
	maxAttributes = 128
	textAtOnce    = 16 << 10
)

// attributes of an element, by local name.
type attributes map[string]string

// handler is told what a file holds, in its order.
type handler interface {
	start(name string, a attributes) error
	text(p []byte) // a piece of text, cut anywhere
	end(name string) error
}

// scanner reads XML as tools write it. Text goes through in pieces, so that memory
// stays flat. There is no DTD, and no entity but the five that need none: nothing
// that is read can grow. Names lose their prefix. Characters that XML forbids are
// passed on, because tools write what tests have printed.
type scanner struct {
	in    *bufio.Reader
	to    handler
	line  int
	latin bool // ISO-8859-1 and its like, a byte a character
	seen  bool // the root has begun
	open  []string
	chars []byte
}

// scanXML reads a file to its end.
func scanXML(in io.Reader, to handler) error {
	s := &scanner{in: bufio.NewReaderSize(in, textAtOnce), to: to, line: 1, chars: make([]byte, 0, textAtOnce)}
	if mark, err := s.in.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		if _, err := s.in.Discard(3); err != nil {
			return err
		}
	} else if mark, err := s.in.Peek(2); err == nil && (string(mark) == "\xff\xfe" || string(mark) == "\xfe\xff") {
		return errors.New("it is UTF-16; write it as UTF-8")
	}
	for {
		c, err := s.byte()
		switch {
		case errors.Is(err, io.EOF):
			return s.close()
		case err != nil:
			return err
		case c == '<':
			s.flush()
			err = s.markup()
		case c == '&':
			err = s.entity()
		default:
			s.put(c)
		}
		if err != nil {
			return s.at(err)
		}
	}
}

func (s *scanner) close() error {
	switch {
	case len(s.open) > 0:
		return s.at(fmt.Errorf("it ends inside <%s>", s.open[len(s.open)-1]))
	case !s.seen:
		return errors.New("it holds no element: it is no XML")
	}
	return nil
}

// at says in which line a mistake is.
func (s *scanner) at(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("line %d: it ends inside markup", s.line)
	case limitOf(err) != nil:
		return err
	}
	return fmt.Errorf("line %d: %w", s.line, err)
}

func (s *scanner) byte() (byte, error) {
	c, err := s.in.ReadByte()
	if c == '\n' {
		s.line++
	}
	return c, err
}

// put takes a byte of text.
func (s *scanner) put(c byte) {
	if s.latin && c >= utf8.RuneSelf {
		s.chars = utf8.AppendRune(s.chars, rune(c))
	} else {
		s.chars = append(s.chars, c)
	}
	if len(s.chars) >= textAtOnce {
		s.flush()
	}
}

func (s *scanner) flush() {
	if len(s.open) > 0 && len(s.chars) > 0 {
		s.to.text(s.chars)
	}
	s.chars = s.chars[:0]
}

// markup reads what follows a <.
func (s *scanner) markup() error {
	c, err := s.byte()
	if err != nil {
		return err
	}
	switch c {
	case '?':
		return s.instruction()
	case '!':
		return s.declaration()
	case '/':
		return s.endTag()
	}
	return s.startTag(c)
}

// instruction passes over <?…?>; that of the file may name an encoding.
func (s *scanner) instruction() error {
	text, err := s.until("?>", 1<<10)
	if err != nil || !strings.HasPrefix(text, "xml") {
		return err
	}
	_, encoding, named := strings.Cut(text, "encoding=")
	if !named {
		return nil
	}
	encoding = strings.ToLower(strings.Trim(encoding, `"' ?`))
	encoding, _, _ = strings.Cut(encoding, `"`)
	encoding, _, _ = strings.Cut(encoding, `'`)
	switch encoding {
	case "utf-8", "utf8", "us-ascii", "ascii":
	case "iso-8859-1", "latin1", "latin-1", "iso-8859-15", "windows-1252", "cp1252":
		s.latin = true
	default:
		return fmt.Errorf("it is encoded as %q; write it as UTF-8", cut(printable(encoding), 40))
	}
	return nil
}

// declaration passes over a comment, passes on CDATA, and refuses everything else
// that begins with <!.
func (s *scanner) declaration() error {
	ahead, err := s.in.Peek(2)
	if err != nil {
		return io.EOF
	}
	if string(ahead) == "--" {
		_, err := s.until("-->", 0)
		return err
	}
	if ahead, err := s.in.Peek(7); err == nil && string(ahead) == "[CDATA[" {
		if _, err := s.in.Discard(7); err != nil {
			return err
		}
		return s.cdata()
	}
	return errors.New("it has a DTD (<!DOCTYPE or <!ENTITY), which is refused")
}

// until reads to the end mark and answers what was before it, of which it keeps so
// many bytes.
func (s *scanner) until(mark string, keep int) (string, error) {
	var kept, last []byte
	for {
		c, err := s.byte()
		if err != nil {
			return "", err
		}
		if last = append(last, c); len(last) > len(mark) {
			if len(kept) < keep {
				kept = append(kept, last[0])
			}
			last = append(last[:0], last[1:]...)
		}
		if string(last) == mark {
			return string(kept), nil
		}
	}
}

func (s *scanner) cdata() error {
	closing := 0 // how many ] came last
	for {
		c, err := s.byte()
		switch {
		case err != nil:
			return err
		case c == ']':
			closing++
			continue
		case c == '>' && closing >= 2:
			for range closing - 2 {
				s.put(']')
			}
			return nil
		}
		for range closing {
			s.put(']')
		}
		closing = 0
		s.put(c)
	}
}

// entity reads what follows an &, as text.
func (s *scanner) entity() error {
	r, err := s.reference()
	if err != nil {
		return err
	}
	s.chars = utf8.AppendRune(s.chars, r)
	return nil
}

// reference is one of the five entities, or a character by its number.
func (s *scanner) reference() (rune, error) {
	var name []byte
	for {
		c, err := s.byte()
		if err != nil {
			return 0, err
		}
		if c == ';' {
			break
		}
		if name = append(name, c); len(name) > 32 {
			return 0, errors.New("an & begins no entity; write &amp;")
		}
	}
	switch text := string(name); {
	case text == "lt":
		return '<', nil
	case text == "gt":
		return '>', nil
	case text == "amp":
		return '&', nil
	case text == "quot":
		return '"', nil
	case text == "apos":
		return '\'', nil
	case strings.HasPrefix(text, "#"):
		base, digits := 10, text[1:]
		if strings.HasPrefix(digits, "x") || strings.HasPrefix(digits, "X") {
			base, digits = 16, digits[1:]
		}
		n, err := strconv.ParseUint(digits, base, 32)
		if err != nil || n > utf8.MaxRune {
			return utf8.RuneError, nil // tools write numbers of characters that there are not
		}
		return rune(n), nil
	default:
		return 0, fmt.Errorf("the entity &%s; is refused: only &lt; &gt; &amp; &quot; &apos; and numbers are read", cut(printable(text), 32))
	}
}

// name reads a name that begins with c, and answers the byte after it.
func (s *scanner) name(c byte) (string, byte, error) {
	var name []byte
	for !isSpace(c) && c != '>' && c != '/' && c != '=' {
		if c == '<' || c == '"' || c == '\'' || c == '&' {
			return "", 0, fmt.Errorf("%q stands in a name", c)
		}
		if name = append(name, c); len(name) > maxElement {
			return "", 0, errLimit("a name has more than %d bytes", maxElement)
		}
		var err error
		if c, err = s.byte(); err != nil {
			return "", 0, err
		}
	}
	if len(name) == 0 {
		return "", 0, errors.New("a name is missing after <")
	}
	text := string(name)
	return text[strings.LastIndexByte(text, ':')+1:], c, nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// skipSpace answers the first byte that is none.
func (s *scanner) skipSpace(c byte) (byte, error) {
	var err error
	for isSpace(c) && err == nil {
		c, err = s.byte()
	}
	return c, err
}

func (s *scanner) endTag() error {
	c, err := s.byte()
	if err != nil {
		return err
	}
	name, c, err := s.name(c)
	if err != nil {
		return err
	}
	if c, err = s.skipSpace(c); err != nil {
		return err
	}
	if c != '>' {
		return fmt.Errorf("</%s is not closed", name)
	}
	return s.leave(name)
}

func (s *scanner) leave(name string) error {
	switch n := len(s.open); {
	case n == 0:
		return fmt.Errorf("</%s> closes nothing", name)
	case s.open[n-1] != name:
		return fmt.Errorf("</%s> stands where </%s> is expected", name, s.open[n-1])
	}
	s.open = s.open[:len(s.open)-1]
	return s.to.end(name)
}

func (s *scanner) startTag(c byte) error {
	name, c, err := s.name(c)
	if err != nil {
		return err
	}
	if s.seen && len(s.open) == 0 {
		return fmt.Errorf("<%s> stands behind the end of the file's one element", name)
	}
	if len(s.open) >= maxDepth {
		return errLimit("elements are nested deeper than %d", maxDepth)
	}
	a := attributes{}
	for {
		if c, err = s.skipSpace(c); err != nil {
			return err
		}
		if c == '>' || c == '/' {
			break
		}
		if c, err = s.attribute(c, a); err != nil {
			return err
		}
	}
	s.seen = true
	s.open = append(s.open, name)
	if err := s.to.start(name, a); err != nil || c == '>' {
		return err
	}
	if c, err = s.byte(); err == nil && c != '>' {
		err = fmt.Errorf("<%s is not closed", name)
	}
	if err != nil {
		return err
	}
	return s.leave(name)
}

// attribute reads name="value" and answers the byte after it.
func (s *scanner) attribute(c byte, into attributes) (byte, error) {
	name, c, err := s.name(c)
	if err != nil {
		return 0, err
	}
	if c, err = s.skipSpace(c); err != nil {
		return 0, err
	}
	if c != '=' {
		return 0, fmt.Errorf("the attribute %s has no value", name)
	}
	if c, err = s.byte(); err == nil {
		c, err = s.skipSpace(c)
	}
	if err != nil {
		return 0, err
	}
	if c != '"' && c != '\'' {
		return 0, fmt.Errorf("the value of %s has no quotes", name)
	}
	value, err := s.value(c)
	if err != nil {
		return 0, err
	}
	if len(into) < maxAttributes {
		into[name] = value
	}
	return s.byte()
}

// value reads to the quote. What is beyond its limit is passed over.
func (s *scanner) value(quote byte) (string, error) {
	var value []byte
	for {
		c, err := s.byte()
		if err != nil {
			return "", err
		}
		r := rune(c)
		switch {
		case c == quote:
			return string(value), nil
		case c == '&':
			if r, err = s.reference(); err != nil {
				return "", err
			}
		case !s.latin || c < utf8.RuneSelf:
			if len(value) < maxAttribute {
				value = append(value, c)
			}
			continue
		}
		if len(value) < maxAttribute {
			value = utf8.AppendRune(value, r)
		}
	}
}
