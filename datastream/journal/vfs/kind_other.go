//go:build unix && !linux

package vfs

// Kind is not known here: it is empty.
func (OS) Kind(string) (string, error) { return "", nil }
