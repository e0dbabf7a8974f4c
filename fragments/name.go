package fragments

import (
	"fmt"
	"strings"
)

// MaxStreamName is the longest stream name, in bytes (Kinesis Video Streams,
// CreateStream, StreamName).
const MaxStreamName = 256

// StreamName names a stream: one to 256 of the characters A-Z a-z 0-9 _ . -
// (Kinesis Video Streams, CreateStream). Values are made by [ParseStreamName].
type StreamName string

// ParseStreamName checks s against the rule of stream names. The error says
// what to change.
func ParseStreamName(s string) (StreamName, error) {
	switch {
	case s == "":
		return "", fmt.Errorf("stream name is empty: give the stream a name of A-Z a-z 0-9 _ . -")
	case len(s) > MaxStreamName:
		return "", fmt.Errorf("stream name has %d characters: at most %d are allowed", len(s), MaxStreamName)
	case s == "v1":
		return "", fmt.Errorf("stream name %q is reserved: choose another", s)
	case s == "." || s == "..":
		return "", fmt.Errorf("stream name %q would be a folder: choose another", s)
	}
	for i := range len(s) {
		if !nameByte(s[i]) {
			hint := "use A-Z a-z 0-9 _ . - only"
			if s[i] == '/' {
				hint = fmt.Sprintf("a name has no slash; try %q", strings.ReplaceAll(strings.Trim(s, "/"), "/", "-"))
			}
			return "", fmt.Errorf("stream name %q: character %q is not allowed: %s", s, rune(s[i]), hint)
		}
	}
	return StreamName(s), nil
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}
