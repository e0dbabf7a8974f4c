package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/kineweir/kineweir/archive/bucket"
	"github.com/kineweir/kineweir/fragments"
)

// settingsVersion is that of stream.json.
const settingsVersion = 1

// settingsFile is stream.json: what the bucket says of a stream beside its
// objects. It is written before the first object and whenever the floor rises,
// before the objects below it go, so that a rebuilt index raises nothing that
// was deleted.
type settingsFile struct {
	Version int                  `json:"version"`
	Name    fragments.StreamName `json:"name"`
	Created time.Time            `json:"created"`
	// Floor: fragments below it are deleted.
	Floor fragments.Number `json:"floor"`
	// Epoch is at least that of every lease but perhaps the latest ones.
	Epoch uint64 `json:"epoch"`
	// Deleted: the stream is deleted, whatever objects there still are.
	Deleted bool `json:"deleted,omitempty"`
	// MaxAge and MaxBytes are the stream's retention, for people; 0 is for ever.
	MaxAge   string `json:"max_age,omitempty"`
	MaxBytes int64  `json:"max_bytes,omitempty"`
}

// writeSettings writes stream.json, unless it says already what it should.
func (a *Archive) writeSettings(ctx context.Context, s *stream, force bool) error {
	s.mu.RLock()
	done := s.settings && !force
	file := settingsFile{Version: settingsVersion, Name: s.name, Created: s.created, Floor: s.floor, Deleted: s.deleted}
	s.mu.RUnlock()
	if done {
		return nil
	}
	s.recordMu.Lock()
	file.Epoch = s.record.Epoch
	s.recordMu.Unlock()
	if r := a.retentionOf(s.name); r != (Retention{}) {
		file.MaxBytes = r.MaxBytes
		if r.MaxAge > 0 {
			file.MaxAge = r.MaxAge.String()
		}
	}
	if err := putSettings(ctx, a.bucket, s.dir, file); err != nil {
		return err
	}
	s.mu.Lock()
	s.settings = s.floor == file.Floor && s.deleted == file.Deleted
	s.mu.Unlock()
	return nil
}

func putSettings(ctx context.Context, b bucket.Bucket, dir string, file settingsFile) error {
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("stream.json: %w", err)
	}
	text = append(text, '\n')
	_, err = b.Put(ctx, settingsKey(dir), bytes.NewReader(text), int64(len(text)), bucket.PutOptions{ContentType: "application/json"})
	return err
}

func decodeSettings(b []byte) (settingsFile, error) {
	var f settingsFile
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("stream.json: %w", err)
	}
	if f.Version != settingsVersion {
		return f, fmt.Errorf("stream.json: version %d: %w", f.Version, errVersion)
	}
	if _, err := fragments.ParseStreamName(string(f.Name)); err != nil {
		return f, fmt.Errorf("stream.json: %w", err)
	}
	return f, nil
}

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
