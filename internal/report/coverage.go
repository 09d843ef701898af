package report

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxBlocks bounds what a coverage counts: blocks of Go, lines of others.
const maxBlocks = 2_000_000

// coverage gathers the parts of a stage's coverage: a line that one file reached is
// reached.
type coverage struct {
	unit   string
	files  map[string]map[string]block
	blocks int
}

// block is some statements, or a line, that run together.
type block struct {
	size int
	hit  bool
}

func (c *coverage) add(file, at string, size int, hit bool) error {
	if c.files == nil {
		c.files = make(map[string]map[string]block)
	}
	blocks := c.files[file]
	if blocks == nil {
		if len(c.files) >= maxCovered {
			return errLimit("it covers more than %d files", maxCovered)
		}
		blocks = make(map[string]block)
		c.files[file] = blocks
	}
	before, known := blocks[at]
	if !known {
		if c.blocks++; c.blocks > maxBlocks {
			return errLimit("it covers more than %d lines or blocks", maxBlocks)
		}
	}
	blocks[at] = block{size, hit || before.hit}
	return nil
}

// report sums up, nil for nothing.
func (c *coverage) report() *Coverage {
	if len(c.files) == 0 {
		return nil
	}
	all := &Coverage{Unit: c.unit}
	for _, file := range slices.Sorted(maps.Keys(c.files)) {
		one := Covered{File: file}
		for _, b := range c.files[file] {
			one.Total += b.size
			if b.hit {
				one.Covered += b.size
			}
		}
		all.Covered, all.Total = all.Covered+one.Covered, all.Total+one.Total
		all.Files = append(all.Files, one)
	}
	if all.Total > 0 {
		all.Percent = math.Floor(1000*float64(all.Covered)/float64(all.Total)) / 10 // 99.96 is not yet 100
	}
	return all
}

// readCoverage reads a Go cover profile, an LCOV file or Cobertura's XML, whichever it
// is by its beginning.
func (r *Reader) readCoverage(in io.Reader) error {
	ahead := bufio.NewReaderSize(in, 4<<10)
	begin, err := ahead.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return err
	}
	begin = bytes.TrimPrefix(bytes.TrimLeft(begin, " \t\r\n"), []byte("\xef\xbb\xbf"))
	read, unit := r.readLCOV, "lines"
	switch {
	case bytes.HasPrefix(begin, []byte("mode:")):
		read, unit = r.readGoCover, "statements"
	case bytes.HasPrefix(begin, []byte("<")):
		read = r.readCobertura
	}
	if r.cover.unit != "" && r.cover.unit != unit {
		return fmt.Errorf("it counts %s, and another file of the stage %s", unit, r.cover.unit)
	}
	before := r.cover
	r.cover = coverage{unit: unit, blocks: before.blocks}
	err = read(ahead)
	fresh := r.cover
	r.cover = before
	if err != nil {
		return err
	}
	r.cover.unit = unit
	return r.cover.merge(fresh)
}

// merge adds what another file covers.
func (c *coverage) merge(other coverage) error {
	for file, blocks := range other.files {
		for at, b := range blocks {
			if err := c.add(file, at, b.size, b.hit); err != nil {
				return err
			}
		}
	}
	return nil
}

// coveredFile is a path of a report as one below the workspace.
func (r *Reader) coveredFile(path string) string {
	if below := r.below(path); below != "" {
		return firstOf(r.found(below, classFolders(below)), below)
	}
	return r.name(path)
}

// readGoCover reads lines file:1.2,3.4 statements count.
func (r *Reader) readGoCover(in io.Reader) error {
	known := map[string]string{}
	return eachLine(in, func(number int, line []byte) error {
		text := string(line)
		if strings.HasPrefix(text, "mode:") || strings.TrimSpace(text) == "" {
			return nil
		}
		colon := strings.LastIndexByte(text, ':')
		fields := strings.Fields(text[colon+1:])
		if colon < 1 || len(fields) != 3 {
			return fmt.Errorf("line %d is not FILE:BLOCK STATEMENTS COUNT", number)
		}
		size, err := strconv.ParseUint(fields[1], 10, 31)
		if err != nil {
			return fmt.Errorf("line %d: %q is no number of statements", number, cut(printable(fields[1]), 20))
		}
		file, seen := known[text[:colon]]
		if !seen {
			file = r.coveredGoFile(text[:colon])
			known[text[:colon]] = file
		}
		return r.cover.add(file, cut(fields[0], 60), int(size), strings.Trim(fields[2], "0") != "")
	})
}

// coveredGoFile finds the file that is named by its import path.
func (r *Reader) coveredGoFile(name string) string {
	parts := strings.Split(name, "/")
	for i := range min(len(parts), 8) {
		if below := strings.Join(parts[i:], "/"); r.exists(below) {
			return below
		}
	}
	return r.name(name)
}

// readLCOV reads records of SF, DA and LF/LH.
func (r *Reader) readLCOV(in io.Reader) error {
	file, found := "", false
	err := eachLine(in, func(number int, line []byte) error {
		key, value, ok := strings.Cut(string(line), ":")
		switch {
		case !ok:
			return nil // end_of_record
		case key == "SF":
			file, found = r.coveredFile(value), true
		case key == "DA" && file != "":
			at, count, ok := strings.Cut(value, ",")
			n, err := strconv.ParseUint(at, 10, 31)
			if !ok || err != nil {
				return fmt.Errorf("line %d: %q is not DA:LINE,COUNT", number, cut(printable(value), 40))
			}
			count, _, _ = strings.Cut(count, ",") // a checksum may follow
			return r.cover.add(file, strconv.FormatUint(n, 10), 1, strings.Trim(count, "0-") != "")
		}
		return nil
	})
	if err == nil && !found {
		err = errors.New("it is no coverage: neither a Go profile (mode: …), nor LCOV (SF:…), nor Cobertura (<coverage …>)")
	}
	return err
}

// readCobertura reads the lines of each class.
func (r *Reader) readCobertura(in io.Reader) error { return scanXML(in, &cobertura{r: r}) }

type cobertura struct {
	r     *Reader
	depth int
	file  string // of the class
	inner int    // methods that are open: their lines are the class's too
}

func (c *cobertura) start(name string, a attributes) error {
	c.depth++
	switch {
	case c.depth == 1 && name != "coverage":
		return fmt.Errorf("its root is <%s>, not <coverage>: it is no Cobertura file", cut(printable(name), 60))
	case name == "class":
		c.file = c.r.coveredFile(a["filename"])
	case name == "methods":
		c.inner++
	case name == "line" && c.inner == 0 && c.file != "":
		n, err := strconv.ParseUint(a["number"], 10, 31)
		if err != nil {
			return fmt.Errorf("%q is no line", cut(printable(a["number"]), 20))
		}
		return c.r.cover.add(c.file, strconv.FormatUint(n, 10), 1, strings.Trim(a["hits"], "0") != "")
	}
	return nil
}

func (c *cobertura) text([]byte) {}

func (c *cobertura) end(name string) error {
	c.depth--
	switch name {
	case "class":
		c.file = ""
	case "methods":
		c.inner--
	}
	return nil
}
