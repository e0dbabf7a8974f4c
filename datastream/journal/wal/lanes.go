package wal

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/kineweir/kineweir/datastream/journal"
)

// Lanes keeps each lane in a folder of its own in Dir, under the lane's name.
type Lanes struct {
	Dir     string
	Options Options // of each lane; its Epoch does not count
}

var _ journal.Lanes = Lanes{}

// maxLaneName is the longest name of a lane, in bytes.
const maxLaneName = 64

// Open opens one lane. The context is not looked at: what takes time is reading
// the disk, which can not be left half-way.
func (d Lanes) Open(_ context.Context, lane string, epoch uint64) (journal.Journal, error) {
	if err := checkLaneName(lane); err != nil {
		return nil, err
	}
	o := d.Options
	o.Epoch = epoch
	l, err := Open(filepath.Join(d.Dir, lane), o)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func checkLaneName(name string) error {
	ok := len(name) > 0 && len(name) <= maxLaneName
	for _, c := range []byte(name) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if !ok {
		return fmt.Errorf("journal: %.80q is no name of a lane: 1 to %d of a-z, 0-9, '-' and '_'", name, maxLaneName)
	}
	return nil
}
