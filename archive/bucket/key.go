package bucket

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxKey is the longest key in bytes. S3 allows 1,024 (S3 User Guide, "Creating object key names"); what is
	// kept back is for the prefix a store may put before every key.
	MaxKey = 896
	// MaxSegment is the longest part between slashes in bytes: NAME_MAX of Linux file systems, on which both
	// bucket/dir and MinIO store a part as a file name.
	MaxSegment = 255
	// Reserved begins the names that stores keep for themselves at the top of a bucket.
	Reserved = ".kineweir-"
)

// ValidKey says whether a key can be stored the same way in every store; the error is an ErrInvalidKey with
// the reason. A key is 1 to MaxKey bytes of valid UTF-8 without control characters or backslash: parts of 1
// to MaxSegment bytes divided by single slashes, none of them "." or "..", the first not beginning with
// Reserved.
func ValidKey(key string) error {
	if why := keyFault(key); why != "" {
		return fmt.Errorf("%w %q: %s", ErrInvalidKey, key, why)
	}
	return nil
}

// ValidPrefix says whether a valid key can begin with prefix. A List of any other prefix lists nothing.
func ValidPrefix(prefix string) bool {
	return prefix == "" || keyFault(prefix) == "" || keyFault(prefix+"x") == ""
}

func keyFault(key string) string {
	switch {
	case key == "":
		return "it is empty"
	case len(key) > MaxKey:
		return fmt.Sprintf("%d bytes are more than %d", len(key), MaxKey)
	case !utf8.ValidString(key):
		return "it is not UTF-8"
	case strings.HasPrefix(key, Reserved):
		return "names beginning with " + Reserved + " are kept for the store"
	}
	for _, r := range key {
		// U+FFFE and U+FFFF cannot be written in XML, the language of S3 listings.
		if unicode.IsControl(r) || r == '\\' || r == 0xFFFE || r == 0xFFFF {
			return fmt.Sprintf("it holds %U", r)
		}
	}
	for part := range strings.SplitSeq(key, "/") {
		switch {
		case part == "":
			return "a part between slashes is empty"
		case part == "." || part == "..":
			return "a part is " + part
		case len(part) > MaxSegment:
			return fmt.Sprintf("a part of %d bytes is longer than %d", len(part), MaxSegment)
		}
	}
	return ""
}
