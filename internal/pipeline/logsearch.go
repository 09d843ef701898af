package pipeline

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/logs"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Limits of one answer to a search: what is beyond them, the next call finds.
const (
	maxMatches   = 1000
	matchesAsked = 100
	maxSearched  = 256 << 20 // bytes of text: about a second
)

// LogMatch is a line of a log in which something was found.
type LogMatch struct {
	Line    int64     `json:"line"`
	Time    time.Time `json:"time,omitzero"`     // when it began
	Command string    `json:"command,omitempty"` // that printed it, once the attempt has reported
	Text    string    `json:"text"`              // of the line, around what was found, without terminal sequences
	From    int       `json:"from"`              // the bytes of Text that were looked for
	To      int       `json:"to"`
	Cut     bool      `json:"cut,omitempty"` // the line is longer than Text
}

// LogMatches is what a search has found so far.
type LogMatches struct {
	Matches []LogMatch `json:"matches"`
	// Next is the line to go on from, 0 where the log has been searched to its end (or,
	// of a stage that runs, to what it has printed so far).
	Next int64 `json:"next,omitempty"`
}

// logSearch is one search under way.
type logSearch struct {
	read    *logRead
	pattern *logs.Pattern
	limit   int
	index   *logs.Index
	answer  LogMatches
}

func (s *Service) getLogSearch(r *http.Request, caller access.Caller) (any, error) {
	store, name, err := s.logStore(r, caller.Org)
	if err != nil {
		return nil, err
	}
	search, err := searchOf(r)
	if err != nil {
		return nil, err
	}
	search.read.store, search.read.log = store, name
	return search.do(r.Context(), s)
}

// searchOf reads what is looked for.
func searchOf(r *http.Request) (*logSearch, error) {
	query := r.URL.Query()
	flags := map[string]bool{"regexp": false, "ignore_case": false}
	for name := range flags {
		if text := query.Get(name); text != "" {
			on, err := strconv.ParseBool(text)
			if err != nil {
				return nil, problem.New(problem.Invalid, "%s is true or false.", name).InField(name)
			}
			flags[name] = on
		}
	}
	pattern, err := logs.NewPattern(query.Get("q"), flags["regexp"], flags["ignore_case"])
	if err != nil {
		return nil, problem.New(problem.Invalid, "What to look for is not right: %v.", err).InField("q")
	}
	search := &logSearch{read: &logRead{}, pattern: pattern, limit: matchesAsked, answer: LogMatches{Matches: []LogMatch{}}}
	if text := query.Get("limit"); text != "" {
		if search.limit, err = strconv.Atoi(text); err != nil || search.limit < 1 || search.limit > maxMatches {
			return nil, problem.New(problem.Invalid, "limit must be a number from 1 to %d.", maxMatches).InField("limit")
		}
	}
	search.read.first, _, err = linesOf(r)
	return search, err
}

// errEnough ends a search that has found what its answer can hold.
var errEnough = errors.New("enough")

func (l *logSearch) do(ctx context.Context, s *Service) (any, error) {
	var err error
	if l.read.over, _, err = s.logOver(ctx, l.read.log); err != nil {
		return nil, err
	}
	if l.read.cursor, err = l.read.store.cursor(ctx, l.read.log, access.From{Line: l.read.first}, l.read.over); err != nil {
		return nil, err
	}
	if l.index, err = s.logIndex(ctx, l.read); err != nil {
		return nil, err
	}
	l.read.cursor.timed, l.read.cursor.line = true, 0
	finder, searched := logs.NewFinder(l.pattern, l.read.first, l.found), 0
	err = l.read.parts(ctx, func(part logs.Part) error {
		if searched > maxSearched { // the line that part is in may have begun before it
			l.answer.Next = part.Line
			return errEnough
		}
		searched += len(part.Text)
		return finder.Add(part)
	})
	if err == nil {
		err = finder.Close()
	}
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return l.answer, nil
}

// found keeps a match, or ends the search at the one that is too many.
func (l *logSearch) found(m logs.Match) error {
	if len(l.answer.Matches) == l.limit {
		l.answer.Next = m.Line
		return errEnough
	}
	match := LogMatch{Line: m.Line, Text: m.Text, From: m.From, To: m.To, Cut: m.Cut}
	if m.MS >= 0 && !l.index.Start.IsZero() {
		match.Time = l.index.Start.Add(time.Duration(m.MS) * time.Millisecond)
	}
	for len(l.index.Groups) > 0 && l.index.Groups[0].Last < m.Line {
		l.index.Groups = l.index.Groups[1:]
	}
	if len(l.index.Groups) > 0 && l.index.Groups[0].First <= m.Line {
		match.Command = l.index.Groups[0].Name
	}
	l.answer.Matches = append(l.answer.Matches, match)
	return nil
}
