package supervisor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// SplitUse shares the files of a stage among its cells (`parallel`). Every cell of a run
// has the same files and the same timings, and so they agree without a word.
type SplitUse struct {
	Mode  string `json:"mode"`  // timing, name, count
	Files string `json:"files"` // a glob
	Index int    `json:"index"` // of this cell, from 0
	Total int    `json:"total"`
	// Timings are what files took before (Timings, as JSON), as they were known when
	// the run started. SHA256 "" for none.
	Timings Object `json:"timings,omitzero"`
}

// Timings are milliseconds by file, or by folder where a tool tells no file.
type Timings map[string]int64

// Limits of a split.
const (
	maxSplitFiles = 100_000
	maxTimings    = 32 << 20 // bytes
)

// splitFiles writes the cell's share to the file that $BUILDIT_SPLIT_FILES names, a path
// a line. An empty share is an empty file.
func (a *attempt) splitFiles(ctx context.Context) error {
	use := a.job.Split
	if use == nil {
		return nil
	}
	root, err := os.OpenRoot(a.folders.workspace)
	if err != nil {
		return a.diskTrouble(err)
	}
	files, err := a.matching(ctx, root, use.Files, maxSplitFiles)
	if err = errors.Join(err, root.Close()); err != nil {
		return failed(ReasonClassUnfit, "The files %s of `parallel` cannot be shared out: %v.", use.Files, err)
	}
	timings, err := a.fetchTimings(ctx, use.Timings)
	if err != nil {
		return orStopped(ctx, &failure{ReasonGrantFailed, fmt.Sprintf("The timings of the stage's files could not be read: %v.", err), err})
	}
	share := Share(*use, files, timings)
	a.noShare = len(share) == 0
	a.out.say("parallel: %d of %d files, by %s", len(share), len(files), use.Mode)
	text := strings.Join(share, "\n")
	if len(share) > 0 {
		text += "\n"
	}
	if err := os.WriteFile(a.folders.split(), []byte(text), 0o600); err != nil {
		return a.diskTrouble(err)
	}
	return nil
}

// fetchTimings reads the timings. A cell that went on without them would share the files
// out otherwise than its siblings, and some file would run nowhere: so it fails.
func (a *attempt) fetchTimings(ctx context.Context, object Object) (Timings, error) {
	if object.SHA256 == "" {
		return nil, nil
	}
	body, err := a.control.Download(ctx, object)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(body, maxTimings+1))
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != object.SHA256 {
		return nil, errors.New("they have another digest")
	}
	var timings Timings
	return timings, json.Unmarshal(text, &timings)
}

// Share is the part of the files that one cell gets: a pure function, the same in
// every cell. Together the shares are all files, and no file is in two.
func Share(use SplitUse, files []string, timings Timings) []string {
	files = slices.Clone(files)
	slices.Sort(files)
	switch use.Mode {
	case "count": // neighbours stay together
		from, to := len(files)*use.Index/use.Total, len(files)*(use.Index+1)/use.Total
		return files[from:to]
	case "name": // round robin
		var share []string
		for i := use.Index; i < len(files); i += use.Total {
			share = append(share, files[i])
		}
		return share
	}
	return shareByTiming(use, files, timings)
}

// shareByTiming gives the file that takes longest to the cell that has least to do, and
// so on (longest processing time first).
func shareByTiming(use SplitUse, files []string, timings Timings) []string {
	took := estimates(files, timings)
	order := slices.Clone(files)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(took[b], took[a]) })
	load := make([]int64, use.Total)
	var share []string
	for _, file := range order {
		least := 0
		for cell := range load {
			if load[cell] < load[least] {
				least = cell
			}
		}
		load[least] += took[file]
		if least == use.Index {
			share = append(share, file)
		}
	}
	slices.Sort(share)
	return share
}

// estimates are what each file will take: what it took before; its part of its folder's
// time; else the median of the others.
func estimates(files []string, timings Timings) map[string]int64 {
	inFolder := make(map[string]int64)
	for _, file := range files {
		inFolder[path.Dir(file)]++
	}
	took := make(map[string]int64, len(files))
	var known []int64
	for _, file := range files {
		folder := path.Dir(file)
		if ms, measured := timings[file]; measured {
			took[file] = max(ms, 1)
		} else if ms, measured := timings[folder]; measured {
			took[file] = max(ms/inFolder[folder], 1)
		} else {
			continue
		}
		known = append(known, took[file])
	}
	median := int64(1)
	if slices.Sort(known); len(known) > 0 {
		median = known[(len(known)-1)/2]
	}
	for _, file := range files {
		if _, measured := took[file]; !measured {
			took[file] = median
		}
	}
	return took
}
