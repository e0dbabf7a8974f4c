package wal

import (
	"fmt"
	"time"
)

// kinder is a file system that knows what kind it is of.
type kinder interface {
	Kind(dir string) (string, error)
}

// tooFast is a sync faster than which no device writes anything for good, unless
// its cache outlives a loss of power.
const tooFast = 50 * time.Microsecond

// survey says in the log, once, if what is acknowledged may not outlive a loss
// of power where the lane lies. sync is how long the first one took, 0 if there
// was none.
func (l *Lane) survey(sync time.Duration) {
	kind := ""
	if k, ok := l.opts.FS.(kinder); ok {
		var err error
		if kind, err = k.Kind(l.dir); err != nil {
			return // it is only for a warning
		}
	}
	doubt := ""
	switch kind {
	case "memory": // on purpose
	case "tmpfs", "ramfs":
		doubt = "it is in memory, and gone with the machine's power"
	case "overlay":
		doubt = "it is a container's own layer, and gone with the container"
	case "nfs", "smb", "fuse":
		doubt = "a server may acknowledge what it has not written, and locks may not hold"
	default:
		if sync > 0 && sync < tooFast {
			doubt = fmt.Sprintf("a sync took %v: unless the device's cache outlives a loss of power, that is too fast to be true", sync)
		}
	}
	if doubt != "" {
		l.opts.Logger.Warn("the journal lies where a crash may take it", "dir", l.dir, "kind", kind, "reason", doubt)
	}
}
