package pipeline

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/buildit-dev/buildit/internal/problem"
)

// RunID names a run: 26 characters of lower-case base32. It says nothing about
// time, and one trigger at one commit always makes the same.
type RunID string

const runIDLength = 26

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewRunID derives a run's id from trigger, commit, generation of the ref and
// attempt. Each part is written behind its length, so that no two tuples meet.
func NewRunID(t Trigger) RunID {
	h := sha256.New()
	for _, part := range []string{
		t.Repository, t.File, t.Event, t.Subject, t.Commit,
		strconv.FormatInt(t.Generation, 10), strconv.Itoa(max(t.Attempt, 1)),
	} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return RunID(base32Lower.EncodeToString(h.Sum(nil))[:runIDLength])
}

// ParseRunID takes a run's id from outside.
func ParseRunID(s string) (RunID, error) {
	if len(s) != runIDLength || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return "", problem.New(problem.NotFound, "There is no run %q: an id has 26 characters of a-z and 2-7.", s)
	}
	return RunID(s), nil
}

// StageKey names a stage or a cell in rows, folders and executions: 16 hex digits
// (language.StageKey), or "end".
type StageKey string

// endKey is the synthetic node that every stage leads to.
const endKey StageKey = "end"

// ParseStageKey takes a stage's key from outside.
func ParseStageKey(s string) (StageKey, error) {
	if len(s) != 16 || strings.Trim(s, "0123456789abcdef") != "" {
		return "", problem.New(problem.NotFound, "There is no stage %q: a key has 16 hex digits.", s)
	}
	return StageKey(s), nil
}
