package report

import (
	"bufio"
	"errors"
	"io"
)

// maxTextLine is the longest line of a report that is looked at; of a longer one the
// rest is passed over.
const maxTextLine = 1 << 20

// eachLine calls take for each line, without its end. The slice is the caller's until
// take returns.
func eachLine(in io.Reader, take func(number int, line []byte) error) error {
	from := bufio.NewReaderSize(in, textAtOnce)
	var line []byte
	for number := 1; ; {
		piece, err := from.ReadSlice('\n')
		if len(line) < maxTextLine {
			line = append(line, piece[:min(len(piece), maxTextLine-len(line))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(line) > 0 || err == nil {
			if err := take(number, trimEnd(line)); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
		line, number = line[:0], number+1
	}
}

func trimEnd(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line
}
