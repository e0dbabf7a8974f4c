package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kineweir/kineweir/datastream/journal/vfs"
)

// The file of keys is text: a line with the CRC-32C of all that follows it, and
// a JSON object.
//
//	kineweir-keyring 1 9e83486d
//	{"keys":{"<id>":{"secret":"<32 bytes, base64>","created":1795000000}},"aliases":{"alias/x":"<id>"}}
//
// It is replaced whole: written beside itself, synced, renamed, and the folder
// synced. So it never has a torn tail, and one that does not check is damaged.
const (
	fileName = "keys"
	tmpName  = "keys.tmp"
	magic    = "kineweir-keyring 1 "
	headLen  = len(magic) + 8 + 1
	maxFile  = 16 << 20
)

// DamageError says that a file of keys does not read as it was written. Nothing
// is mended or left out: without a key, what it wrapped is lost, and a person
// has to decide.
type DamageError struct {
	File   string
	Reason string
}

// Error names the file and the reason.
func (e *DamageError) Error() string {
	return e.File + ": damaged: " + e.Reason + "; restore it from a copy"
}

type fileBody struct {
	Keys    map[string]fileKey `json:"keys"`
	Aliases map[string]string  `json:"aliases"`
}

type fileKey struct {
	Secret   []byte `json:"secret"`
	Created  int64  `json:"created"` // unix seconds
	Disabled bool   `json:"disabled,omitempty"`
}

// readBook reads the file; when there is none the book is empty.
func readBook(fsys vfs.FS, name string) (book, error) {
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return book{map[string]*master{}, map[string]string{}}, nil
	}
	if err != nil {
		return book{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return book{}, err
	}
	if size > maxFile {
		return book{}, &DamageError{name, fmt.Sprintf("it is %d bytes long", size)}
	}
	data := make([]byte, size)
	if n, err := f.ReadAt(data, 0); err != nil && (!errors.Is(err, io.EOF) || n < len(data)) {
		return book{}, fmt.Errorf("%s: %w", name, err)
	}
	b, err := parseBook(data)
	if err != nil {
		return book{}, &DamageError{name, err.Error()}
	}
	return b, nil
}

// parseBook reads the bytes of a file of keys.
func parseBook(data []byte) (book, error) {
	if len(data) < headLen || string(data[:len(magic)]) != magic || data[headLen-1] != '\n' {
		return book{}, errors.New("it does not begin as a key ring does")
	}
	body := data[headLen:]
	if want := checksum(body); want != string(data[len(magic):headLen-1]) {
		return book{}, errors.New("the checksum is " + want)
	}
	var in fileBody
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return book{}, errors.New("it is not the JSON expected") // the error could show a secret
	}
	if d.More() {
		return book{}, errors.New("something follows the JSON")
	}
	b := book{make(map[string]*master, len(in.Keys)), make(map[string]string, len(in.Aliases))}
	for id, k := range in.Keys {
		if n, err := parseName(id); err != nil || n.id != id {
			return book{}, fmt.Errorf("%q is no id of a key", id)
		}
		if len(k.Secret) != keyBytes {
			return book{}, fmt.Errorf("key %s is of %d bytes", id, len(k.Secret))
		}
		m, err := newMaster([keyBytes]byte(k.Secret), k.Created, k.Disabled)
		if err != nil {
			return book{}, err
		}
		b.keys[id] = m
	}
	for alias, id := range in.Aliases {
		if n, err := parseName(alias); err != nil || n.alias != alias || b.keys[id] == nil {
			return book{}, fmt.Errorf("alias %q stands for %q", alias, id)
		}
		b.aliases[alias] = id
	}
	return b, nil
}

func checksum(body []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

func formatBook(b book) ([]byte, error) {
	out := fileBody{map[string]fileKey{}, b.aliases}
	for id, m := range b.keys {
		out.Keys[id] = fileKey{Secret: m.secret[:], Created: m.created, Disabled: m.disabled}
	}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	return append([]byte(magic+checksum(body)+"\n"), body...), nil
}

// writeBook replaces the file, durably.
func writeBook(fsys vfs.FS, dir string, b book) error {
	data, err := formatBook(b)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, tmpName)
	err = writeFile(fsys, tmp, data)
	if err == nil {
		err = fsys.Rename(tmp, filepath.Join(dir, fileName))
	}
	if err != nil {
		_ = fsys.Remove(tmp) // it holds secrets, as far as it came
		return err
	}
	return fsys.SyncDir(dir)
}

func writeFile(fsys vfs.FS, name string, data []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	err = keepPrivate(f)
	if err == nil {
		_, err = f.WriteAt(data, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// keepPrivate leaves the file to its owner alone, before a secret is in it.
// Files that are in memory only have no mode.
func keepPrivate(f vfs.File) error {
	if real, ok := f.(interface{ Chmod(os.FileMode) error }); ok {
		return real.Chmod(0o600)
	}
	return nil
}
