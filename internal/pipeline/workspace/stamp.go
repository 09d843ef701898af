package workspace

import (
	"io/fs"
	"os"
	"syscall"
	"time"
)

// stamp tells whether a file is as it was left. The kernel sets the change time at
// every write, rename, link and chmod, and nobody else can.
type stamp struct {
	Inode  uint64      `json:"i"`
	Size   int64       `json:"s"`
	Mode   fs.FileMode `json:"m"`
	Change int64       `json:"c"` // ns
	Modify int64       `json:"t"` // ns
}

// tick is how long two changes may share one change time: the kernel's clock for
// files moves in steps of at most 10 ms.
const tick = 20 * time.Millisecond

func stampOf(info fs.FileInfo) stamp {
	s := stamp{Size: info.Size(), Mode: info.Mode(), Modify: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Inode, s.Change = sys.Ino, sys.Ctim.Nano()
	}
	return s
}

// young tells whether what bears the stamp may have changed after seen, the moment
// when it was looked at, without a new change time.
func (s stamp) young(seen time.Time) bool { return seen.UnixNano()-s.Change < int64(tick) }

// look stamps a path; no file is no error.
func look(path string) (s stamp, exists bool, err error) {
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return stamp{}, false, nil
	}
	if err != nil {
		return stamp{}, false, err
	}
	return stampOf(info), true, nil
}
